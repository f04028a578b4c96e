"""Tables of the pool of numbers and of each number's history."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class PooledNumber(Base):
    """A public number that the operator has; global, as a number changes hands."""

    __tablename__ = "pooled_number"
    __table_args__ = (Index("ix_pooled_number_state_number", "state", "number"),)

    number: Mapped[str] = mapped_column(primary_key=True)
    """E.164 without the plus sign."""
    state: Mapped[str]
    """`free`, `assigned` or `quarantined`."""
    tenant_id: Mapped[str | None]
    """Who has it, or in quarantine had it last."""
    label: Mapped[str | None]
    """The operator's own words, such as the carrier's contract."""
    quarantined_until: Mapped[datetime | None]
    added_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class NumberEvent(Base):
    """Something that happened to a number, kept for good."""

    __tablename__ = "number_event"

    number: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    """Grows with time."""
    event: Mapped[str]
    """`added`, `assigned`, `changed`, `released`, `freed` or `removed`."""
    tenant_id: Mapped[str | None]
    actor: Mapped[str]
    occurred_at: Mapped[datetime]
