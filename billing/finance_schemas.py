"""Request and response bodies of finance's month: one-off charges, previews, explanations, refunds. Money is CNY."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from billing import one_off_charges
from billing.models import OneOffCharge, Refund
from billing.rules.months import Month
from billing.run_preview import ContractPreview, PreviewedInvoice, RunPreview, RunSummary
from infra.kit import money
from infra.kit.http import Body, View


class NewOneOffCharge(Body):
    """A charge that happens once: its kind, its day, the amount with tax, and what it is for.

    `kind` is `recruitment`, `equipment`, `utilities`, `property`, `penalty`, or `data` for a rated record of data
    traffic, whose amount has up to four decimals.
    """

    contract_id: str
    kind: str
    on: date
    amount: str
    note: str
    tenant_id: str | None = None


class Cancellation(Body):
    """Why a charge is taken back."""

    reason: str


class OneOffChargeView(View):
    """A one-off charge; `state` is `waiting`, `billed` or `cancelled`, `billed_on` the date of its invoice."""

    charge_id: str
    tenant_id: str
    contract_id: str
    kind: str
    on: date
    amount: str
    currency: str
    note: str
    state: str
    billed_on: date | None
    cancelled_at: datetime | None
    cancellation_reason: str | None


class PreviewLineView(View):
    """A line as it would stand on the invoice."""

    kind: str
    item: str | None
    quantity: int
    unit_price: str
    amount: str
    clause: str
    formula: str


class PreviewInvoiceView(View):
    """An invoice as it would be issued; it has no number yet."""

    reason: str
    period: str
    issued_on: date
    due_on: date
    total: str
    tax: str
    lines: list[PreviewLineView]


class ContractPreviewView(View):
    """What the run would issue for one contract, and what to look at before releasing it.

    `anomalies`: `first_zero`, `notably_more`, `notably_less` (half and more against `total_before`, the monthly
    invoice of the month before), `unrated_calls`, `incomplete_records` (missing, or set aside and naming the tenant),
    `equipment_out` (not back when the final invoice is made), `cannot_be_made` (with `problem` saying why).
    """

    tenant_id: str
    contract_id: str
    title: str
    total: str
    total_before: str | None
    currency: str
    unrated_calls: int
    incomplete_records: int
    equipment_out: list[str]
    anomalies: list[str]
    problem: str | None
    invoices: list[PreviewInvoiceView]


class KindTotalView(View):
    """The lines of one kind added up."""

    kind: str
    amount: str


class RunPreviewView(View):
    """A page of what a month's run would issue, by tenant and contract; nothing was written.

    `totals` and `total` add up this page, `contracts_due` counts the whole run. `set_aside_records` are call records
    that could not be stored, whoever's they are: their calls are on no invoice.
    """

    month: str
    items: list[ContractPreviewView]
    next: str | None
    totals: list[KindTotalView]
    total: str
    currency: str
    contracts_due: int
    set_aside_records: int


class ContractToLookAtView(View):
    """A contract of the run with an anomaly; its lines are in the preview."""

    tenant_id: str
    contract_id: str
    title: str
    total: str
    total_before: str | None
    unrated_calls: int
    incomplete_records: int
    equipment_out: list[str]
    anomalies: list[str]
    problem: str | None


class RunSummaryView(View):
    """A whole run added up, with the contracts to look at before it is released; nothing was written."""

    month: str
    contracts_due: int
    invoices: int
    totals: list[KindTotalView]
    total: str
    currency: str
    set_aside_records: int
    to_look_at: list[ContractToLookAtView]


class NewRefund(Body):
    """Credit paid out: the amount, the day it left, the bank's reference, and why."""

    amount: str
    value_on: date
    reference: str
    note: str
    tenant_id: str | None = None


class RefundReversal(Body):
    """Why a refund is taken back."""

    reason: str


class RefundView(View):
    """A refund with who released it; a reversed one stays to be seen. `channel` is `bank_transfer` or `stripe`."""

    refund_id: str
    tenant_id: str
    amount: str
    currency: str
    channel: str
    value_on: date
    reference: str
    note: str
    released_by: str
    recorded_at: datetime
    reversed_at: datetime | None
    reversal_reason: str | None


def one_off_charge_view(charge: OneOffCharge) -> OneOffChargeView:
    """A one-off charge as the API shows it."""
    return OneOffChargeView(
        charge_id=charge.charge_id,
        tenant_id=charge.tenant_id,
        contract_id=charge.contract_id,
        kind=charge.kind,
        on=charge.on,
        amount=one_off_charges.amount_of(charge),
        currency=money.CURRENCY,
        note=charge.note,
        state=one_off_charges.state_of(charge),
        billed_on=charge.billed_on,
        cancelled_at=charge.cancelled_at,
        cancellation_reason=charge.cancellation_reason,
    )


def preview_invoice_view(invoice: PreviewedInvoice) -> PreviewInvoiceView:
    """An invoice that would be issued."""
    return PreviewInvoiceView(
        reason=invoice.reason,
        period=invoice.period,
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        total=money.amount_text(invoice.total),
        tax=money.amount_text(invoice.tax),
        lines=[
            PreviewLineView(
                kind=line.kind,
                item=line.item,
                quantity=line.quantity,
                unit_price=money.amount_text(line.unit_price),
                amount=money.amount_text(line.amount),
                clause=line.clause,
                formula=line.formula,
            )
            for line in invoice.lines
        ],
    )


def _contract_preview_view(found: ContractPreview) -> ContractPreviewView:
    return ContractPreviewView(
        tenant_id=found.tenant_id,
        contract_id=found.contract_id,
        title=found.title,
        total=money.amount_text(found.total),
        total_before=None if found.total_before is None else money.amount_text(found.total_before),
        currency=money.CURRENCY,
        unrated_calls=found.unrated_calls,
        incomplete_records=found.incomplete_records,
        equipment_out=found.equipment_out,
        anomalies=list(found.anomalies),
        problem=found.problem,
        invoices=[preview_invoice_view(invoice) for invoice in found.invoices],
    )


def run_preview_view(month: Month, preview: RunPreview, *, set_aside_records: int) -> RunPreviewView:
    """A page of a preview as the API shows it."""
    return RunPreviewView(
        month=str(month),
        items=[_contract_preview_view(found) for found in preview.contracts],
        next=preview.next,
        totals=_totals(preview.totals),
        total=money.amount_text(sum(preview.totals.values(), money.ZERO)),
        currency=money.CURRENCY,
        contracts_due=preview.contracts_due,
        set_aside_records=set_aside_records,
    )


def run_summary_view(month: Month, summary: RunSummary, *, set_aside_records: int) -> RunSummaryView:
    """A run added up as the API shows it."""
    return RunSummaryView(
        month=str(month),
        contracts_due=summary.contracts_due,
        invoices=summary.invoices,
        totals=_totals(summary.totals),
        total=money.amount_text(sum(summary.totals.values(), money.ZERO)),
        currency=money.CURRENCY,
        set_aside_records=set_aside_records,
        to_look_at=[
            ContractToLookAtView(
                tenant_id=found.tenant_id,
                contract_id=found.contract_id,
                title=found.title,
                total=money.amount_text(found.total),
                total_before=None if found.total_before is None else money.amount_text(found.total_before),
                unrated_calls=found.unrated_calls,
                incomplete_records=found.incomplete_records,
                equipment_out=found.equipment_out,
                anomalies=list(found.anomalies),
                problem=found.problem,
            )
            for found in summary.to_look_at
        ],
    )


def _totals(totals: Mapping[str, Decimal]) -> list[KindTotalView]:
    return [KindTotalView(kind=kind, amount=money.amount_text(amount)) for kind, amount in totals.items()]


def refund_view(refund: Refund) -> RefundView:
    """A refund as the API shows it."""
    return RefundView(
        refund_id=refund.refund_id,
        tenant_id=refund.tenant_id,
        amount=money.amount_text(refund.amount),
        currency=money.CURRENCY,
        channel=refund.channel,
        value_on=refund.value_on,
        reference=refund.reference,
        note=refund.note,
        released_by=refund.released_by,
        recorded_at=refund.recorded_at,
        reversed_at=refund.reversed_at,
        reversal_reason=refund.reversal_reason,
    )
