"""What a fault comes to so far, seat by seat and month by month, worked out when somebody asks (C11, rule 9)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from sqlalchemy.ext.asyncio import AsyncSession

from billing import books
from billing.contracts import get_contract, terms_of
from billing.outages import history
from billing.outages.models import Fault
from billing.rules import faults as rules
from billing.rules.book import Book, Holding, Span
from billing.rules.months import Month, day_begins


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
    within = Span(day_begins(months[0].first), day_begins(months[-1].following.first))
    holdings = await books.load_holdings(session, contract, since=months[0])
    credited = await history.credited_since(session, contract, months[0])
    book = Book(
        holdings=tuple(holdings),
        faults=await history.faults_within(session, contract, within),
        maintenance=await history.maintenance_within(session, within),
        suspensions=await books.load_suspensions(session, fault.tenant_id),
    )
    found = [
        (credit, replace(credit.holding, fault_credits=credited.get(credit.holding.key, ())))
        for month in months
        for credit in rules.fault_credits(terms[month], book, month)
        if fault.fault_id in credit.fault_ids
    ]
    return FaultAccount(True, lasted, repair_hours, _grouped(found))


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
