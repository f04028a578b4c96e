"""Invoices: written from a draft of the rules with a number, voided, found (rules 2 to 6 and 11)."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Any

from sqlalchemy import ARRAY, Integer, delete, func, insert, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from billing import journal, ledger
from billing.errors import InvoiceNotFound
from billing.journal import Entry
from billing.models import Contract, Invoice, InvoiceCounter, InvoiceLine, RentCharge
from billing.outages import history
from billing.rules import accounts
from billing.rules import book as rules
from billing.rules.accounts import BilledLine
from billing.rules.book import Item
from billing.rules.lines import InvoiceDraft, Line
from infra.kit import audit, clock, money
from infra.kit.ids import new_id


async def issue(
    session: AsyncSession, contract: Contract, draft: InvoiceDraft, *, corrects_invoice_id: str | None = None
) -> Invoice:
    """Write a draft with its lines, its rent charges and the next number of the tenant's year.

    The caller has locked the contract (`contracts.get_contract(for_update=True)`) and calls `ledger.set_off` when the
    day's invoices are all written. `corrects_invoice_id` is the invoice that a credit note reduces.
    """
    tenant_id = contract.tenant_id
    invoice = Invoice(
        tenant_id=tenant_id,
        invoice_id=new_id("inv"),
        contract_id=contract.contract_id,
        number=await _next_number(session, tenant_id, draft.issued_on),
        reason=draft.reason,
        corrects_invoice_id=corrects_invoice_id,
        issued_on=draft.issued_on,
        due_on=draft.due_on,
        period=draft.period,
        total=draft.total,
        tax=draft.tax,
        paid=money.ZERO,
        paid_on=draft.issued_on if draft.total <= 0 else None,
        suspends_on=draft.suspends_on,
        fixed_deposit_asked=draft.fixed_deposit_asked,
        provisional=draft.provisional,
        voided_at=None,
        void_reason=None,
        created_at=clock.now(),
    )
    session.add(invoice)
    await session.flush()
    await session.execute(
        insert(InvoiceLine),
        [_line_values(invoice, number, line) for number, line in enumerate(draft.lines, start=1)],
    )
    await _keep_rent(session, invoice, draft)
    billed = [BilledLine(line.kind, line.amount, line.tax_rate) for line in draft.lines]
    postings = accounts.invoice_issued(invoice.invoice_id, billed, due_on=invoice.due_on)
    await journal.post(session, tenant_id, [Entry(invoice.invoice_id, "issued", invoice.issued_on, postings)])
    await audit.record(
        session,
        tenant_id,
        "invoice.issued",
        invoice.invoice_id,
        number=invoice.number,
        reason=invoice.reason,
        period=invoice.period,
        total=money.amount_text(invoice.total),
    )
    return invoice


async def void(session: AsyncSession, invoice: Invoice, *, reason: str) -> None:
    """Make an invoice count no more; what was paid on it is credit again, and credit that it gave is gone (rule 5).

    The credit notes that reduce it are void with it, but for one whose credit was paid out: that money is gone. The
    caller locks the tenant, decides that it may be voided, and calls `ledger.set_off` afterwards.
    """
    tenant_id, invoice_id = invoice.tenant_id, invoice.invoice_id
    for note in await notes_on(session, invoice):
        if not await ledger.refunds_from(session, tenant_id, note.invoice_id):
            await void(session, note, reason=f"{invoice.number} is void: {reason}")
    await ledger.undo(session, tenant_id, invoice_id=invoice_id)
    await ledger.undo(session, tenant_id, source_id=invoice_id)
    taken_back = await journal.reversal(
        session, tenant_id, [invoice_id], event="issued", as_event="voided", on=clock.today()
    )
    await journal.post(session, tenant_id, taken_back)
    await session.execute(
        delete(RentCharge).where(RentCharge.tenant_id == invoice.tenant_id, RentCharge.invoice_id == invoice.invoice_id)
    )
    await history.forget_credits(session, invoice)
    invoice.voided_at = clock.now()
    invoice.void_reason = reason
    await session.flush()
    await audit.record(
        session, invoice.tenant_id, "invoice.voided", invoice.invoice_id, number=invoice.number, reason=reason
    )


async def get(session: AsyncSession, tenant_id: str, invoice_id: str) -> Invoice:
    """One invoice of a tenant. Raises `InvoiceNotFound`."""
    return await find(session, invoice_id, tenant_id)


async def find(session: AsyncSession, invoice_id: str, tenant_id: str | None) -> Invoice:
    """An invoice by its id alone, narrowed to a tenant where the caller belongs to one. Raises `InvoiceNotFound`."""
    query = select(Invoice).where(Invoice.invoice_id == invoice_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(Invoice.tenant_id == tenant_id)
    invoice = (await session.execute(query)).scalar_one_or_none()
    if invoice is None:
        raise InvoiceNotFound(f"There is no invoice {invoice_id}.", field="invoice_id")
    return invoice


async def notes_on(session: AsyncSession, invoice: Invoice) -> list[Invoice]:
    """The credit notes in force that reduce an invoice, in the order in which they were made."""
    query = (
        select(Invoice)
        .where(
            Invoice.tenant_id == invoice.tenant_id,
            Invoice.corrects_invoice_id == invoice.invoice_id,
            Invoice.voided_at.is_(None),
        )
        .order_by(Invoice.created_at, Invoice.invoice_id)
    )
    return list((await session.execute(query)).scalars())


async def lines_of(session: AsyncSession, invoice: Invoice) -> list[InvoiceLine]:
    """The invoice's lines in their order."""
    query = (
        select(InvoiceLine)
        .where(InvoiceLine.tenant_id == invoice.tenant_id, InvoiceLine.invoice_id == invoice.invoice_id)
        .order_by(InvoiceLine.line_number)
    )
    return list((await session.execute(query)).scalars())


async def _next_number(session: AsyncSession, tenant_id: str, issued_on: date) -> str:
    """The next number of this tenant and year; the counter's row lock, held until the commit, leaves no gaps."""
    upsert = (
        postgresql.insert(InvoiceCounter)
        .values(tenant_id=tenant_id, year=issued_on.year, last=1)
        .on_conflict_do_update(
            index_elements=[InvoiceCounter.tenant_id, InvoiceCounter.year], set_={"last": InvoiceCounter.last + 1}
        )
        .returning(InvoiceCounter.last)
    )
    last = (await session.execute(upsert)).scalar_one()
    return f"{issued_on.year:04d}-{last:04d}"


async def _keep_rent(session: AsyncSession, invoice: Invoice, draft: InvoiceDraft) -> None:
    """Write what each holding is charged: one statement for all that are charged alike, thousands perhaps."""
    alike: defaultdict[tuple[Item, rules.RentCharge], list[int]] = defaultdict(list)
    for key, charge in draft.rent_charged:
        alike[key.item, charge].append(key.number)
    for (item, charge), numbers in alike.items():
        values = {
            RentCharge.tenant_id: literal(invoice.tenant_id),
            RentCharge.contract_id: literal(invoice.contract_id),
            RentCharge.item: literal(item),
            RentCharge.number: func.unnest(literal(numbers, ARRAY(Integer))),
            RentCharge.month: literal(charge.month.first),
            RentCharge.unit_price: literal(charge.unit_price),
            RentCharge.days: literal(charge.days),
            RentCharge.month_days: literal(charge.month_days),
            RentCharge.invoice_id: literal(invoice.invoice_id),
        }
        await session.execute(insert(RentCharge).from_select(list(values), select(*values.values())))


def _line_values(invoice: Invoice, number: int, line: Line) -> dict[str, Any]:
    """A line as stored: the clauses and formulas of its parts together, each part with its inputs beside."""
    return {
        "tenant_id": invoice.tenant_id,
        "invoice_id": invoice.invoice_id,
        "line_number": number,
        "kind": line.kind,
        "item": line.item,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "amount": line.amount,
        "tax_rate": line.tax_rate,
        "clause": "; ".join(dict.fromkeys(basis.clause for basis in line.bases)),
        "formula": " + ".join(basis.formula for basis in line.bases),
        "inputs": {
            "parts": [
                {"clause": basis.clause, "formula": basis.formula, "exact": str(basis.amount), **dict(basis.inputs)}
                for basis in line.bases
            ]
        },
    }
