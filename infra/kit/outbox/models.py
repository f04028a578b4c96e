"""The table of the outbox."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class OutboxMail(Base):
    """One mail to one recipient: stored first, sent by a job, kept to be seen."""

    __tablename__ = "outbox_mail"
    __table_args__ = (
        UniqueConstraint("tenant_id", "subject_id", "kind", "day", "recipient"),
        Index(None, "mail_id"),
        Index(
            "ix_outbox_mail_to_send",
            "next_attempt_at",
            postgresql_where=text("state IN ('waiting', 'sending')"),
        ),
        Index(None, "day"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    """`platform` for a mail that belongs to no tenant."""
    mail_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """A registered kind (infra/kit/outbox/kinds.py)."""
    day: Mapped[date]
    """The local day it belongs to; of a mail that lasts longer the day of its cause, so that there is one."""
    subject_id: Mapped[str]
    """What it tells of: an invoice, a suspension, an invitation …"""
    recipient: Mapped[str]
    """Empty where there was nobody to write to (`no_contact`)."""
    language: Mapped[str]
    facts: Mapped[dict[str, Any]]
    """What its writer was told when it was put in; never secrets."""
    sealed_secret: Mapped[bytes | None]
    """A secret that stands in it, such as a one-time link; erased once nothing is tried any more."""
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
    """The plain text as last sent, or tried; a secret in it is struck out."""
    last_problem: Mapped[str | None]
    """What the mail server said, or what was wrong with the connection."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
