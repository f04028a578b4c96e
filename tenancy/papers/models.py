"""Table of papers; the files lie in object storage."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Paper(Base):
    """A paper of a tenant (C19). Its file is in object storage as long as `erased_at` is None."""

    __tablename__ = "paper"
    __table_args__ = (
        Index(None, "paper_id"),
        Index("ix_paper_expiring", "valid_until", postgresql_where=text("state = 'accepted'")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    paper_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """One of `rules.KINDS`."""
    state: Mapped[str]
    """`submitted`, `accepted`, `refused` or `withdrawn`."""
    file_name: Mapped[str]
    media_type: Mapped[str]
    """By the content, never as the sender named it."""
    size_bytes: Mapped[int]
    digest: Mapped[str]
    """SHA-256 of the file, in hexadecimal."""
    valid_from: Mapped[date | None]
    """None: since ever."""
    valid_until: Mapped[date | None]
    """Its last day; None: it does not expire."""
    uploaded_at: Mapped[datetime]
    uploaded_by: Mapped[str]
    decided_at: Mapped[datetime | None]
    """When it was accepted, refused or withdrawn."""
    decided_by: Mapped[str | None]
    decision_reason: Mapped[str | None]
    erased_at: Mapped[datetime | None]
