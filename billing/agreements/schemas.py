"""Request and response bodies for a contract over time. Money is CNY as decimal strings."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import msgspec

from billing.agreements.amendments import FIRST_VERSION, RentPreview
from billing.agreements.details import ContractHistory
from billing.agreements.models import Consent, ContractAgreement, ContractReminder, ContractVersion
from billing.contracts import version_of
from billing.models import Contract
from billing.rules.lines import Line
from billing.schemas import ContractView, contract_members
from infra.kit import money
from infra.kit.http import Body, View


class Amendment(Body):
    """New terms from a day on, agreed and signed by both; `terms` names those that change."""

    effective_on: date
    noticed_on: date
    terms: dict[str, Any]
    reason: str
    signed_by_operator: str
    signed_by_tenant: str
    notice_waiver: str | None = None
    """Why both sides let it take effect within a month of the notice."""


class AmendmentPreview(Body):
    """Terms that are thought of."""

    effective_on: date
    terms: dict[str, Any]


class Withdrawal(Body):
    """Why something agreed is taken back."""

    reason: str


class Renewal(Body):
    """A new term after this one: `term_years` or `ends_on`, with `terms` that hold from its first day on."""

    signed_by_operator: str
    signed_by_tenant: str
    reason: str
    term_years: int | None = None
    ends_on: date | None = None
    terms: dict[str, Any] = msgspec.field(default_factory=dict)


class AgreedEnd(Body):
    """An early last day, agreed and signed by both."""

    ends_on: date
    noticed_on: date
    reason: str
    signed_by_operator: str
    signed_by_tenant: str
    notice_waiver: str | None = None


class ExtraordinaryEnd(Body):
    """An early last day by the operator: `ground` is `sub_letting`, `outside_purpose` or `unlawful_use`."""

    ends_on: date
    noticed_on: date
    ground: str
    reason: str
    signed_by_operator: str
    penalty: str | None = None
    """CNY; where it is not the penalty that the contract names."""


class ConsentRequest(Body):
    """A company that is to take the contract over (`transfer`) or to rent from the tenant (`sub_letting`)."""

    kind: str
    company: str
    reason: str


class ConsentGrant(Body):
    """The operator's consent; a transfer names the receiving tenant and its first day."""

    reason: str
    effective_on: date | None = None
    receiving_tenant_id: str | None = None


class ConsentRefusal(Body):
    """Why the operator does not consent."""

    reason: str


class TermsVersionView(View):
    """Whole terms and the day from which they hold; version 1 are those as signed."""

    version: int
    effective_on: date
    state: str
    """`past`, `in_force`, `agreed` (to come) or `cancelled`."""
    terms: dict[str, Any]
    reason: str | None
    noticed_on: date | None
    notice_waiver: str | None
    signed_by_operator: str | None
    signed_by_tenant: str | None
    recorded_by: str | None
    recorded_at: datetime
    cancelled_at: datetime | None
    cancellation_reason: str | None


class AgreementView(View):
    """What has moved a contract's last day."""

    agreement_id: str
    contract_id: str
    kind: str
    """`renewal`, `agreed_end`, `extraordinary_end` or `transfer`."""
    ends_on_before: date | None
    ends_on: date
    ground: str | None
    noticed_on: date | None
    notice_waiver: str | None
    reason: str
    signed_by_operator: str
    signed_by_tenant: str | None
    version: int | None
    penalty_charge_id: str | None
    consent_id: str | None
    recorded_by: str
    recorded_at: datetime
    withdrawn_at: datetime | None
    withdrawal_reason: str | None


class ConsentView(View):
    """A request for consent and the operator's decision."""

    consent_id: str
    tenant_id: str
    contract_id: str
    kind: str
    company: str
    reason: str
    state: str
    """`requested`, `granted` or `refused`."""
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None
    effective_on: date | None
    receiving_tenant_id: str | None
    receiving_contract_id: str | None


class ContractReminderView(View):
    """A reminder that the term runs out."""

    ends_on: date
    days_before: int
    made_at: datetime


class ContractDetails(ContractView):
    """A contract with everything that was agreed, asked and reminded of since its signature."""

    versions: list[TermsVersionView]
    agreements: list[AgreementView]
    consents: list[ConsentView]
    reminders: list[ContractReminderView]


class RentLineView(View):
    """A line of rent."""

    item: str | None
    quantity: int
    unit_price: str
    amount: str
    formula: str


class RentPreviewView(View):
    """The rent of the first month that the terms would decide, for what is held now."""

    month: str
    before: str
    after: str
    currency: str
    lines: list[RentLineView]


def version_view(contract: Contract, version: ContractVersion) -> TermsVersionView:
    """A later version of the terms."""
    return TermsVersionView(
        version=version.version,
        effective_on=version.effective_on,
        state=_state(contract, version),
        terms=version.terms,
        reason=version.reason,
        noticed_on=version.noticed_on,
        notice_waiver=version.notice_waiver,
        signed_by_operator=version.signed_by_operator,
        signed_by_tenant=version.signed_by_tenant,
        recorded_by=version.recorded_by,
        recorded_at=version.recorded_at,
        cancelled_at=version.cancelled_at,
        cancellation_reason=version.cancellation_reason,
    )


def signed_version_view(contract: Contract) -> TermsVersionView:
    """The terms as signed."""
    return TermsVersionView(
        version=FIRST_VERSION,
        effective_on=contract.signed_on,
        state="in_force" if version_of(contract) is None else "past",
        terms=contract.terms,
        reason=None,
        noticed_on=None,
        notice_waiver=None,
        signed_by_operator=None,
        signed_by_tenant=None,
        recorded_by=None,
        recorded_at=contract.created_at,
        cancelled_at=None,
        cancellation_reason=None,
    )


def _state(contract: Contract, version: ContractVersion) -> str:
    if version.cancelled_at is not None:
        return "cancelled"
    now = version_of(contract)
    if now is version:
        return "in_force"
    return "past" if now is not None and version.effective_on < now.effective_on else "agreed"


def agreement_view(agreement: ContractAgreement) -> AgreementView:
    """An agreement as the API shows it."""
    return AgreementView(
        agreement_id=agreement.agreement_id,
        contract_id=agreement.contract_id,
        kind=agreement.kind,
        ends_on_before=agreement.ends_on_before,
        ends_on=agreement.ends_on,
        ground=agreement.ground,
        noticed_on=agreement.noticed_on,
        notice_waiver=agreement.notice_waiver,
        reason=agreement.reason,
        signed_by_operator=agreement.signed_by_operator,
        signed_by_tenant=agreement.signed_by_tenant,
        version=agreement.version,
        penalty_charge_id=agreement.penalty_charge_id,
        consent_id=agreement.consent_id,
        recorded_by=agreement.recorded_by,
        recorded_at=agreement.recorded_at,
        withdrawn_at=agreement.withdrawn_at,
        withdrawal_reason=agreement.withdrawal_reason,
    )


def consent_view(consent: Consent) -> ConsentView:
    """A consent as the API shows it."""
    return ConsentView(
        consent_id=consent.consent_id,
        tenant_id=consent.tenant_id,
        contract_id=consent.contract_id,
        kind=consent.kind,
        company=consent.company,
        reason=consent.reason,
        state=consent.state,
        requested_by=consent.requested_by,
        requested_at=consent.requested_at,
        decided_by=consent.decided_by,
        decided_at=consent.decided_at,
        decision_reason=consent.decision_reason,
        effective_on=consent.effective_on,
        receiving_tenant_id=consent.receiving_tenant_id,
        receiving_contract_id=consent.receiving_contract_id,
    )


def contract_details(history: ContractHistory) -> ContractDetails:
    """One contract over time."""
    contract = history.contract
    later = [version_view(contract, version) for version in contract.versions]
    return ContractDetails(
        **contract_members(contract),
        versions=[signed_version_view(contract), *later],
        agreements=[agreement_view(agreement) for agreement in history.agreements],
        consents=[consent_view(consent) for consent in history.consents],
        reminders=[_reminder_view(reminder) for reminder in history.reminders],
    )


def rent_preview_view(preview: RentPreview) -> RentPreviewView:
    """What proposed terms would make of a month's rent."""
    return RentPreviewView(
        month=str(preview.month),
        before=money.amount_text(preview.before),
        after=money.amount_text(preview.after),
        currency=money.CURRENCY,
        lines=[_rent_line(line) for line in preview.lines],
    )


def _rent_line(line: Line) -> RentLineView:
    return RentLineView(
        item=line.item,
        quantity=line.quantity,
        unit_price=money.amount_text(line.unit_price),
        amount=money.amount_text(line.amount),
        formula="; ".join(basis.formula for basis in line.bases),
    )


def _reminder_view(reminder: ContractReminder) -> ContractReminderView:
    return ContractReminderView(ends_on=reminder.ends_on, days_before=reminder.days_before, made_at=reminder.made_at)
