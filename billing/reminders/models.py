"""Tables of reminders: the addresses they go to, the outbox, and promises to pay."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class BillingContact(Base):
    """An address of a tenant that gets its billing mail."""

    __tablename__ = "billing_contact"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str]
    """`zh` or `en`."""
    topics: Mapped[list[Any]]
    """Of `invoices`, `reminders`, `standing` and `contracts` (billing/reminders/topics.py)."""
    created_at: Mapped[datetime]


class Reminder(Base):
    """One mail to one recipient: stored first, sent by a job, kept to be seen."""

    __tablename__ = "reminder"
    __table_args__ = (
        UniqueConstraint("tenant_id", "subject_id", "kind", "day", "recipient"),
        Index(None, "reminder_id"),
        Index(
            "ix_reminder_to_send",
            "next_attempt_at",
            postgresql_where=text("state IN ('waiting', 'sending')"),
        ),
        Index(None, "day"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    reminder_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """A kind of billing/reminders/topics.py."""
    day: Mapped[date]
    """The local day it belongs to; of an `issued` one the invoice's date, so that there is one whenever it goes."""
    subject_id: Mapped[str]
    """The invoice, the suspension or the contract that it tells of."""
    recipient: Mapped[str]
    """Empty where the tenant had nobody to write to (`no_contact`)."""
    language: Mapped[str]
    state: Mapped[str]
    """`waiting`, `sending`, `sent`, `refused`, `given_up`, `unknown`, `outdated` or `no_contact`."""
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime]
    """While `waiting` the earliest moment of the next attempt; while `sending` when its end is no longer awaited."""
    unknown_outcomes: Mapped[int]
    """How often nobody could tell whether the mail server had taken it."""
    message_id: Mapped[str | None]
    """The Message-ID header, the same in every attempt."""
    headline: Mapped[str | None]
    """The subject as last sent, or tried."""
    content: Mapped[str | None]
    """The plain text as last sent, or tried."""
    last_problem: Mapped[str | None]
    """What the mail server said, or what was wrong with the connection."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class PaymentPromise(Base):
    """A tenant's word to pay by a day, as finance took it: until the end of that day it is not suspended."""

    __tablename__ = "payment_promise"
    __table_args__ = (Index(None, "promise_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    promise_id: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[date]
    """The last day, local, on which it holds."""
    reason: Mapped[str]
    promised_by: Mapped[str]
    """The API client that recorded it."""
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    withdrawal_reason: Mapped[str | None]
