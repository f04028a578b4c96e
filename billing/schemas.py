"""Request and response bodies for contracts, invoices and payments. Money is CNY as decimal strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from billing.contracts import version_of
from billing.ledger import Balance
from billing.models import Contract, Invoice, InvoiceLine, Payment
from billing.rules.contract_periods import renewal_deadline
from infra.kit import money
from infra.kit.http import Body, View


class NewContract(Body):
    """A contract to sign: a preset (`hosted`, `onsite`) with its own terms in place of the preset's."""

    preset: str
    opens_on: date
    title: str
    tenant_id: str | None = None
    signed_on: date | None = None
    """The day of the signature; today where it is not named."""
    term_years: int | None = None
    """The term in years from the signature; `ends_on` names the last day instead, neither means no end."""
    ends_on: date | None = None
    agreed_penalty: str | None = None
    """CNY; owed when the operator ends the contract for sub-letting, use outside the purpose or unlawful use."""
    terms: dict[str, Any] = msgspec.field(default_factory=dict)


class ContractView(View):
    """A contract with the whole terms that hold today; `version` numbers them, 1 are those as signed."""

    contract_id: str
    tenant_id: str
    title: str
    preset: str
    version: int
    terms: dict[str, Any]
    state: str
    signed_on: date
    opens_on: date
    ends_on: date | None
    term_years: int | None
    renewal_deadline: date | None
    """The last day on which a renewal can be agreed; null without an end."""
    agreed_penalty: str | None
    transferred_from_contract_id: str | None
    billed_through: date | None
    rate_deck_id: str | None
    currency: str
    created_at: datetime


class InvoiceView(View):
    """An invoice without its lines; `payment_reference` is what a bank transfer for it should carry."""

    invoice_id: str
    tenant_id: str
    contract_id: str
    number: str
    reason: str
    corrects_invoice_id: str | None
    """The invoice that a credit note reduces."""
    state: str
    """`open`, `paid` (also: nothing to pay) or `void`."""
    issued_on: date
    due_on: date
    period: str
    total: str
    tax: str
    paid: str
    open: str
    currency: str
    paid_on: date | None
    suspends_on: date | None
    provisional: bool
    payment_reference: str
    voided_at: datetime | None
    void_reason: str | None
    fapiao: list[str]
    """The numbers of the official VAT invoices issued for it."""
    created_at: datetime


class InvoiceLineView(View):
    """One line, with the clause and the formula that made it and the inputs of its parts."""

    kind: str
    item: str | None
    quantity: int
    unit_price: str
    amount: str
    clause: str
    formula: str
    inputs: dict[str, Any]


class InvoiceDetails(InvoiceView):
    """An invoice with its lines."""

    lines: list[InvoiceLineView]


class VoidRequest(Body):
    """Why an invoice is voided."""

    reason: str


class InvoiceRunRequest(Body):
    """The month whose invoices (dated its 1st) are to be made, such as `2026-07`."""

    month: str


class InvoiceRunView(View):
    """A run that has been put into the queue."""

    month: str
    state: str


class NewPayment(Body):
    """Money received: the amount, the day from which it counts, and what the bank said of it."""

    amount: str
    value_on: date
    tenant_id: str | None = None
    channel: str = "bank_transfer"
    payer: str | None = None
    reference: str | None = None
    currency: str = money.CURRENCY
    """`CNY`; what came in another currency is recorded at what the bank has credited in CNY."""


class ReversalRequest(Body):
    """Why a payment is taken back."""

    reason: str


class PaymentView(View):
    """A payment; a reversed one stays to be seen."""

    payment_id: str
    tenant_id: str
    amount: str
    currency: str
    channel: str
    value_on: date
    payer: str | None
    reference: str | None
    recorded_at: datetime
    reversed_at: datetime | None
    reversal_reason: str | None


class BalanceView(View):
    """What a tenant owes (`owed`), what it has to its credit, and the invoices that are open."""

    tenant_id: str
    owed: str
    credit: str
    balance: str
    currency: str
    open_invoices: list[InvoiceView]


def contract_members(contract: Contract) -> dict[str, Any]:
    """What every view of a contract shows."""
    version = version_of(contract)
    penalty = contract.agreed_penalty
    return {
        "contract_id": contract.contract_id,
        "tenant_id": contract.tenant_id,
        "title": contract.title,
        "preset": contract.preset,
        "version": 1 if version is None else version.version,
        "terms": contract.terms if version is None else version.terms,
        "state": contract.state,
        "signed_on": contract.signed_on,
        "opens_on": contract.opens_on,
        "ends_on": contract.ends_on,
        "term_years": contract.term_years,
        "renewal_deadline": None if contract.ends_on is None else renewal_deadline(contract.ends_on),
        "agreed_penalty": None if penalty is None else money.amount_text(penalty),
        "transferred_from_contract_id": contract.transferred_from_contract_id,
        "billed_through": contract.billed_through,
        "rate_deck_id": contract.rate_deck_id,
        "currency": money.CURRENCY,
        "created_at": contract.created_at,
    }


def contract_view(contract: Contract) -> ContractView:
    """A contract as lists show it."""
    return ContractView(**contract_members(contract))


def payment_reference(invoice: Invoice) -> str:
    """What a transfer should carry: the number, which is the tenant's own, and the end of the tenant's id."""
    return f"{invoice.number}-{invoice.tenant_id[-6:].upper()}"


def invoice_state(invoice: Invoice) -> str:
    """`open`, `paid` (also when there is nothing to pay) or `void`."""
    if invoice.voided_at is not None:
        return "void"
    return "open" if invoice.paid < invoice.total else "paid"


def _invoice_members(invoice: Invoice, fapiao: Sequence[str]) -> dict[str, Any]:
    state = invoice_state(invoice)
    return {
        "invoice_id": invoice.invoice_id,
        "tenant_id": invoice.tenant_id,
        "contract_id": invoice.contract_id,
        "number": invoice.number,
        "reason": invoice.reason,
        "corrects_invoice_id": invoice.corrects_invoice_id,
        "state": state,
        "issued_on": invoice.issued_on,
        "due_on": invoice.due_on,
        "period": invoice.period,
        "total": money.amount_text(invoice.total),
        "tax": money.amount_text(invoice.tax),
        "paid": money.amount_text(invoice.paid),
        "open": money.amount_text(invoice.total - invoice.paid if state == "open" else money.ZERO),
        "currency": money.CURRENCY,
        "paid_on": invoice.paid_on,
        "suspends_on": invoice.suspends_on,
        "provisional": invoice.provisional,
        "payment_reference": payment_reference(invoice),
        "voided_at": invoice.voided_at,
        "void_reason": invoice.void_reason,
        "fapiao": list(fapiao),
        "created_at": invoice.created_at,
    }


def invoice_view(invoice: Invoice, fapiao: Sequence[str]) -> InvoiceView:
    """An invoice as lists show it, with the numbers of its fapiao."""
    return InvoiceView(**_invoice_members(invoice, fapiao))


def invoice_details(invoice: Invoice, lines: Sequence[InvoiceLine], fapiao: Sequence[str]) -> InvoiceDetails:
    """An invoice with its lines."""
    return InvoiceDetails(
        **_invoice_members(invoice, fapiao),
        lines=[
            InvoiceLineView(
                kind=line.kind,
                item=line.item,
                quantity=line.quantity,
                unit_price=money.amount_text(line.unit_price),
                amount=money.amount_text(line.amount),
                clause=line.clause,
                formula=line.formula,
                inputs=line.inputs,
            )
            for line in lines
        ],
    )


def payment_view(payment: Payment) -> PaymentView:
    """A payment as the API shows it."""
    return PaymentView(
        payment_id=payment.payment_id,
        tenant_id=payment.tenant_id,
        amount=money.amount_text(payment.amount),
        currency=money.CURRENCY,
        channel=payment.channel,
        value_on=payment.value_on,
        payer=payment.payer,
        reference=payment.reference,
        recorded_at=payment.recorded_at,
        reversed_at=payment.reversed_at,
        reversal_reason=payment.reversal_reason,
    )


def balance_view(tenant_id: str, balance: Balance, fapiao: Mapping[str, Sequence[str]]) -> BalanceView:
    """A tenant's account; `balance` is what it owes less its credit. `fapiao` are numbers by invoice."""
    return BalanceView(
        tenant_id=tenant_id,
        owed=money.amount_text(balance.owed),
        credit=money.amount_text(balance.credit),
        balance=money.amount_text(balance.owed - balance.credit),
        currency=money.CURRENCY,
        open_invoices=[invoice_view(invoice, fapiao.get(invoice.invoice_id, ())) for invoice in balance.open_invoices],
    )
