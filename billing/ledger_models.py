"""Tables of the ledger: its postings, and what finance has given up."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class WriteOff(Base):
    """What finance has given up of an invoice; reversed, never deleted."""

    __tablename__ = "write_off"
    __table_args__ = (Index(None, "write_off_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    write_off_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str]
    amount: Mapped[Decimal]
    reason: Mapped[str]
    decided_by: Mapped[str]
    """The API client that decided it."""
    recorded_at: Mapped[datetime]
    reversed_at: Mapped[datetime | None]
    reversal_reason: Mapped[str | None]


class JournalPosting(Base):
    """One side of an entry of the ledger; append-only, partitioned by the month of its value day.

    Which accounts there are, and what `detail` and `subject_id` mean on each, says `billing.rules.accounts`.
    """

    __tablename__ = "posting"
    __table_args__ = (
        Index(None, "tenant_id", "account", "subject_id"),
        Index(None, "account", "posted_on"),
        {"postgresql_partition_by": "RANGE (month)"},
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    source_id: Mapped[str] = mapped_column(primary_key=True)
    """The document whose event this is: an invoice, payment, allocation, refund, write-off."""
    event: Mapped[str] = mapped_column(primary_key=True)
    posting_number: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    detail: Mapped[str]
    subject_id: Mapped[str]
    amount: Mapped[Decimal]
    """CNY; a debit positive, a credit negative."""
    due_on: Mapped[date | None]
    value_on: Mapped[date]
    posted_on: Mapped[date]
    """The local day of recording: a report as of a past day never changes."""
    recorded_at: Mapped[datetime]
