"""From tables to the rules' `Book`: a contract's state on the day on which an invoice is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ledger import is_settled
from billing.models import Charge, Contract, Holding, Invoice, OneOffCharge, RentCharge, Suspension
from billing.rules import book as rules
from billing.rules.book import HoldingKey, Item, Span
from billing.rules.months import Month
from infra.kit import clock, money


async def load_book(session: AsyncSession, contract: Contract, month: Month) -> rules.Book:
    """The book for the invoice dated the 1st of `month`: what is held, and what the month before it has left open.

    Rent charges are loaded for `month` and the one before, as far back as credits reach. Usage is the sum of the
    calls whose billing month is the one before.
    """
    holdings = await load_holdings(session, contract, since=month.preceding)
    return rules.Book(
        holdings=tuple(holdings),
        charges=await _charges(session, contract, month.first),
        usage=await _usage(session, contract, month.preceding),
        suspensions=await _suspensions(session, contract.tenant_id),
        ends_on=contract.ends_on,
        fixed_deposit_held=await _fixed_deposit_held(session, contract),
    )


async def holding_rows(session: AsyncSession, contract: Contract) -> list[Holding]:
    """Every holding of a contract, seats and circuits by number."""
    query = (
        select(Holding)
        .where(Holding.tenant_id == contract.tenant_id, Holding.contract_id == contract.contract_id)
        .order_by(Holding.item, Holding.number)
    )
    return list((await session.execute(query)).scalars())


async def load_holdings(session: AsyncSession, contract: Contract, *, since: Month) -> list[rules.Holding]:
    """The holdings as rules see them, with their rent from the month `since` on."""
    rows = await holding_rows(session, contract)
    rent = await _rent(session, contract, since)
    paid = await _paid_order_invoices(session, contract)
    return [rule_holding(row, rent.get(_key(row), ()), paid) for row in rows]


def rule_holding(row: Holding, rent: Iterable[rules.RentCharge], paid_invoices: frozenset[str]) -> rules.Holding:
    """One holding; its deposit is held once the invoice that asked for it is paid, until it is given back."""
    held = row.order_invoice_id in paid_invoices and not row.deposit_returned
    return rules.Holding(
        item=cast("Item", row.item),
        number=row.number,
        ordered_on=row.ordered_on,
        effective_on=row.effective_on,
        opened_on=row.opened_on,
        closed_on=row.closes_on,
        returned=row.returned,
        lapsed=row.lapsed,
        deposit=row.deposit_asked if held else money.ZERO,
        rent=tuple(rent),
    )


def _key(row: Holding | RentCharge) -> HoldingKey:
    return HoldingKey(cast("Item", row.item), row.number)


async def _rent(
    session: AsyncSession, contract: Contract, since: Month
) -> defaultdict[HoldingKey, list[rules.RentCharge]]:
    query = (
        select(RentCharge)
        .where(
            RentCharge.tenant_id == contract.tenant_id,
            RentCharge.contract_id == contract.contract_id,
            RentCharge.month >= since.first,
        )
        .order_by(RentCharge.month)
    )
    charges: defaultdict[HoldingKey, list[rules.RentCharge]] = defaultdict(list)
    for row in (await session.execute(query)).scalars():
        charges[_key(row)].append(rules.RentCharge(Month.of(row.month), row.unit_price, row.days, row.month_days))
    return charges


async def _order_invoices(session: AsyncSession, contract: Contract) -> list[Invoice]:
    query = select(Invoice).where(
        Invoice.tenant_id == contract.tenant_id,
        Invoice.contract_id == contract.contract_id,
        Invoice.reason.in_(("opening", "addition")),
        Invoice.voided_at.is_(None),
    )
    return list((await session.execute(query)).scalars())


async def _paid_order_invoices(session: AsyncSession, contract: Contract) -> frozenset[str]:
    return frozenset(each.invoice_id for each in await _order_invoices(session, contract) if is_settled(each))


async def _fixed_deposit_held(session: AsyncSession, contract: Contract) -> Decimal:
    if contract.fixed_deposit_returned:
        return money.ZERO
    invoices = await _order_invoices(session, contract)
    return sum((each.fixed_deposit_asked for each in invoices if is_settled(each)), money.ZERO)


async def _charges(session: AsyncSession, contract: Contract, before: date) -> tuple[rules.OneOffCharge, ...]:
    query = select(OneOffCharge).where(
        OneOffCharge.tenant_id == contract.tenant_id,
        OneOffCharge.contract_id == contract.contract_id,
        OneOffCharge.billed_on.is_(None),
        OneOffCharge.cancelled_at.is_(None),
        OneOffCharge.on < before,
    )
    return tuple(rules.OneOffCharge(row.on, row.kind, row.amount) for row in (await session.execute(query)).scalars())


async def _usage(session: AsyncSession, contract: Contract, month: Month) -> tuple[rules.Usage, ...]:
    query = select(func.sum(Charge.amount), func.count()).where(
        Charge.tenant_id == contract.tenant_id,
        Charge.contract_id == contract.contract_id,
        Charge.billing_month == month.first,
    )
    total, count = (await session.execute(query)).one()
    return () if not count else (rules.Usage(month.last, "calls", total, records=count),)


async def _suspensions(session: AsyncSession, tenant_id: str) -> tuple[Span, ...]:
    query = select(Suspension).where(Suspension.tenant_id == tenant_id).order_by(Suspension.began_at)
    now = clock.now()
    return tuple(
        Span(row.began_at, row.ended_at or now)
        for row in (await session.execute(query)).scalars()
        if row.ended_at is None or row.ended_at > row.began_at
    )
