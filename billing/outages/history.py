"""What an invoice has to know of stored faults and windows, and what it has credited for them (rules 3 and 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import cast

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Contract, Invoice
from billing.outages.models import Fault, FaultCredit, MaintenanceWindow
from billing.rules import book as rules
from billing.rules.book import Cause, FaultCredited, HoldingKey, Item, Span
from billing.rules.months import Month, day_begins, local_day
from infra.kit import clock


@dataclass(frozen=True, slots=True)
class Outages:
    """What the invoice after a month has to know of faults and maintenance.

    `late_months` are earlier ones with something that became known after their invoice; everything here reaches back
    to the first of them. `credited` is what invoices have credited for those months and this one.
    """

    faults: tuple[rules.Fault, ...]
    maintenance: tuple[Span, ...]
    late_months: tuple[Month, ...]
    credited: Mapping[HoldingKey, tuple[FaultCredited, ...]]


def counting() -> ColumnElement[bool]:
    """Faults that may be credited: decided on, and the operator's."""
    return (Fault.state == "confirmed") & (Fault.cause == "operator")


def touching(span: Span) -> ColumnElement[bool]:
    """Faults that share some time with a span; one that has not ended lasts."""
    return (Fault.began_at < span.ends) & (Fault.ended_at.is_(None) | (Fault.ended_at > span.begins))


async def load(session: AsyncSession, contract: Contract, month: Month) -> Outages:
    """What the invoice in arrears for `month` has to know; a fault that has not ended is taken as lasting until now."""
    first = Month.of(contract.opens_on)
    waiting = await _faults(
        session, contract, Fault.to_credit & (Fault.began_at < day_begins(month.first)) & counting()
    )
    spans = (_span(row) for row in waiting)
    late = sorted({each for span in spans for each in months_of(span) if first <= each < month})
    within = Span(day_begins((late[0] if late else month).first), day_begins(month.following.first))
    return Outages(
        faults=await faults_within(session, contract, within),
        maintenance=await maintenance_within(session, within),
        late_months=tuple(late),
        credited=await credited_since(session, contract, late[0] if late else month),
    )


async def faults_within(session: AsyncSession, contract: Contract, within: Span) -> tuple[rules.Fault, ...]:
    """The faults that may be credited and share some time with a span, as the rules take them."""
    return tuple(rule_fault(row) for row in await _faults(session, contract, counting() & touching(within)))


async def maintenance_within(session: AsyncSession, within: Span) -> tuple[Span, ...]:
    """The windows that share some time with a span, as they were scheduled; cancelled ones are none."""
    query = (
        select(MaintenanceWindow.begins_at, MaintenanceWindow.ends_at)
        .where(
            MaintenanceWindow.state != "cancelled",
            MaintenanceWindow.begins_at < within.ends,
            MaintenanceWindow.ends_at > within.begins,
        )
        .order_by(MaintenanceWindow.begins_at)
    )
    return tuple(Span(begins, ends) for begins, ends in await session.execute(query))


async def credited_since(
    session: AsyncSession, contract: Contract, since: Month
) -> Mapping[HoldingKey, tuple[FaultCredited, ...]]:
    """What invoices have credited for the faults of `since` and later months."""
    query = (
        select(FaultCredit)
        .where(
            FaultCredit.tenant_id == contract.tenant_id,
            FaultCredit.contract_id == contract.contract_id,
            FaultCredit.month >= since.first,
        )
        .order_by(FaultCredit.month, FaultCredit.invoice_id)
    )
    found: defaultdict[HoldingKey, list[FaultCredited]] = defaultdict(list)
    for row in (await session.execute(query)).scalars():
        key = HoldingKey(cast("Item", row.item), row.number)
        found[key].append(FaultCredited(Month.of(row.month), Fraction(row.exact_amount)))
    return {key: tuple(each) for key, each in found.items()}


async def keep_credits(
    session: AsyncSession, invoice: Invoice, credited: Iterable[tuple[HoldingKey, FaultCredited]]
) -> None:
    """Store what an invoice credits for faults, so that a later finding adds only what is missing."""
    values = [
        {
            "tenant_id": invoice.tenant_id,
            "contract_id": invoice.contract_id,
            "item": key.item,
            "number": key.number,
            "month": credit.month.first,
            "invoice_id": invoice.invoice_id,
            "exact_amount": str(credit.amount),
        }
        for key, credit in credited
    ]
    if values:
        await session.execute(insert(FaultCredit), values)


async def forget_credits(session: AsyncSession, invoice: Invoice) -> None:
    """For an invoice that is voided: its credits count no more, and their faults are looked at by the next run."""
    of_invoice = (FaultCredit.tenant_id == invoice.tenant_id) & (FaultCredit.invoice_id == invoice.invoice_id)
    months = (await session.execute(select(FaultCredit.month).where(of_invoice).distinct())).scalars().all()
    for month in (Month.of(first) for first in months):
        within = Span(day_begins(month.first), day_begins(month.following.first))
        await session.execute(
            update(Fault)
            .where(
                Fault.tenant_id == invoice.tenant_id,
                Fault.contract_id == invoice.contract_id,
                counting() & touching(within),
            )
            .values(to_credit=True)
        )
    await session.execute(delete(FaultCredit).where(of_invoice))


async def settle(session: AsyncSession, contract: Contract, month: Month) -> None:
    """After the invoice in arrears for `month`: faults that had ended need no second look; the others do.

    The caller holds the contract's lock, which everything that changes a fault takes too.
    """
    await session.execute(
        update(Fault)
        .where(
            Fault.tenant_id == contract.tenant_id,
            Fault.contract_id == contract.contract_id,
            Fault.to_credit,
            Fault.began_at < day_begins(month.following.first),
            Fault.ended_at.is_not(None),
            counting(),
        )
        .values(to_credit=False)
    )


def rule_fault(row: Fault) -> rules.Fault:
    """A confirmed fault as the rules take it."""
    numbers = None if row.numbers is None else frozenset(row.numbers)
    return rules.Fault(_span(row), cast("Cause", row.cause), cast("Item", row.item), numbers, row.fault_id)


def months_of(span: Span) -> list[Month]:
    """The local months that a span lies in. Pure."""
    month = Month.of(local_day(span.begins))
    found = [month]
    while day_begins(month.following.first) < span.ends:
        month = month.following
        found.append(month)
    return found


def lasted_until(row: Fault) -> datetime:
    """When a fault ended, or now for one that lasts."""
    return row.ended_at or max(clock.now(), row.began_at)


async def _faults(session: AsyncSession, contract: Contract, wanted: ColumnElement[bool]) -> list[Fault]:
    query = (
        select(Fault)
        .where(Fault.tenant_id == contract.tenant_id, Fault.contract_id == contract.contract_id, wanted)
        .order_by(Fault.began_at, Fault.fault_id)
    )
    return list((await session.execute(query)).scalars())


def _span(row: Fault) -> Span:
    return Span(row.began_at, lasted_until(row))
