"""Tables of hand-outs: what was made for whom, and the one-time links to it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class HandOut(Base):
    """What the user of a seat is given to set up a phone with (clause C20)."""

    __tablename__ = "hand_out"
    __table_args__ = (Index(None, "hand_out_id"), Index("ix_hand_out_of_seat", "tenant_id", "seat_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    hand_out_id: Mapped[str] = mapped_column(primary_key=True)
    seat_id: Mapped[str]
    language: Mapped[str]
    """`zh` or `en`."""
    made_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class HandOutLink(Base):
    """One link of a hand-out: it shows its content once, and nobody can read that content without the link."""

    __tablename__ = "hand_out_link"
    __table_args__ = (
        Index(None, "secret_digest"),
        Index("ix_hand_out_link_unread", "expires_at", postgresql_where=text("sealed_content IS NOT NULL")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    hand_out_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """`page`, `softphone` or `desk_phone`."""
    secret_digest: Mapped[str]
    sealed_content: Mapped[bytes | None]
    """Encrypted under the link's secret, which is nowhere kept; None once the link has ended."""
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ending: Mapped[str | None]
    """`fetched`, `expired`, `replaced` or `withdrawn`."""
