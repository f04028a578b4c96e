"""Responses of the live view."""

from __future__ import annotations

from datetime import datetime

from infra.kit.http import View
from switch.live.models import LiveLeg, LiveNode, LiveRegistration


class LiveCallView(View):
    """A leg of a call that runs now; the legs of one call name each other in `other_leg_id` once they are connected.

    `state`: ringing, answered or held. `leg`: caller, seat or gateway. `changed_at`: when this was last written.
    """

    leg_id: str
    tenant_id: str
    node: str
    leg: str
    direction: str
    state: str
    other_leg_id: str | None
    seat_id: str | None
    caller: str
    destination: str
    gateway: str | None
    started_at: datetime
    answered_at: datetime | None
    changed_at: datetime


class LiveRegistrationView(View):
    """A phone that is registered now. `registered_at`: when it was first seen; `expires_at`: unless it renews."""

    tenant_id: str
    username: str
    node: str
    call_id: str
    contact: str
    transport: str
    network_ip: str
    network_port: int
    user_agent: str
    registered_at: datetime
    expires_at: datetime


class LiveNodeView(View):
    """How well a node is seen.

    `observed_at`: when its supervisor last wrote. `compared_at`: last comparison with the node itself. `unassigned`:
    legs and registrations of no known tenant. `corrections`: what comparisons put right. `unknown_events`,
    `dropped_events`, `overflow`: events and entries that could not be placed.
    """

    node: str
    revision: int
    observed_at: datetime
    compared_at: datetime | None
    legs: int
    registrations: int
    unassigned: int
    corrections: int
    unknown_events: int
    dropped_events: int
    overflow: int


class HangUpView(View):
    """A leg that the node was told to end, and did."""

    leg_id: str
    node: str
    hangup_cause: str


def live_call_view(leg: LiveLeg) -> LiveCallView:
    """A leg as the API shows it."""
    return LiveCallView(
        leg_id=leg.leg_id,
        tenant_id=leg.tenant_id,
        node=leg.node,
        leg=leg.leg,
        direction=leg.direction,
        state=leg.state,
        other_leg_id=leg.other_leg_id,
        seat_id=leg.seat_id,
        caller=leg.caller,
        destination=leg.destination,
        gateway=leg.gateway,
        started_at=leg.started_at,
        answered_at=leg.answered_at,
        changed_at=leg.changed_at,
    )


def live_registration_view(registration: LiveRegistration) -> LiveRegistrationView:
    """A registration as the API shows it."""
    return LiveRegistrationView(
        tenant_id=registration.tenant_id,
        username=registration.username,
        node=registration.node,
        call_id=registration.call_id,
        contact=registration.contact,
        transport=registration.transport,
        network_ip=registration.network_ip,
        network_port=registration.network_port,
        user_agent=registration.user_agent,
        registered_at=registration.registered_at,
        expires_at=registration.expires_at,
    )


def live_node_view(node: LiveNode) -> LiveNodeView:
    """How well a node is seen, as the API shows it."""
    return LiveNodeView(
        node=node.node,
        revision=node.revision,
        observed_at=node.observed_at,
        compared_at=node.compared_at,
        legs=node.legs,
        registrations=node.registrations,
        unassigned=node.unassigned,
        corrections=node.corrections,
        unknown_events=node.unknown_events,
        dropped_events=node.dropped_events,
        overflow=node.overflow,
    )
