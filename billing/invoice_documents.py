"""From a stored invoice to its paper: the lines, the tax by rate (rule 12) and where to pay (C25)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from billing import invoice_pdf
from billing.contracts import terms_of
from billing.invoice_pdf import InvoiceDocument, PaymentInstructions, TaxRow, TenantDetails
from billing.models import Contract, Invoice, InvoiceLine
from billing.rules.lines import Line
from billing.rules.tax import tax_parts
from billing.schemas import invoice_state, payment_reference
from infra.kit import money
from infra.kit.settings import OperatorDetails
from tenancy.models import Tenant


def document_of(
    invoice: Invoice, lines: Sequence[InvoiceLine], *, contract: Contract, tenant: Tenant, operator: OperatorDetails
) -> InvoiceDocument:
    """What `invoice_pdf.render_invoice` prints; the tax rows come from the same rule as the stored tax."""
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
        tenant=TenantDetails(name=tenant.name, address=tenant.address or "", credit_code=tenant.credit_code or ""),
        contract_id=contract.contract_id,
        contract_title=contract.title,
        lines=tuple(_line(line) for line in lines),
        total=invoice.total,
        taxes=_taxes(contract, lines),
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


def _line(line: InvoiceLine) -> invoice_pdf.InvoiceLine:
    counted = line.item is not None
    return invoice_pdf.InvoiceLine(
        kind=line.kind,
        amount=line.amount,
        item=line.item or "",
        description=_shortened(_numbers(line), invoice_pdf.TEXT_LIMIT_CHARACTERS),
        quantity=Decimal(line.quantity) if counted else None,
        unit_price=line.unit_price if counted else None,
        clause=_shortened(line.clause, invoice_pdf.WORD_LIMIT_CHARACTERS),
        formula=_shortened(line.formula, invoice_pdf.TEXT_LIMIT_CHARACTERS),
    )


def _numbers(line: InvoiceLine) -> str:
    """The seats or circuits a line is for, such as `No. 1–10`."""
    parts: list[dict[str, str]] = line.inputs.get("parts", [])
    found = [part[f"{line.item}s"] for part in parts if f"{line.item}s" in part]
    return f"No. {', '.join(found)}" if found else ""


def _shortened(text: str, limit_characters: int) -> str:
    """The paper has room for so much; the whole text is in the API's answer."""
    return text if len(text) <= limit_characters else f"{text[: limit_characters - 1]}…"


def _taxes(contract: Contract, lines: Sequence[InvoiceLine]) -> tuple[TaxRow, ...]:
    ruled = [Line(line.kind, line.item, line.quantity, line.unit_price, line.amount) for line in lines]
    return tuple(
        TaxRow(rate=part.rate if part.rate else None, net=part.net, tax=part.tax, gross=part.gross)
        for part in tax_parts(terms_of(contract), ruled)
    )
