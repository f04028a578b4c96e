"""Tables of the kit: audit, idempotency, schedule."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class AuditEntry(Base):
    """Who did what to which object; append-only, partitioned by month."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index(None, "entry_id"), {"postgresql_partition_by": "RANGE (month)"})

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    entry_id: Mapped[str] = mapped_column(primary_key=True)
    occurred_at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    object_id: Mapped[str | None]
    facts: Mapped[dict[str, Any]]


class IdempotencyRecord(Base):
    """The answer given to a POST with an `Idempotency-Key`, sealed, kept for a day."""

    __tablename__ = "idempotency_record"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None]
    sealed_response: Mapped[bytes | None]


class ScheduleEntry(Base):
    """When each periodic job was last started."""

    __tablename__ = "schedule_entry"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_started_at: Mapped[datetime]
