"""What a tenant owes and has to its credit: money set against invoices, paid out, undone (rules 3, 5, 8 and 11).

Credit is what is left of payments and of invoices with a negative total; every part that is used is an `Allocation`
of one source to one invoice or refund. What is owed and what is left are sums over the journal (`billing.journal`);
`Invoice.paid` repeats what it says, for lists. Every caller has locked the tenant before
(`tenancy.tenants.get(for_update=True)`), so that no fen is used twice. Which invoices are paid first is
`billing.rules.allocation`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import journal
from billing.contracts import ADVANCE_ORDERS
from billing.journal import Entry
from billing.ledger_models import JournalPosting
from billing.models import Allocation, Invoice, Refund
from billing.rules import accounts
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
    """Payments, credit invoices and whatever else has credit left, oldest first."""
    since = func.min(JournalPosting.value_on).filter(JournalPosting.source_id == JournalPosting.subject_id)
    left = -func.sum(JournalPosting.amount)
    query = (
        select(JournalPosting.subject_id, since, left)
        .where(JournalPosting.tenant_id == tenant_id, JournalPosting.account == "credit")
        .group_by(JournalPosting.subject_id)
        .having(left > 0)
        .order_by(since, JournalPosting.subject_id)
    )
    return [Credit(*row) for row in await session.execute(query)]


async def balance(session: AsyncSession, tenant_id: str) -> Balance:
    """What the tenant owes and has to its credit, as the journal says."""
    await session.flush()
    invoices = await open_invoices(session, tenant_id)
    stands = await journal.balances(session, tenant_id)
    return Balance(stands.get("receivable", money.ZERO), -stands.get("credit", money.ZERO), invoices)


async def set_off(session: AsyncSession, tenant_id: str, on: date) -> list[Invoice]:
    """Use all credit for what is open, dated `on` (or the invoice's own day, when it is later).

    Returns the invoices that are settled now. An order among them wakes provisioning, a monthly invoice dunning.
    """
    await session.flush()
    invoices = await open_invoices(session, tenant_id)
    sources = await credits_of(session, tenant_id) if invoices else []
    return await _spend(session, tenant_id, sources, invoices, on)


async def left_of(session: AsyncSession, tenant_id: str, source_id: str) -> Decimal:
    """What is left of one source, CNY."""
    await session.flush()
    return -(await journal.of_subjects(session, tenant_id, "credit", [source_id])).get(source_id, money.ZERO)


async def use_for(session: AsyncSession, source_id: str, invoice: Invoice, on: date) -> list[Invoice]:
    """Use what is left of one source for one invoice before anything else, as far as that is open."""
    left = await left_of(session, invoice.tenant_id, source_id)
    amount = min(left, invoice.total - invoice.paid)
    if amount <= 0 or invoice.voided_at is not None:
        return []
    return await _pay(session, invoice.tenant_id, [(source_id, invoice, amount)], on)


async def paid_with(session: AsyncSession, tenant_id: str, invoice_ids: Iterable[str]) -> dict[str, Decimal]:
    """What some invoices have been paid with: CNY by source, in the order in which it was used."""
    query = (
        select(Allocation.source_id, func.sum(Allocation.amount))
        .where(
            Allocation.tenant_id == tenant_id,
            Allocation.invoice_id.in_(list(invoice_ids)),
            Allocation.undone_at.is_(None),
        )
        .group_by(Allocation.source_id)
        .order_by(func.min(Allocation.allocation_id))
    )
    return {row[0]: row[1] for row in await session.execute(query)}


async def use_again(
    session: AsyncSession, tenant_id: str, paid: Mapping[str, Decimal], invoices: Sequence[Invoice], on: date
) -> list[Invoice]:
    """Use what invoices were paid with (`paid_with`) that are void now for those in their place, before anything else.

    Partial payments stay (rule 8): making an invoice again takes nothing from what was paid for it. Of these invoices
    the oldest due comes first; what they do not need is credit. Returns those that are settled by it.
    """
    await session.flush()
    left = await journal.of_subjects(session, tenant_id, "credit", list(paid))
    kept = [Credit(source_id, on, min(paid[source_id], -left[source_id])) for source_id in paid if source_id in left]
    still_open = [each for each in invoices if each.voided_at is None and each.paid < each.total]
    return await _spend(session, tenant_id, kept, still_open, on)


async def pay_out(session: AsyncSession, tenant_id: str, refund: Refund, *, only_from: str | None = None) -> bool:
    """Use credit, the oldest first, for a refund (rule 11); False, with nothing done, where there is not so much.

    `only_from`: what is left of this source, nothing else.
    """
    sources = [each for each in await credits_of(session, tenant_id) if only_from in {None, each.source_id}]
    if sum((source.left for source in sources), money.ZERO) < refund.amount:
        return False
    entries: list[Entry] = []
    for source_id, part in _Purse(sources).take(refund.amount):
        allocation = _allocation(tenant_id, source_id, refund.refund_id, part, refund.value_on)
        session.add(allocation)
        postings = accounts.credit_paid_out(source_id, refund.refund_id, part, refund.channel)
        entries.append(Entry(allocation.allocation_id, "paid_out", refund.value_on, postings))
    await journal.post(session, tenant_id, entries)
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
    today = clock.today()
    ids = [allocation.allocation_id for allocation in allocations]
    entries = await journal.reversal(session, tenant_id, ids, event="allocated", as_event="undone", on=today)
    entries += await journal.reversal(session, tenant_id, ids, event="paid_out", as_event="undone", on=today)
    for allocation in allocations:
        allocation.undone_at = clock.now()
        invoice = invoices.get(allocation.invoice_id)
        if invoice is None:  # it was paid out as a refund
            continue
        if is_settled(invoice):
            held = await _deposit_of(session, invoice)
            entries.append(Entry(allocation.allocation_id, "deposit_due_again", today, _deposit_back(invoice, held)))
        invoice.paid -= allocation.amount
        invoice.paid_on = None
    await journal.post(session, tenant_id, entries)
    await session.flush()


async def _spend(
    session: AsyncSession, tenant_id: str, sources: Sequence[Credit], invoices: Sequence[Invoice], on: date
) -> list[Invoice]:
    """Set credits, in their order, against open invoices in that of rule 8; returns those that are settled by it."""
    by_id = {invoice.invoice_id: invoice for invoice in invoices}
    shares, _ = allocate(
        sum((source.left for source in sources), money.ZERO),
        [
            OpenInvoice(each.invoice_id, each.due_on, each.issued_on, each.total - each.paid, _place(each.reason))
            for each in invoices
        ],
    )
    purse = _Purse(sources)
    parts = [
        (source_id, by_id[share.key], amount) for share in shares for source_id, amount in purse.take(share.amount)
    ]
    return await _pay(session, tenant_id, parts, on) if parts else []


async def _pay(
    session: AsyncSession, tenant_id: str, parts: Sequence[tuple[str, Invoice, Decimal]], on: date
) -> list[Invoice]:
    """Set parts of sources against invoices; returns those that are settled by it."""
    entries: list[Entry] = []
    settled: list[Invoice] = []
    for source_id, invoice, amount in parts:
        day = max(on, invoice.issued_on)
        allocation = _allocation(tenant_id, source_id, invoice.invoice_id, amount, day)
        session.add(allocation)
        postings = accounts.credit_used(source_id, invoice.invoice_id, amount)
        entries.append(Entry(allocation.allocation_id, "allocated", day, postings))
        invoice.paid += amount
        if is_settled(invoice):
            invoice.paid_on = day
            settled.append(invoice)
            asked = await _deposit_of(session, invoice)
            postings = accounts.deposit_paid(invoice.invoice_id, asked)
            entries.append(Entry(allocation.allocation_id, "deposit_held", day, postings))
    await journal.post(session, tenant_id, entries)
    await session.flush()
    await _wake(session, tenant_id, settled)
    return settled


async def _deposit_of(session: AsyncSession, invoice: Invoice) -> Decimal:
    """The deposit that an invoice has asked for, CNY."""
    if invoice.reason not in ORDER_REASONS:
        return money.ZERO
    query = select(func.coalesce(-func.sum(JournalPosting.amount), 0)).where(
        JournalPosting.tenant_id == invoice.tenant_id,
        JournalPosting.source_id == invoice.invoice_id,
        JournalPosting.event == "issued",
        JournalPosting.account == "deposit_due",
    )
    return await session.scalar(query) or money.ZERO


def _deposit_back(invoice: Invoice, held: Decimal) -> Sequence[accounts.Posting]:
    return accounts.reversed_postings(accounts.deposit_paid(invoice.invoice_id, held))


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
