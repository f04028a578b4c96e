"""The table of drains."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class NodeDrain(Base):
    """The latest drain of a node: where it stands, so that any supervisor can carry on. Earlier ones are audited."""

    __tablename__ = "node_drain"

    node_id: Mapped[str] = mapped_column(primary_key=True)
    phase: Mapped[str]
    """As in `states.Phase`."""
    requested_at: Mapped[datetime]
    deadline_at: Mapped[datetime]
    phase_changed_at: Mapped[datetime]
    tenants_left: Mapped[int]
    """Tenants that the node still serves, because there was nowhere to go."""
    legs_left: Mapped[int | None]
    """Legs on the node at the last look; None before the first."""
    legs_ended: Mapped[int]
    """Legs that the deadline ended."""
    records_awaited: Mapped[int | None]
    """Legs of this drain whose call records have not come; None before the sweep."""
    legs: Mapped[dict[str, Any]]
    """Leg id to tenant id (or None) of every leg seen since the pause, at most `carry_out.MAX_REMEMBERED_LEGS`."""
    returns_tenants: Mapped[bool]
    """Whether a cancelled drain brings the tenants back at once."""
    sweep_waived_because: Mapped[str | None]
    """Why a person has ended the sweep although records were missing; who, the audit trail says."""
    problem: Mapped[str | None]
    """Why the last look led to nothing; None when it did."""
