"""Tables of reminders: the addresses they go to, and promises to pay. The mails lie in the kit's outbox."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index
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
    """Of `invoices`, `reminders`, `standing`, `contracts` and `maintenance` (billing/reminders/topics.py)."""
    created_at: Mapped[datetime]


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
