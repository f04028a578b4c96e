"""From a stored invoice to its paper: the lines, the tax by rate (rule 12) and where to pay (C25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import cast

from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, explain, invoice_pdf, invoices
from billing.fapiao import particulars, records
from billing.fapiao.models import TaxParticulars
from billing.invoice_pdf import InvoiceDocument, LineWords, PaymentInstructions, TaxRow, TenantDetails
from billing.models import Contract, Invoice, InvoiceLine
from billing.rules.invoice_words import Destination, exact_text
from billing.rules.tax import parts_by_rate
from billing.schemas import invoice_state, payment_reference
from infra.kit import money
from infra.kit.problems import InvalidInput
from infra.kit.settings import OperatorDetails
from tenancy import tenants
from tenancy.models import Tenant

LANGUAGES: tuple[invoice_pdf.Language, ...] = ("zh", "en", "zh-en")
FORMULA_LIMIT_CHARACTERS = 240
"""Characters of a formula or of seat numbers in the table of lines; the page of words says the rest."""


async def document_for(
    session: AsyncSession, invoice: Invoice, *, operator: OperatorDetails, language: invoice_pdf.Language = "zh-en"
) -> InvoiceDocument:
    """A stored invoice as it is printed now: its payments, the buyer's tax particulars, the fapiao issued for it."""
    lines = await invoices.lines_of(session, invoice)
    document = document_of(
        invoice,
        lines,
        contract=await contracts.get_contract(session, invoice.tenant_id, invoice.contract_id),
        tenant=await tenants.get(session, invoice.tenant_id),
        operator=operator,
        buyer=await particulars.latest(session, invoice.tenant_id),
        destinations=await explain.destinations_of(session, invoice, lines),
    )
    numbers = (await records.numbers_of(session, [invoice])).get(invoice.invoice_id, [])
    return replace(document, fapiao=tuple(numbers), language=language)


def document_of(
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    *,
    contract: Contract,
    tenant: Tenant,
    operator: OperatorDetails,
    buyer: TaxParticulars | None = None,
    destinations: Sequence[Destination] = (),
) -> InvoiceDocument:
    """What `invoice_pdf.render_invoice` prints; the tax rows come from the same rule as the stored tax.

    `buyer` are the tenant's tax particulars, `destinations` what a line of calls adds up. Pure.
    """
    state = invoice_state(invoice)
    return InvoiceDocument(
        number=invoice.number,
        reason=cast("invoice_pdf.Reason", invoice.reason),
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        period=invoice.period,
        operator=invoice_pdf.OperatorDetails(
            name=operator.name,
            address=operator.address,
            tax_number=operator.tax_number,
            bank_name=operator.bank_name,
            bank_account=operator.bank_account,
        ),
        tenant=_tenant(tenant, buyer),
        contract_id=contract.contract_id,
        contract_title=contract.title,
        lines=tuple(_line(line, destinations if explain.charges_calls(invoice, line) else ()) for line in lines),
        total=invoice.total,
        taxes=_taxes(lines),
        amount_paid=invoice.paid,
        amount_open=invoice.total - invoice.paid if state == "open" else money.ZERO,
        payment=PaymentInstructions(
            account_name=operator.name,
            bank_name=operator.bank_name,
            bank_account=operator.bank_account,
            reference=payment_reference(invoice),
        ),
        suspends_on=invoice.suspends_on,
        void=state == "void",
    )


def read_language(text: str) -> invoice_pdf.Language:
    """One of the languages that an invoice is printed in. Raises `InvalidInput`."""
    for language in LANGUAGES:
        if text == language:
            return language
    raise InvalidInput(f"`language` is {', '.join(LANGUAGES)}.", field="language")


def _tenant(tenant: Tenant, buyer: TaxParticulars | None) -> TenantDetails:
    """The tenant by its tax particulars, or as it was signed up where it has given none."""
    if buyer is None:
        return TenantDetails(name=tenant.name, address=tenant.address or "", credit_code=tenant.credit_code or "")
    return TenantDetails(
        name=buyer.title,
        address=buyer.address or tenant.address or "",
        credit_code=buyer.credit_code,
        phone=buyer.phone or "",
        bank_name=buyer.bank_name or "",
        bank_account=buyer.bank_account or "",
    )


def _line(line: InvoiceLine, destinations: Sequence[Destination]) -> invoice_pdf.InvoiceLine:
    counted = line.item is not None
    return invoice_pdf.InvoiceLine(
        kind=line.kind,
        amount=line.amount,
        item=line.item or "",
        description=_shortened(_numbers(line), FORMULA_LIMIT_CHARACTERS),
        quantity=Decimal(line.quantity) if counted else None,
        unit_price=line.unit_price if counted else None,
        clause=_shortened(line.clause, invoice_pdf.WORD_LIMIT_CHARACTERS),
        formula=_shortened(line.formula, FORMULA_LIMIT_CHARACTERS),
        words=tuple(
            LineWords(
                _shortened(each.zh, invoice_pdf.TEXT_LIMIT_CHARACTERS),
                _shortened(each.en, invoice_pdf.TEXT_LIMIT_CHARACTERS),
                "" if each.exact is None else exact_text(each.exact),
            )
            for each in explain.words_of(line, destinations)
        ),
    )


def _numbers(line: InvoiceLine) -> str:
    """The seats or circuits a line is for, such as `No. 1–10`."""
    parts: list[dict[str, str]] = line.inputs.get("parts", [])
    found = [part[f"{line.item}s"] for part in parts if f"{line.item}s" in part]
    return f"No. {', '.join(found)}" if found else ""


def _shortened(text: str, limit_characters: int) -> str:
    """The paper has room for so much; the whole text is in the API's answer."""
    return text if len(text) <= limit_characters else f"{text[: limit_characters - 1]}…"


def _taxes(lines: Sequence[InvoiceLine]) -> tuple[TaxRow, ...]:
    return tuple(
        TaxRow(rate=part.rate if part.rate else None, net=part.net, tax=part.tax, gross=part.gross)
        for part in parts_by_rate((line.tax_rate, line.amount) for line in lines)
    )
