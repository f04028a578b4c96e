"""From tables to the rules' `Book`: a contract's state on the day on which an invoice is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.corrections.models import ReRating
from billing.data_traffic.models import DataUsage
from billing.ledger import is_settled
from billing.models import Charge, Contract, Holding, Invoice, OneOffCharge, RentCharge, Suspension
from billing.one_off_charges import DATA
from billing.outages import history
from billing.rules import book as rules
from billing.rules.book import Span
from billing.rules.faults import overlap, united
from billing.rules.months import ONE_DAY, Month, day_begins, local_day
from infra.kit import clock, money

_HELD = (
    Holding.item,
    Holding.number,
    Holding.ordered_on,
    Holding.effective_on,
    Holding.opened_on,
    Holding.closes_on,
    Holding.returned,
    Holding.lapsed,
    Holding.deposit_asked,
    Holding.deposit_returned,
    Holding.order_invoice_id,
)
"""What the rules ask of a holding. As plain rows: a large contract has thousands of them."""


async def load_book(session: AsyncSession, contract: Contract, month: Month) -> rules.Book:
    """The book for the invoice dated the 1st of `month`: what is held, and what the month before it has left open.

    Rent charges are loaded for `month` and as far back as credits reach: the month before, or the first one with a
    fault that became known after its invoice. Usage is the sum of the calls whose billing month is the one before, and
    the data traffic that waits.
    """
    outages = await history.load(session, contract, month.preceding)
    orders = await _paid_orders(session, contract)
    since = min(month.preceding, *outages.late_months, month)
    holdings = await load_holdings(session, contract, since=since, orders=orders)
    waiting = await _charges(session, contract, month.first)
    if outages.credited:
        holdings = [replace(each, fault_credits=outages.credited.get(each.key, ())) for each in holdings]
    return rules.Book(
        holdings=tuple(holdings),
        charges=tuple(rules.OneOffCharge(row.on, row.kind, row.amount) for row in waiting if row.kind != DATA),
        usage=(
            *await _usage(session, contract, month.preceding),
            *await _tunnel_data(session, contract, month.preceding),
            *_data(waiting),
        ),
        faults=outages.faults,
        maintenance=outages.maintenance,
        suspensions=await load_suspensions(session, contract.tenant_id),
        ends_on=contract.ends_on,
        fixed_deposit_held=money.ZERO if contract.fixed_deposit_returned else orders.fixed_deposit,
        late_fault_months=outages.late_months,
    )


async def holding_rows(session: AsyncSession, contract: Contract) -> list[Holding]:
    """Every holding of a contract, seats and circuits by number."""
    query = (
        select(Holding)
        .where(Holding.tenant_id == contract.tenant_id, Holding.contract_id == contract.contract_id)
        .order_by(Holding.item, Holding.number)
    )
    return list((await session.execute(query)).scalars())


async def load_holdings(
    session: AsyncSession, contract: Contract, *, since: Month, orders: _PaidOrders | None = None
) -> list[rules.Holding]:
    """The holdings as rules see them, with their rent from the month `since` on.

    The deposit of one is held once the invoice that asked for it is paid, until it is given back.
    """
    paid = (orders or await _paid_orders(session, contract)).invoice_ids
    rent = await _rent(session, contract, since)
    query = (
        select(*_HELD)
        .where(Holding.tenant_id == contract.tenant_id, Holding.contract_id == contract.contract_id)
        .order_by(Holding.item, Holding.number)
    )
    return [
        rules.Holding(
            item=row.item,
            number=row.number,
            ordered_on=row.ordered_on,
            effective_on=row.effective_on,
            opened_on=row.opened_on,
            closed_on=row.closes_on,
            returned=row.returned,
            lapsed=row.lapsed,
            deposit=row.deposit_asked if row.order_invoice_id in paid and not row.deposit_returned else money.ZERO,
            rent=tuple(rent.get((row.item, row.number), ())),
        )
        for row in await session.execute(query)
    ]


async def _rent(
    session: AsyncSession, contract: Contract, since: Month
) -> defaultdict[tuple[str, int], list[rules.RentCharge]]:
    """What each holding was charged, by item and number. As plain rows: a large contract has thousands of them."""
    query = (
        select(
            RentCharge.item,
            RentCharge.number,
            RentCharge.month,
            RentCharge.unit_price,
            RentCharge.days,
            RentCharge.month_days,
        )
        .where(
            RentCharge.tenant_id == contract.tenant_id,
            RentCharge.contract_id == contract.contract_id,
            RentCharge.month >= since.first,
        )
        .order_by(RentCharge.month)
    )
    charges: defaultdict[tuple[str, int], list[rules.RentCharge]] = defaultdict(list)
    for item, number, month, price, days, month_days in await session.execute(query):
        charges[item, number].append(rules.RentCharge(Month.of(month), price, days, month_days))
    return charges


@dataclass(frozen=True, slots=True)
class _PaidOrders:
    """The settled invoices of a contract's orders, and the contract's own deposit that came with them (CNY)."""

    invoice_ids: frozenset[str]
    fixed_deposit: Decimal


async def _paid_orders(session: AsyncSession, contract: Contract) -> _PaidOrders:
    query = select(Invoice).where(
        Invoice.tenant_id == contract.tenant_id,
        Invoice.contract_id == contract.contract_id,
        Invoice.reason.in_(("opening", "addition")),
        Invoice.voided_at.is_(None),
    )
    paid = [each for each in (await session.execute(query)).scalars() if is_settled(each)]
    fixed_deposit = sum((each.fixed_deposit_asked for each in paid), money.ZERO)
    return _PaidOrders(frozenset(each.invoice_id for each in paid), fixed_deposit)


async def _charges(session: AsyncSession, contract: Contract, before: date) -> list[OneOffCharge]:
    """The one-off charges and records of data traffic that are on no invoice yet."""
    query = select(OneOffCharge).where(
        OneOffCharge.tenant_id == contract.tenant_id,
        OneOffCharge.contract_id == contract.contract_id,
        OneOffCharge.billed_on.is_(None),
        OneOffCharge.cancelled_at.is_(None),
        OneOffCharge.on < before,
    )
    return list((await session.execute(query)).scalars())


def _data(waiting: Sequence[OneOffCharge]) -> tuple[rules.Usage, ...]:
    """Rated data traffic (C3): added up and rounded once for each invoice, like calls."""
    return tuple(rules.Usage(row.on, "data", row.amount) for row in waiting if row.kind == DATA)


async def _usage(session: AsyncSession, contract: Contract, month: Month) -> tuple[rules.Usage, ...]:
    query = select(func.sum(Charge.amount), func.count()).where(
        Charge.tenant_id == contract.tenant_id,
        Charge.contract_id == contract.contract_id,
        Charge.billing_month == month.first,
    )
    total, count = (await session.execute(query)).one()
    charged = () if not count else (rules.Usage(month.last, "calls", total, records=count),)
    return (*charged, *await _supplements(session, contract, month))


async def _tunnel_data(session: AsyncSession, contract: Contract, month: Month) -> tuple[rules.Usage, ...]:
    """What the tunnels of the contract's seats have carried, as far as it goes on the invoice for this month (C3)."""
    query = select(func.sum(DataUsage.amount), func.count()).where(
        DataUsage.tenant_id == contract.tenant_id,
        DataUsage.contract_id == contract.contract_id,
        DataUsage.billing_month == month.first,
        DataUsage.amount > 0,
    )
    total, count = (await session.execute(query)).one()
    return () if not count else (rules.Usage(month.last, "data", total, records=count),)


async def _supplements(session: AsyncSession, contract: Contract, month: Month) -> tuple[rules.Usage, ...]:
    """The differences of re-ratings that go on the invoice for this month's calls."""
    query = (
        select(ReRating)
        .where(
            ReRating.tenant_id == contract.tenant_id,
            ReRating.contract_id == contract.contract_id,
            ReRating.billing_month == month.first,
        )
        .order_by(ReRating.month, ReRating.re_rating_id)
    )
    return tuple(
        rules.Usage(
            month.last,
            "calls",
            row.new_total - row.old_total,
            records=row.changed,
            re_rating=(row.re_rating_id, str(Month.of(row.month))),
        )
        for row in (await session.execute(query)).scalars()
    )


async def load_suspensions(session: AsyncSession, tenant_id: str) -> tuple[Span, ...]:
    """The times during which the tenant was suspended, in whole local days (rule 7).

    In calculations a suspension begins and a payment counts with the beginning of its (value) day, however late in
    the day somebody acted. So a suspension counts as far as it was carried out and its invoices were overdue.
    """
    query = select(Suspension).where(Suspension.tenant_id == tenant_id).order_by(Suspension.began_at)
    carried_out = (await session.execute(query)).scalars().all()
    if not carried_out:
        return ()
    overdue = select(Invoice.suspends_on, Invoice.paid_on).where(
        Invoice.tenant_id == tenant_id, Invoice.suspends_on.is_not(None), Invoice.voided_at.is_(None)
    )
    tomorrow = clock.today() + ONE_DAY
    owed = united(
        rules.days_span(begins, paid or tomorrow)
        for begins, paid in await session.execute(overdue)
        if begins is not None and begins < (paid or tomorrow)
    )
    now = clock.now()
    found: list[Span] = []
    for row in carried_out:
        begins = day_begins(local_day(row.began_at))
        ends = now if row.ended_at is None else day_begins(local_day(row.ended_at))
        found += [part for span in owed if (part := overlap(span, Span(begins, max(begins, ends)))) is not None]
    return tuple(united(found))
