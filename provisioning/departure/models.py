"""Tables of the end: exports of a tenant's data, and departures that end in erasure (C26)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class TenantExport(Base):
    """A tenant's data as one file that it can take with it, for some days."""

    __tablename__ = "tenant_export"
    __table_args__ = (Index(None, "export_id"), Index(None, "link_digest"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    export_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    """`waiting`, `ready` or `expired`."""
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    """When the file is removed."""
    parts: Mapped[int]
    """How many pieces the file is kept in."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    contents: Mapped[dict[str, Any]]
    """Rows or documents by the name of the file inside."""
    problem: Mapped[str | None]
    link_digest: Mapped[str | None]
    """SHA-256 of the secret in the newest link."""
    link_until: Mapped[datetime | None]


class Departure(Base):
    """A tenant's end: announced, cancellable until its day, then its personal data is erased."""

    __tablename__ = "departure"
    __table_args__ = (
        Index(None, "departure_id"),
        Index("uq_departure_one_at_a_time", "tenant_id", unique=True, postgresql_where=text("state <> 'cancelled'")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    departure_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    """`announced`, `cancelled`, `erasing` or `erased`."""
    reason: Mapped[str]
    begun_by: Mapped[str]
    begun_at: Mapped[datetime]
    erase_on: Mapped[date]
    """The local day on which the erasure begins."""
    cancelled_by: Mapped[str | None]
    cancelled_at: Mapped[datetime | None]
    cancellation_reason: Mapped[str | None]
    held_because: Mapped[str | None]
    """Why it could not begin on its day."""
    counts: Mapped[dict[str, Any]]
    """Rows erased and rows stripped so far, by table: the proof."""
    erased_at: Mapped[datetime | None]
