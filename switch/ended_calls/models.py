"""The work list of calls that have ended and that their tenant wants to hear of."""

from __future__ import annotations

from datetime import date

from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class EndedCall(Base):
    """A leg that began a call, of a tenant with an endpoint for `call.ended`: written with its record."""

    __tablename__ = "ended_call"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
