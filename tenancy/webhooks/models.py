"""Tables of webhooks: where to, what happened, who still has to be told, and what came of each attempt."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class WebhookEndpoint(Base):
    """An address of a tenant that wants to hear of events."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index(None, "endpoint_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[Any]]
    """Of tenancy/webhooks/event_types.py."""
    state: Mapped[str]
    """`enabled`, `disabled` or `removed`."""
    disabled_reason: Mapped[str | None]
    sealed_secret: Mapped[bytes]
    sealed_former_secret: Mapped[bytes | None]
    former_secret_until: Mapped[datetime | None]
    """Until then messages carry a signature by the former secret too."""
    failing_since: Mapped[datetime | None]
    """The first failure after the last success; None while it takes what is sent."""
    failures: Mapped[int]
    """In a row."""
    resume_at: Mapped[datetime | None]
    """Nothing is sent before: a target that fails is given a rest, whatever waits for it."""
    is_slow: Mapped[bool]
    """Its last attempt failed or took long: it gets a small share of what can be under way at once."""
    served_at: Mapped[datetime | None]
    """When it was last chosen: the one that waited longest is next."""
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class WebhookEvent(Base):
    """Something that happened, kept for as long as it can be replayed."""

    __tablename__ = "webhook_event"
    __table_args__ = (Index(None, "occurred_at"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    """Also the `webhook-id` of every attempt, by which a receiver knows what it has seen."""
    event_type: Mapped[str]
    occurred_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


class WebhookDelivery(Base):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("tenant_id", "event_id", "endpoint_id"),
        Index(None, "delivery_id"),
        Index(
            "ix_webhook_delivery_to_send",
            "tenant_id",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("state IN ('waiting', 'sending')"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str]
    event_id: Mapped[str]
    state: Mapped[str]
    """`waiting`, `sending`, `delivered`, `given_up` or `dropped` (its endpoint was removed)."""
    attempts: Mapped[int]
    """All of them, replays included."""
    attempts_left: Mapped[int]
    next_attempt_at: Mapped[datetime]
    """While `waiting` the earliest moment of the next attempt; while `sending` when its end is no longer awaited."""
    last_status: Mapped[int | None]
    last_problem: Mapped[str | None]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """What came of one attempt."""

    __tablename__ = "webhook_attempt"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    """From 1 on."""
    begun_at: Mapped[datetime]
    duration_milliseconds: Mapped[int]
    address: Mapped[str | None]
    """The address that was connected to; None where none was."""
    status: Mapped[int | None]
    problem: Mapped[str | None]
    """None: it was taken."""
    answer: Mapped[str]
    """The beginning of what the target answered."""
