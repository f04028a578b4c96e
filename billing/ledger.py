"""What a tenant owes and has to its credit: money set against invoices, paid out, undone (rules 3, 5, 8 and 11).

Credit is what is left of payments and of invoices with a negative total; every part that is used is an `Allocation`
of one source to one invoice or refund. Every caller has locked the tenant before
(`tenancy.tenants.get(for_update=True)`), so that no fen is used twice. Which invoices are paid first is
`billing.rules.allocation`'s to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import ADVANCE_ORDERS
from billing.models import Allocation, Invoice, Payment, Refund
from billing.rules.allocation import OpenInvoice, allocate
from billing.rules.lines import REASONS
from infra.kit import clock, jobs, money
from infra.kit.ids import new_id

ADVANCE_DUNNING_OF_TENANT = "billing.advance_tenant_dunning"
ORDER_REASONS = frozenset({"opening", "addition"})


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left of a payment or of a credit invoice; CNY, positive."""

    source_id: str
    since: date
    left: Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """A tenant's account: `owed` on `open_invoices`, `credit` not used yet; CNY."""

    owed: Decimal
    credit: Decimal
    open_invoices: Sequence[Invoice]


def is_settled(invoice: Invoice) -> bool:
    """Whether nothing is left to pay on a valid invoice."""
    return invoice.voided_at is None and invoice.paid >= max(invoice.total, money.ZERO)


async def open_invoices(session: AsyncSession, tenant_id: str) -> list[Invoice]:
    """Those with something left to pay, in the order in which they were made."""
    query = (
        select(Invoice)
        .where(Invoice.tenant_id == tenant_id, Invoice.voided_at.is_(None), Invoice.paid < Invoice.total)
        .order_by(Invoice.created_at, Invoice.invoice_id)
    )
    return list((await session.execute(query)).scalars())


async def credits_of(session: AsyncSession, tenant_id: str) -> list[Credit]:
    """Payments and credit invoices with something left, oldest first."""
    used = (
        select(Allocation.source_id, func.sum(Allocation.amount).label("used"))
        .where(Allocation.tenant_id == tenant_id, Allocation.undone_at.is_(None))
        .group_by(Allocation.source_id)
        .cte("used")
    )
    sources = union_all(
        select(
            Payment.payment_id.label("source_id"), Payment.value_on.label("since"), Payment.amount.label("amount")
        ).where(Payment.tenant_id == tenant_id, Payment.reversed_at.is_(None)),
        select(Invoice.invoice_id, Invoice.issued_on, -Invoice.total).where(
            Invoice.tenant_id == tenant_id, Invoice.voided_at.is_(None), Invoice.total < 0
        ),
    ).cte("sources")
    left = sources.c.amount - func.coalesce(used.c.used, 0)
    query = (
        select(sources.c.source_id, sources.c.since, left)
        .outerjoin(used, used.c.source_id == sources.c.source_id)
        .where(left > 0)
        .order_by(sources.c.since, sources.c.source_id)
    )
    return [Credit(*row) for row in await session.execute(query)]


async def balance(session: AsyncSession, tenant_id: str) -> Balance:
    """What the tenant owes and has to its credit."""
    invoices = await open_invoices(session, tenant_id)
    owed = sum((invoice.total - invoice.paid for invoice in invoices), money.ZERO)
    left = sum((credit.left for credit in await credits_of(session, tenant_id)), money.ZERO)
    return Balance(owed, left, invoices)


async def set_off(session: AsyncSession, tenant_id: str, on: date) -> list[Invoice]:
    """Use all credit for what is open, dated `on` (or the invoice's own day, when it is later).

    Returns the invoices that are settled now. An order among them wakes provisioning, a monthly invoice dunning.
    """
    await session.flush()
    invoices = await open_invoices(session, tenant_id)
    sources = await credits_of(session, tenant_id) if invoices else []
    if not sources:
        return []
    by_id = {invoice.invoice_id: invoice for invoice in invoices}
    shares, _ = allocate(
        sum((source.left for source in sources), money.ZERO),
        [
            OpenInvoice(each.invoice_id, each.due_on, each.issued_on, each.total - each.paid, _place(each.reason))
            for each in invoices
        ],
    )
    purse = _Purse(sources)
    settled: list[Invoice] = []
    for share in shares:
        invoice = by_id[share.key]
        for source_id, amount in purse.take(share.amount):
            session.add(_allocation(tenant_id, source_id, invoice.invoice_id, amount, max(on, invoice.issued_on)))
        invoice.paid += share.amount
        if is_settled(invoice):
            invoice.paid_on = max(on, invoice.issued_on)
            settled.append(invoice)
    await session.flush()
    await _wake(session, tenant_id, settled)
    return settled


async def pay_out(session: AsyncSession, tenant_id: str, refund_id: str, amount: Decimal, on: date) -> bool:
    """Use credit, the oldest first, for a refund (rule 11); False, with nothing done, where there is not so much."""
    sources = await credits_of(session, tenant_id)
    if sum((source.left for source in sources), money.ZERO) < amount:
        return False
    for source_id, part in _Purse(sources).take(amount):
        session.add(_allocation(tenant_id, source_id, refund_id, part, on))
    await session.flush()
    return True


async def refunds_from(session: AsyncSession, tenant_id: str, source_id: str) -> Sequence[str]:
    """The refunds in force that money of this source was paid out with."""
    query = (
        select(Refund.refund_id)
        .join(Allocation, (Allocation.tenant_id == Refund.tenant_id) & (Allocation.invoice_id == Refund.refund_id))
        .where(
            Refund.tenant_id == tenant_id,
            Refund.reversed_at.is_(None),
            Allocation.source_id == source_id,
            Allocation.undone_at.is_(None),
        )
        .order_by(Refund.refund_id)
    )
    return (await session.execute(query)).scalars().all()


async def undo(
    session: AsyncSession, tenant_id: str, *, source_id: str | None = None, invoice_id: str | None = None
) -> None:
    """Take back what a source has paid, or what an invoice or a refund has received.

    The money is credit of its sources again. A source that a refund in force was paid out with is not undone: the
    caller has asked `refunds_from`.
    """
    query = select(Allocation).where(Allocation.tenant_id == tenant_id, Allocation.undone_at.is_(None))
    if source_id is not None:
        query = query.where(Allocation.source_id == source_id)
    if invoice_id is not None:
        query = query.where(Allocation.invoice_id == invoice_id)
    allocations = (await session.execute(query)).scalars().all()
    touched = {allocation.invoice_id for allocation in allocations}
    found = select(Invoice).where(Invoice.tenant_id == tenant_id, Invoice.invoice_id.in_(touched))
    invoices = {invoice.invoice_id: invoice for invoice in (await session.execute(found)).scalars()}
    for allocation in allocations:
        allocation.undone_at = clock.now()
        invoice = invoices.get(allocation.invoice_id)
        if invoice is not None:  # else it was paid out as a refund
            invoice.paid -= allocation.amount
            invoice.paid_on = None
    await session.flush()


class _Purse:
    """Hands out sums from credits, oldest credit first."""

    def __init__(self, sources: Sequence[Credit]) -> None:
        self._left = [(source.source_id, source.left) for source in reversed(sources)]

    def take(self, amount: Decimal) -> list[tuple[str, Decimal]]:
        parts: list[tuple[str, Decimal]] = []
        while amount > 0:
            source_id, left = self._left.pop()
            part = min(amount, left)
            parts.append((source_id, part))
            amount -= part
            if part < left:
                self._left.append((source_id, left - part))
        return parts


def _place(reason: str) -> int:
    return next(place for place, known in enumerate(REASONS) if known == reason)


def _allocation(tenant_id: str, source_id: str, target_id: str, amount: Decimal, on: date) -> Allocation:
    return Allocation(
        tenant_id=tenant_id,
        allocation_id=new_id("alc"),
        source_id=source_id,
        invoice_id=target_id,
        amount=amount,
        allocated_on=on,
        undone_at=None,
    )


async def _wake(session: AsyncSession, tenant_id: str, settled: Sequence[Invoice]) -> None:
    lock = f"tenant:{tenant_id}"
    if any(invoice.reason in ORDER_REASONS for invoice in settled):
        await jobs.defer(session, ADVANCE_ORDERS, lock=lock, tenant_id=tenant_id)
    if any(invoice.suspends_on is not None for invoice in settled):
        await jobs.defer(session, ADVANCE_DUNNING_OF_TENANT, lock=lock, tenant_id=tenant_id)
