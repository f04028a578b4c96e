"""What a fault comes to so far, seat by seat and month by month, worked out when somebody asks (C11, rule 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from sqlalchemy.ext.asyncio import AsyncSession

from billing import books
from billing.contracts import get_contract, terms_of
from billing.models import Contract
from billing.outages import history
from billing.outages.models import Fault
from billing.rules import faults as rules
from billing.rules.book import Book, FaultCredited, Holding, HoldingKey, Span
from billing.rules.months import Month, day_begins
from infra.kit import money


@dataclass(frozen=True, slots=True)
class SeatCredit:
    """What seats (or circuits) with the same figures get for one month, all their faults of the month together.

    `fault_time` is what counts after maintenance, suspension and closed time, `amount` what each is due in all for
    the month (CNY, exact), `credited` what invoices have credited each of it.
    """

    month: Month
    item: str
    numbers: tuple[int, ...]
    fault_ids: tuple[str, ...]
    fault_time: timedelta
    days: int
    waived: bool
    cut_to_charged: bool
    unit_price: Decimal
    amount: Fraction
    credited: Fraction


@dataclass(frozen=True, slots=True)
class FaultAccount:
    """Whether a fault counts, how long it has lasted up to now as reported, and what it comes to.

    `repair_hours` is the repair time of the month that it began in.
    """

    counts: bool
    lasted: timedelta
    repair_hours: Decimal
    credits: tuple[SeatCredit, ...]


@dataclass(frozen=True, slots=True)
class MonthAccount:
    """What the faults of one month come to: seat by seat, and `credit`, CNY, what is still due of it in all."""

    contract_id: str
    month: Month
    repair_hours: Decimal
    credits: tuple[SeatCredit, ...]
    credit: Decimal


async def account_of(session: AsyncSession, fault: Fault) -> FaultAccount:
    """Work a fault out with the rules and terms that the next invoice would use; nothing is stored."""
    contract = await get_contract(session, fault.tenant_id, fault.contract_id)
    span = Span(fault.began_at, history.lasted_until(fault))
    lasted = span.ends - span.begins
    months = history.months_of(span)
    terms = {month: terms_of(contract, month.first) for month in months}
    repair_hours = terms[months[0]].repair_hours
    ruled = history.rule_fault(fault)
    if fault.state != "confirmed" or not any(rules.counts(each, ruled) for each in terms.values()):
        return FaultAccount(False, lasted, repair_hours, ())
    book, credited = await _book(session, contract, months[0], months[-1])
    found = [
        (credit, replace(credit.holding, fault_credits=credited.get(credit.holding.key, ())))
        for month in months
        for credit in rules.fault_credits(terms[month], book, month)
        if fault.fault_id in credit.fault_ids
    ]
    return FaultAccount(True, lasted, repair_hours, _grouped(found))


async def month_of(session: AsyncSession, contract: Contract, month: Month) -> MonthAccount:
    """What all faults of a contract's month come to, with the rules and terms that its next invoice would use."""
    terms = terms_of(contract, month.first)
    book, credited = await _book(session, contract, month, month)
    found = [
        (credit, replace(credit.holding, fault_credits=credited.get(credit.holding.key, ())))
        for credit in rules.fault_credits(terms, book, month)
    ]
    due: defaultdict[str, Fraction] = defaultdict(Fraction)
    for credit, holding in found:
        due[holding.item] += max(Fraction(0), credit.amount - holding.fault_credited_for(month))
    total = sum((money.fen(each) for each in due.values()), money.ZERO)
    return MonthAccount(contract.contract_id, month, terms.repair_hours, _grouped(found), total)


async def _book(
    session: AsyncSession, contract: Contract, first: Month, last: Month
) -> tuple[Book, Mapping[HoldingKey, tuple[FaultCredited, ...]]]:
    """Everything that the credits of these months follow from, and what has been credited since the first.

    The credits are worked out in all, as if none had been given: what each is due, then what it has had of it.
    """
    within = Span(day_begins(first.first), day_begins(last.following.first))
    book = Book(
        holdings=tuple(await books.load_holdings(session, contract, since=first)),
        faults=await history.faults_within(session, contract, within),
        maintenance=await history.maintenance_within(session, within),
        suspensions=await books.load_suspensions(session, contract.tenant_id),
    )
    return book, await history.credited_since(session, contract, first)


def _grouped(found: list[tuple[rules.FaultCredit, Holding]]) -> tuple[SeatCredit, ...]:
    groups: defaultdict[SeatCredit, list[int]] = defaultdict(list)
    for credit, holding in found:
        alike = SeatCredit(
            month=credit.month,
            item=holding.item,
            numbers=(),
            fault_ids=credit.fault_ids,
            fault_time=credit.fault_time,
            days=credit.days,
            waived=credit.waived,
            cut_to_charged=credit.cut_to_charged,
            unit_price=credit.unit_price,
            amount=credit.amount,
            credited=holding.fault_credited_for(credit.month),
        )
        groups[alike].append(holding.number)
    return tuple(replace(alike, numbers=tuple(sorted(numbers))) for alike, numbers in groups.items())
