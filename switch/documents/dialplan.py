"""Dialplan answers: the route is decided, the document only carries it out.

One extension, one condition that always holds, and the applications in order. What call records need later
stands in channel variables (`seatline_...`), on the leg that asks by `set`, on the legs it makes in the dial
string. Variables do not pass from one leg to the other by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from switch.admission import SIP_ANSWERS
from switch.documents.channel import harmless, leg_variables, only_harmless
from switch.documents.markup import document, element
from switch.routing import (
    Direction,
    EmergencyRoute,
    GatewayRoute,
    InboundRoute,
    Party,
    RefusedRoute,
    Route,
    SeatRoute,
)

SEAT_RING_SECONDS = 60
GATEWAY_RING_SECONDS = 120

LEG_CALLER = "caller"
LEG_SEAT = "seat"
LEG_GATEWAY = "gateway"
"""The leg towards or from the carrier: the one that bills."""

Actions = tuple[tuple[str, str], ...]


def dialplan(context: str, route: Route) -> str:
    """The document for a call in `context` (which must be the one that was asked for). Raises `NotHarmless`."""
    name, actions = _carry_out(route)
    condition = element(
        "condition", *(element("action", application=application, data=data) for application, data in actions)
    )
    extension = element("extension", condition, name=name)
    return document(
        element("section", element("context", extension, name=harmless("context", context)), name="dialplan")
    )


def _carry_out(route: Route) -> tuple[str, Actions]:
    match route:
        case EmergencyRoute():
            return "emergency", _emergency(route)
        case SeatRoute():
            return "internal", _to_seat(route)
        case GatewayRoute():
            return "outbound", _to_gateway(route)
        case InboundRoute():
            return "inbound", _inbound(route)
        case RefusedRoute():
            return "refused", _refused(route)


def _to_seat(route: SeatRoute) -> Actions:
    call = _call(route.party, Direction.INTERNAL, route.extension)
    caller = route.party.seat.extension if route.party.seat is not None else ""
    return (
        *_set(call | _leg(LEG_CALLER, _seat_id(route.party))),
        *_bridging(SEAT_RING_SECONDS, caller),
        (
            "bridge",
            leg_variables(call | _leg(LEG_SEAT, route.callee.seat_id)) + _user(route.party, route.extension),
        ),
    )


def _to_gateway(route: GatewayRoute) -> Actions:
    call = _call(route.party, Direction.OUTBOUND, route.number) | {"seatline_gateway": route.gateway}
    seat_id = _seat_id(route.party)
    return (
        *_set(call | _leg(LEG_CALLER, seat_id)),
        *_bridging(GATEWAY_RING_SECONDS, route.caller_number),
        ("bridge", leg_variables(call | _leg(LEG_GATEWAY, seat_id)) + _gateway(route.gateway, route.number)),
    )


def _inbound(route: InboundRoute) -> Actions:
    call = _call(route.party, Direction.INBOUND, route.number) | {"seatline_gateway": route.gateway or ""}
    seat_id = route.callee.seat_id
    return (
        *_set(call | _leg(LEG_GATEWAY, seat_id)),
        *_bridging(SEAT_RING_SECONDS, only_harmless(route.caller)),
        (
            "bridge",
            leg_variables(call | _leg(LEG_SEAT, seat_id)) + _user(route.party, route.callee.extension),
        ),
    )


def _emergency(route: EmergencyRoute) -> Actions:
    """Every gateway in turn until one takes the call. No `seatline_service` on either leg: `hupall` passes it
    by.
    """
    call = _call(route.party, Direction.EMERGENCY, route.number.digits)
    seat_id = _seat_id(route.party)
    attempts = (
        leg_variables({"seatline_gateway": gateway}, "[]") + _gateway(gateway, route.number.digits)
        for gateway in route.gateways
    )
    return (
        *_set(call | _leg(LEG_CALLER, seat_id)),
        *_bridging(GATEWAY_RING_SECONDS, route.caller_number or ""),
        ("bridge", leg_variables(call | _leg(LEG_GATEWAY, seat_id)) + "|".join(attempts)),
    )


def _refused(route: RefusedRoute) -> Actions:
    answer = SIP_ANSWERS[route.reason]
    leg = LEG_GATEWAY if route.direction is Direction.INBOUND else LEG_CALLER
    variables = _call(route.party, route.direction, route.destination) | _leg(leg, _seat_id(route.party))
    return (
        *_set(variables | {"seatline_gateway": route.gateway or "", "seatline_refusal": route.reason.value}),
        ("respond", f"{answer.status} {answer.phrase}"),
        ("hangup", answer.cause),
    )


def _call(party: Party | None, direction: Direction, destination: str) -> dict[str, str]:
    """What both legs of a call say about it.

    `seatline_service` is the handle by which a suspension ends a tenant's live calls. An emergency call has
    none, and a channel that carried another call before (a transfer to 110) loses it: an empty value takes a
    variable away.
    """
    tenant_id = party.tenant_id if party is not None else ""
    return {
        "seatline_tenant": tenant_id,
        "seatline_direction": direction.value,
        "seatline_destination": destination,
        "seatline_service": "" if direction is Direction.EMERGENCY else tenant_id,
    }


def _leg(leg: str, seat_id: str | None) -> dict[str, str]:
    return {"seatline_leg": leg, "seatline_seat": seat_id or ""}


def _seat_id(party: Party | None) -> str | None:
    return party.seat.seat_id if party is not None and party.seat is not None else None


def _set(variables: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in variables.items():
        if value:
            yield "set", f"{name}={harmless(name, value)}"
        elif name == "seatline_service":
            yield "unset", name


def _bridging(ring_seconds: int, caller: str) -> Actions:
    """How a bridge behaves: it rings for a while, a failure ends the call with its own cause, headers stay
    outside.
    """
    shown = harmless("caller", caller)
    identity = (
        (("set", f"effective_caller_id_number={shown}"), ("set", f"effective_caller_id_name={shown}")) if shown else ()
    )
    return (
        ("set", "hangup_after_bridge=true"),
        ("set", "continue_on_fail=false"),
        ("set", f"call_timeout={ring_seconds}"),
        # What a phone puts into X- headers is its own affair; it must not reach a carrier or another phone.
        ("set", "sip_copy_custom_headers=false"),
        *identity,
    )


def _user(party: Party, extension: str) -> str:
    return f"user/{harmless('extension', extension)}@{harmless('domain', party.domain)}"


def _gateway(gateway: str, number: str) -> str:
    return f"sofia/gateway/{harmless('gateway', gateway)}/{harmless('number', number)}"
