"""The table of refused sign-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class RefusedSignIn(Base):
    """How often one node refused one name from one address within an hour."""

    __tablename__ = "refused_sign_in"
    __table_args__ = (Index("ix_refused_sign_in_hour", "hour"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    """Whose SIP domain was named; `platform` where it is nobody's, and of the system's own account."""
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    """Its beginning."""
    node: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(primary_key=True)
    """As it was sent, cut and made readable; empty where there were too many to tell apart."""
    source: Mapped[str] = mapped_column(primary_key=True)
    """The address that it came from (an edge's, where there is one before the node); empty as `username`."""
    attempts: Mapped[int]
    user_agent: Mapped[str]
    """What the latest one called itself."""
    last_at: Mapped[datetime]
