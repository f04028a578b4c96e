"""Voids: an invoice that was wrong as a whole counts no more; a month's is made again by the next try of its run."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning, invoices, ledger, order_ends
from billing.contracts import get_contract
from billing.corrections import re_ratings
from billing.corrections.credit_notes import CREDIT_NOTE
from billing.corrections.models import ReRating
from billing.errors import InvoiceNotVoidable
from billing.fapiao.records import has_fapiao
from billing.ledger_models import WriteOff
from billing.models import Allocation, Contract, Holding, Invoice, OneOffCharge, Payment
from billing.outages import history
from billing.rules.months import Month
from billing.runs import progress
from infra.kit import clock, jobs, reasons

MONTH_REASONS = frozenset({"monthly", "final"})


async def void_invoice(session: AsyncSession, tenant_id: str, invoice_id: str, *, reason: str) -> Invoice:
    """Void an unpaid invoice of orders (they lapse, rule 5), of a month (it is made again) or a credit note.

    Raises `InvoiceNotFound`, `InvoiceNotVoidable` saying what to do instead, `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    found = await invoices.get(session, tenant_id, invoice_id)
    if await has_fapiao(session, tenant_id, invoice_id):
        raise _refusal(found, "has a fapiao: void that first, or correct the invoice by a credit note")
    if found.reason in ledger.ORDER_REASONS:
        return await order_ends.void_unpaid(session, tenant_id, invoice_id, reason=reason)
    contract = await get_contract(session, tenant_id, found.contract_id, for_update=True)
    invoice = await invoices.get(session, tenant_id, invoice_id)
    if invoice.voided_at is not None:
        raise _refusal(invoice, "is void already")
    refunds = await ledger.refunds_from(session, tenant_id, invoice_id)
    if refunds:
        raise _refusal(invoice, f"has given credit that was paid out: reverse {', '.join(refunds)} first")
    if invoice.reason == CREDIT_NOTE:
        await _void_note(session, invoice, reason)
    else:
        await _void_month(session, contract, invoice, reason)
    today = clock.today()
    await ledger.set_off(session, tenant_id, today)
    await dunning.clear_if_settled(session, tenant_id, today)
    await jobs.defer(session, ledger.ADVANCE_DUNNING_OF_TENANT, lock=f"tenant:{tenant_id}", tenant_id=tenant_id)
    return invoice


async def _void_note(session: AsyncSession, note: Invoice, reason: str) -> None:
    query = select(ReRating.re_rating_id).where(
        ReRating.tenant_id == note.tenant_id, ReRating.credit_note_id == note.invoice_id
    )
    re_rating = await session.scalar(query)
    if re_rating is not None:
        raise _refusal(note, f"settles the re-rating {re_rating}: rate the month once more instead")
    if await _is_of_lapsed_orders(session, note):
        raise _refusal(note, "credits orders that have lapsed, for which nothing is owed")
    await invoices.void(session, note, reason=reason)


async def _is_of_lapsed_orders(session: AsyncSession, note: Invoice) -> bool:
    """Whether nothing that the credited invoice charges is held, or may be, any more (rule 5)."""
    query = select(Holding.lapsed).where(
        Holding.tenant_id == note.tenant_id, Holding.order_invoice_id == note.corrects_invoice_id
    )
    lapsed = (await session.execute(query)).scalars().all()
    return bool(lapsed) and all(lapsed)


async def _void_month(session: AsyncSession, contract: Contract, invoice: Invoice, reason: str) -> None:
    await _check_month(session, contract, invoice)
    notes = [note.invoice_id for note in await invoices.notes_on(session, invoice)]
    await invoices.void(session, invoice, reason=reason)
    month = Month.of(invoice.issued_on)
    await _take_back(session, contract, invoice, month)
    # The difference of a re-rating that its credit note carried goes on the invoice that is made instead; so does one
    # that was too small to be credited, as both will be rounded there together.
    too_small = (
        (ReRating.contract_id == contract.contract_id)
        & (ReRating.month == month.preceding.first)
        & (ReRating.state == re_ratings.SETTLED)
        & (ReRating.settlement == re_ratings.NOTHING)
        & (ReRating.new_total != ReRating.old_total)
    )
    await session.execute(
        update(ReRating)
        .where(ReRating.tenant_id == invoice.tenant_id, ReRating.credit_note_id.in_(notes) | too_small)
        .values(credit_note_id=None, settlement=re_ratings.SUPPLEMENT, billing_month=month.preceding.first)
    )
    await progress.set_aside(
        session,
        tenant_id=invoice.tenant_id,
        contract_id=invoice.contract_id,
        month=month,
        reason=progress.VOIDED,
        problem=f"{invoice.number} is void: {reason}",
    )


async def _check_month(session: AsyncSession, contract: Contract, invoice: Invoice) -> None:
    """Whether a month's invoice may be voided: the contract's newest, and nobody's money or decision lies on it."""
    later = select(Invoice.number).where(
        Invoice.tenant_id == invoice.tenant_id,
        Invoice.contract_id == invoice.contract_id,
        Invoice.reason.in_(MONTH_REASONS),
        Invoice.voided_at.is_(None),
        Invoice.issued_on > invoice.issued_on,
    )
    newest = await session.scalar(later.order_by(Invoice.issued_on.desc()).limit(1))
    if newest is not None:
        raise _refusal(invoice, f"is followed by {newest}: correct it by a credit note or a charge")
    notes = await invoices.notes_on(session, invoice)
    query = select(ReRating.credit_note_id).where(
        ReRating.tenant_id == invoice.tenant_id, ReRating.credit_note_id.in_([note.invoice_id for note in notes])
    )
    of_re_ratings = set((await session.execute(query)).scalars())
    for note in notes:
        if note.invoice_id not in of_re_ratings:
            raise _refusal(invoice, f"was credited by {note.number}: void that first, or correct by another note")
        if await ledger.refunds_from(session, invoice.tenant_id, note.invoice_id):
            raise _refusal(invoice, f"was credited by {note.number}, whose credit was paid out")
    paid_by = await _what_paid(session, invoice)
    if paid_by:
        raise _refusal(invoice, f"was paid by {', '.join(paid_by)}: credit it, or reverse that first")


async def _what_paid(session: AsyncSession, invoice: Invoice) -> list[str]:
    """Payments made after the invoice was there, and write-offs, that it holds something of.

    What was account credit when the invoice came is credit again, and is used for the one that is made instead.
    """
    query = select(Allocation.source_id).where(
        Allocation.tenant_id == invoice.tenant_id,
        Allocation.invoice_id == invoice.invoice_id,
        Allocation.undone_at.is_(None),
    )
    sources = (await session.execute(query)).scalars().all()
    payments = select(Payment.payment_id).where(
        Payment.tenant_id == invoice.tenant_id,
        Payment.payment_id.in_(sources),
        Payment.recorded_at > invoice.created_at,
    )
    write_offs = select(WriteOff.write_off_id).where(
        WriteOff.tenant_id == invoice.tenant_id, WriteOff.write_off_id.in_(sources)
    )
    return [*(await session.execute(payments)).scalars(), *(await session.execute(write_offs)).scalars()]


async def _take_back(session: AsyncSession, contract: Contract, invoice: Invoice, month: Month) -> None:
    """The contract is as before the invoice: its month, charges, deposits and fault credits are to be billed again.

    Rent charges went with the invoice; calls keep their billing month and are summed anew.
    """
    usage_month = month.preceding
    first = usage_month <= Month.of(contract.opens_on)
    contract.billed_through = None if first else usage_month.preceding.first
    of_contract = (OneOffCharge.tenant_id == contract.tenant_id) & (OneOffCharge.contract_id == contract.contract_id)
    await session.execute(
        update(OneOffCharge).where(of_contract, OneOffCharge.billed_on >= month.first).values(billed_on=None)
    )
    await session.execute(
        update(Holding)
        .where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.deposit_returned_on >= month.first,
        )
        .values(deposit_returned=False, deposit_returned_on=None)
        .execution_options(synchronize_session="fetch")
    )
    if any(line.kind == "deposit_return" and line.item is None for line in await invoices.lines_of(session, invoice)):
        contract.fixed_deposit_returned = False
    await history.forget_credits(session, invoice)
    await session.flush()


def _refusal(invoice: Invoice, problem: str) -> InvoiceNotVoidable:
    return InvoiceNotVoidable(f"The invoice {invoice.number} {problem}.", field="invoice_id")
