"""Credit notes: an issued invoice stays as it is; what of it is not owed is credited by a document of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning, invoices, ledger
from billing.contracts import get_contract
from billing.corrections.errors import InvoiceNotCreditable
from billing.ledger_models import WriteOff
from billing.models import Contract, Invoice, InvoiceLine
from billing.rules.credit_notes import (
    CorrectedInvoice,
    CorrectedLine,
    CreditRefused,
    credit_note,
    lapsed_credit,
    whole_credit,
)
from billing.rules.lines import InvoiceDraft
from billing.rules.reading import Reader
from infra.kit import audit, clock, money, reasons

CREDIT_NOTE = "credit_note"
LEAST_AMOUNT = Decimal("0.01")
_READER = Reader(CreditRefused)


async def create(
    session: AsyncSession,
    *,
    tenant_id: str,
    invoice_id: str,
    lines: Sequence[tuple[int, str]] | None,
    reason: str,
) -> Invoice:
    """Credit parts of an invoice's lines (number from 1, CNY with tax as a decimal string), or (None) all of it.

    The note pays what is open of that invoice first, then other open invoices; the rest is account credit. A tenant
    that nothing keeps suspended any more is restored. Raises `InvoiceNotFound`, `InvoiceNotCreditable`,
    `CreditRefused` naming the line, `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    wanted = None if lines is None else _amounts(lines)
    contract_id = (await invoices.get(session, tenant_id, invoice_id)).contract_id
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    invoice = await invoices.get(session, tenant_id, invoice_id)
    if invoice.voided_at is not None or invoice.reason == CREDIT_NOTE:
        state = "void" if invoice.voided_at is not None else "a credit note itself"
        raise InvoiceNotCreditable(f"The invoice {invoice.number} is {state}.", field="invoice_id")
    corrected = await corrected_invoice(session, invoice)
    credited = whole_credit(corrected) if wanted is None else wanted
    return await issue(session, contract, invoice, corrected, credited, reason=reason)


async def issue(
    session: AsyncSession,
    contract: Contract,
    invoice: Invoice,
    corrected: CorrectedInvoice,
    credited: Mapping[int, Decimal],
    *,
    reason: str,
    inputs: Sequence[tuple[str, str]] = (),
) -> Invoice:
    """Write the note and use its credit; tenant and contract are locked by the caller.

    Raises `InvoiceNotCreditable` where a part was written off: its credit would be paid for what was never paid.
    """
    query = select(WriteOff.write_off_id).where(
        WriteOff.tenant_id == invoice.tenant_id,
        WriteOff.invoice_id == invoice.invoice_id,
        WriteOff.reversed_at.is_(None),
    )
    given_up = await session.scalar(query)
    if given_up is not None:
        raise InvoiceNotCreditable(
            f"The invoice {invoice.number} was written off: reverse {given_up} first.", field="invoice_id"
        )
    today = clock.today()
    draft = credit_note(corrected, credited, on=today, reason=reason, inputs=inputs)
    note = await _write(session, contract, invoice, draft, reason=reason)
    await ledger.set_off(session, invoice.tenant_id, today)
    await dunning.clear_if_settled(session, invoice.tenant_id, today)
    return note


async def credit_lapsed(session: AsyncSession, contract: Contract, invoice: Invoice, *, reason: str) -> Invoice | None:
    """Credit all that stands of the invoice of orders that have lapsed, deposits too, where it cannot be void (rule 5).

    What is open of it is paid first, the rest is credit; None where notes have credited all of it before. The caller
    has locked tenant and contract, sees to what the holdings say of their deposits, and calls `ledger.set_off`.
    """
    corrected = await corrected_invoice(session, invoice)
    credited = lapsed_credit(corrected)
    if not credited:
        return None
    draft = credit_note(corrected, credited, on=clock.today(), reason=reason, with_deposits=True)
    return await _write(session, contract, invoice, draft, reason=reason)


async def _write(
    session: AsyncSession, contract: Contract, invoice: Invoice, draft: InvoiceDraft, *, reason: str
) -> Invoice:
    """The note, which pays what is open of its invoice first."""
    note = await invoices.issue(session, contract, draft, corrects_invoice_id=invoice.invoice_id)
    await audit.record(
        session,
        invoice.tenant_id,
        "invoice.credited",
        invoice.invoice_id,
        credit_note=note.number,
        amount=money.amount_text(-note.total),
        reason=reason,
    )
    await ledger.use_for(session, note.invoice_id, invoice, clock.today())
    return note


async def corrected_invoice(session: AsyncSession, invoice: Invoice) -> CorrectedInvoice:
    """An invoice with what notes in force have credited of each line."""
    credited: defaultdict[int, Decimal] = defaultdict(lambda: money.ZERO)
    note_ids = [note.invoice_id for note in await invoices.notes_on(session, invoice)]
    query = select(InvoiceLine).where(InvoiceLine.tenant_id == invoice.tenant_id, InvoiceLine.invoice_id.in_(note_ids))
    for line in (await session.execute(query)).scalars() if note_ids else ():
        credited[corrected_line_number(line)] -= line.amount
    return CorrectedInvoice(
        invoice.number,
        invoice.period,
        [
            CorrectedLine(
                line.line_number,
                line.kind,
                line.item,
                line.amount,
                line.tax_rate,
                line.clause,
                credited[line.line_number],
            )
            for line in await invoices.lines_of(session, invoice)
        ],
    )


def corrected_line_number(line: InvoiceLine) -> int:
    """The number of the line that a line of a credit note reduces. Pure."""
    [part] = line.inputs["parts"]
    return int(part["line"])


def _amounts(lines: Sequence[tuple[int, str]]) -> dict[int, Decimal]:
    """What the caller wants credited of each line, each named once."""
    amounts: dict[int, Decimal] = {}
    for number, amount in lines:
        if number in amounts:
            raise CreditRefused(f"lines.{number}", "the line is named twice", "each line once")
        amounts[number] = _READER.decimal(amount, f"lines.{number}", places=money.FEN, minimum=LEAST_AMOUNT)
    return amounts
