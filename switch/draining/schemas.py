"""Request and response bodies of draining."""

from __future__ import annotations

from datetime import datetime

from infra.kit.http import Body, View
from switch.draining.models import NodeDrain


class DrainOrder(Body):
    """A drain to begin. Calls that still run at `deadline` (with its offset; by default in 30 minutes) are ended."""

    deadline: datetime | None = None


class SweepEnd(Body):
    """Why a drain goes on although call records are missing."""

    reason: str


class DrainView(View):
    """The latest drain of a node.

    `phase`: moving, pausing, waiting, ending, sweeping, drained, cancelling or cancelled. `tenants_left`: tenants that
    it still serves for want of another node. `legs_left`: legs on it at the last look. `legs_ended`: legs that the
    deadline ended. `records_awaited`: legs whose call records have not come. `sweep_waived_because`: why a person went
    on without them. `problem`: why the last look failed, or what is waited for.
    """

    phase: str
    requested_at: datetime
    deadline_at: datetime
    phase_changed_at: datetime
    tenants_left: int
    legs_left: int | None
    legs_ended: int
    records_awaited: int | None
    sweep_waived_because: str | None
    problem: str | None


def drain_view(drain: NodeDrain) -> DrainView:
    """A drain as the API shows it."""
    return DrainView(
        phase=drain.phase,
        requested_at=drain.requested_at,
        deadline_at=drain.deadline_at,
        phase_changed_at=drain.phase_changed_at,
        tenants_left=drain.tenants_left,
        legs_left=drain.legs_left,
        legs_ended=drain.legs_ended,
        records_awaited=drain.records_awaited,
        sweep_waived_because=drain.sweep_waived_because,
        problem=drain.problem,
    )
