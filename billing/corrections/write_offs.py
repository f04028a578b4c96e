"""Write-offs: what finance gives up of an invoice; reversed when the money comes after all, never deleted."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning, invoices, journal, ledger
from billing.corrections.errors import InvoiceNotWrittenOff, WriteOffNotFound, WriteOffReversed
from billing.journal import Entry
from billing.ledger_models import WriteOff
from billing.models import Invoice
from billing.rules import accounts
from infra.kit import audit, clock, jobs, money, reasons
from infra.kit.ids import new_id
from tenancy import tenants


async def write_off(session: AsyncSession, *, tenant_id: str, invoice_id: str, reason: str) -> WriteOff:
    """Give up all that is open of an invoice, after the tenant's credit was used; a suspended tenant is restored.

    Raises `InvoiceNotFound`, `InvoiceNotWrittenOff` for one with nothing open and for the invoice of an order (that
    is voided instead, rule 5), `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    today = clock.today()
    await tenants.get(session, tenant_id, for_update=True)
    await ledger.set_off(session, tenant_id, today)
    invoice = await invoices.get(session, tenant_id, invoice_id)
    _check(invoice)
    given_up = WriteOff(
        tenant_id=tenant_id,
        write_off_id=new_id("wof"),
        invoice_id=invoice_id,
        amount=invoice.total - invoice.paid,
        reason=reason,
        decided_by=audit.actor.get(),
        recorded_at=clock.now(),
        reversed_at=None,
        reversal_reason=None,
    )
    session.add(given_up)
    await session.flush()
    postings = accounts.given_up(given_up.write_off_id, given_up.amount)
    await journal.post(session, tenant_id, [Entry(given_up.write_off_id, "given_up", today, postings)])
    await ledger.use_for(session, given_up.write_off_id, invoice, today)
    await audit.record(
        session,
        tenant_id,
        "invoice.written_off",
        invoice_id,
        write_off_id=given_up.write_off_id,
        amount=money.amount_text(given_up.amount),
        reason=reason,
    )
    await dunning.clear_if_settled(session, tenant_id, today)
    return given_up


async def reverse(session: AsyncSession, *, tenant_id: str, write_off_id: str, reason: str) -> WriteOff:
    """Ask for the money again: the invoice is open as before, and suspends as before.

    Raises `WriteOffNotFound`, `WriteOffReversed`, `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    today = clock.today()
    await tenants.get(session, tenant_id, for_update=True)
    given_up = await find(session, write_off_id, tenant_id)
    if given_up.reversed_at is not None:
        raise WriteOffReversed(
            f"The write-off {write_off_id} was reversed at {given_up.reversed_at}.", field="write_off_id"
        )
    await ledger.undo(session, tenant_id, source_id=write_off_id)
    taken_back = await journal.reversal(
        session, tenant_id, [write_off_id], event="given_up", as_event="reversed", on=today
    )
    await journal.post(session, tenant_id, taken_back)
    given_up.reversed_at = clock.now()
    given_up.reversal_reason = reason
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "write_off.reversed",
        write_off_id,
        amount=money.amount_text(given_up.amount),
        reason=reason,
    )
    await ledger.set_off(session, tenant_id, today)
    await jobs.defer(session, ledger.ADVANCE_DUNNING_OF_TENANT, lock=f"tenant:{tenant_id}", tenant_id=tenant_id)
    return given_up


async def find(session: AsyncSession, write_off_id: str, tenant_id: str | None) -> WriteOff:
    """A write-off by its id, narrowed to a tenant where the caller belongs to one. Raises `WriteOffNotFound`."""
    query = select(WriteOff).where(WriteOff.write_off_id == write_off_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(WriteOff.tenant_id == tenant_id)
    given_up = (await session.execute(query)).scalar_one_or_none()
    if given_up is None:
        raise WriteOffNotFound(f"There is no write-off {write_off_id}.", field="write_off_id")
    return given_up


def _check(invoice: Invoice) -> None:
    if invoice.reason in ledger.ORDER_REASONS:
        raise InvoiceNotWrittenOff(
            f"The invoice {invoice.number} is for an order; void it, and nothing is owed.", field="invoice_id"
        )
    if invoice.voided_at is not None or invoice.paid >= invoice.total:
        raise InvoiceNotWrittenOff(f"Nothing of the invoice {invoice.number} is open.", field="invoice_id")
