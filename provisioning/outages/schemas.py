"""Response bodies of observations, of maintenance in the cluster and of proposals. Times carry an offset."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from infra.kit import clock
from infra.kit.http import View
from provisioning.outages.models import Observation, WindowNode
from provisioning.outages.proposing import WEEKS, Proposal
from provisioning.rules.quiet_hours import QuietTime


class ObservationView(View):
    """Something that was seen at the cluster and keeps a tenant's seats from working.

    `kind`: node_down, gateways_down, registrations_lost, canary_failing or tunnel_gateway_down. `subject`: the node, or
    the VPN gateway, that it was seen at.
    `state`: suspected (not long enough to be a fault), open (its faults name it) or ended. `extensions` null means
    everything that the tenant has open. `cleared_at`: since when it has not been seen any more.
    """

    tenant_id: str
    observation_id: str
    kind: str
    subject: str
    cause: str | None
    extensions: list[str] | None
    state: str
    note: str
    began_at: datetime
    seen_at: datetime
    cleared_at: datetime | None
    ended_at: datetime | None


class WindowNodeView(View):
    """Where a node stands within a window: waiting, draining, out, returning, back or skipped (`note` says why)."""

    node: str
    place: int
    state: str
    is_done: bool
    turn_began_at: datetime | None
    turn_ends_at: datetime | None
    settled_at: datetime | None
    note: str | None


class WindowNodesView(View):
    """The nodes of a window by their turns; none before it begins."""

    window_id: str
    nodes: list[WindowNodeView]


class ProposedTimeView(View):
    """A time for a window, and what the same hours of the same weekday brought in the weeks looked at, all together."""

    begins_at: datetime
    ends_at: datetime
    legs: int
    talk_seconds: int


class ProposalView(View):
    """The quietest times of a month, the quietest first, from the call records of `first_day` to `last_day`.

    `legs_seen`: call legs in all of these weeks. `busiest`: the busiest time of the same length, for comparison.
    `places_left`: how many more windows the month may have.
    """

    month: str
    hours: int
    weeks: int
    first_day: date
    last_day: date
    legs_seen: int
    places_left: int
    proposals: list[ProposedTimeView]
    busiest: ProposedTimeView | None


def observation_view(row: Observation) -> ObservationView:
    """An observation as the API shows it."""
    return ObservationView(
        tenant_id=row.tenant_id,
        observation_id=row.observation_id,
        kind=row.kind,
        subject=row.subject,
        cause=row.cause,
        extensions=row.extensions,
        state=row.state,
        note=row.note,
        began_at=row.began_at,
        seen_at=row.seen_at,
        cleared_at=row.cleared_at,
        ended_at=row.ended_at,
    )


def window_node_view(row: WindowNode) -> WindowNodeView:
    """A node within its window."""
    return WindowNodeView(
        node=row.node,
        place=row.place,
        state=row.state,
        is_done=row.is_done,
        turn_began_at=row.turn_began_at,
        turn_ends_at=row.turn_ends_at,
        settled_at=row.settled_at,
        note=row.note,
    )


def proposal_view(proposal: Proposal) -> ProposalView:
    """A proposal with its figures."""
    return ProposalView(
        month=str(proposal.month),
        hours=proposal.hours,
        weeks=WEEKS,
        first_day=proposal.first_day,
        last_day=proposal.last_day,
        legs_seen=proposal.legs_seen,
        places_left=proposal.places_left,
        proposals=[_time_view(each) for each in proposal.times],
        busiest=None if proposal.busiest is None else _time_view(proposal.busiest),
    )


def _time_view(time: QuietTime) -> ProposedTimeView:
    begins_at = clock.local_midnight(time.day) + timedelta(hours=time.hour)
    return ProposedTimeView(
        begins_at=begins_at,
        ends_at=begins_at + timedelta(hours=time.hours),
        legs=time.traffic.legs,
        talk_seconds=time.traffic.talk_seconds,
    )
