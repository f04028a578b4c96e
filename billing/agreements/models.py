"""Tables of a contract over time: versions of its terms, what was agreed about its end, consents, reminders."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class ContractVersion(Base):
    """Whole terms that hold from a day on, in place of those before (C15); the terms as signed are version 1."""

    __tablename__ = "contract_version"
    __table_args__ = (
        Index(
            "uq_contract_version_one_a_day",
            "tenant_id",
            "contract_id",
            "effective_on",
            unique=True,
            postgresql_where=text("cancelled_at IS NULL"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    """2, 3 … in the order in which they were agreed; a cancelled one keeps its number."""
    effective_on: Mapped[date]
    terms: Mapped[dict[str, Any]]
    """The whole terms, as billing/rules/terms.py writes them."""
    noticed_on: Mapped[date | None]
    """The day of the written notice; None where the terms came with a renewal."""
    notice_waiver: Mapped[str | None]
    """Why both sides let it take effect within the month's notice."""
    reason: Mapped[str]
    signed_by_operator: Mapped[str]
    signed_by_tenant: Mapped[str]
    recorded_by: Mapped[str]
    """The API client that recorded it."""
    recorded_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    """Set when it was taken back before it took effect."""
    cancellation_reason: Mapped[str | None]


class ContractAgreement(Base):
    """Something that moved a contract's last day: a renewal, an early end, an extraordinary end, a transfer."""

    __tablename__ = "contract_agreement"
    __table_args__ = (Index(None, "tenant_id", "contract_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    agreement_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    kind: Mapped[str]
    """`renewal`, `agreed_end`, `extraordinary_end` or `transfer`."""
    ends_on_before: Mapped[date | None]
    ends_on: Mapped[date]
    """The last day from this agreement on."""
    ground: Mapped[str | None]
    """Of an extraordinary end: one of `billing.rules.contract_periods.GROUNDS`."""
    noticed_on: Mapped[date | None]
    notice_waiver: Mapped[str | None]
    reason: Mapped[str]
    signed_by_operator: Mapped[str]
    signed_by_tenant: Mapped[str | None]
    """None where the operator acts alone (C16) or the tenant had asked for it in writing (C17)."""
    version: Mapped[int | None]
    """The terms that were agreed with a renewal."""
    penalty_charge_id: Mapped[str | None]
    consent_id: Mapped[str | None]
    recorded_by: Mapped[str]
    recorded_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    withdrawal_reason: Mapped[str | None]


class Consent(Base):
    """The operator's consent to a transfer or a sub-letting, asked for by the tenant (C17)."""

    __tablename__ = "consent"
    __table_args__ = (Index(None, "consent_id"), Index(None, "tenant_id", "contract_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    consent_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    kind: Mapped[str]
    """`transfer` or `sub_letting`."""
    company: Mapped[str]
    """The company that is to take over or to sub-rent, as the tenant names it."""
    reason: Mapped[str]
    state: Mapped[str]
    """`requested`, `granted` or `refused`."""
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str | None]
    effective_on: Mapped[date | None]
    """The first day of the receiving company."""
    receiving_tenant_id: Mapped[str | None]
    remaining_until: Mapped[date | None]
    """The last day that the transferred contract had; None: it had none."""
    receiving_contract_id: Mapped[str | None]
    """The contract that goes on from this one; a job opens it after the consent."""


class ContractReminder(Base):
    """Both sides were to be reminded that a term runs out (C14); once for each end and each number of days."""

    __tablename__ = "contract_reminder"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    ends_on: Mapped[date] = mapped_column(primary_key=True)
    days_before: Mapped[int] = mapped_column(primary_key=True)
    """60, 45 or 30."""
    made_at: Mapped[datetime]
