"""Dialplan answers: the route is decided, the document only carries it out.

One extension, one condition that always holds, and the applications in order. What call records need later
stands in channel variables (`seatline_...`), on the leg that asks by `set`, on the legs it makes in the dial
string. Variables do not pass from one leg to the other by themselves.

A channel that is sent on keeps what its record says of it: the leg towards the carrier bills what it was made for,
wherever its call goes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from switch.admission import SIP_ANSWERS, Encryption, Limit, Reason, SeatView
from switch.canary_call import CANARY_DESTINATION, HELD_MILLISECONDS, LEG_CANARY
from switch.documents.channel import harmless, leg_variables, only_harmless
from switch.documents.markup import document, element
from switch.documents.unrouted import ROUTED
from switch.gateway_choice import FAILOVER_CAUSES, GatewayAttempt
from switch.routing import (
    CanaryRoute,
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

PROGRESS_SECONDS = 15
"""How long a gateway may give no sign (ringing, early media) where there is another one to try. A gateway that is dead
without our knowing it would otherwise take the 32 seconds after which SIP itself gives up.
"""

CAPACITY_REALM = "gateways"
"""Under which mod_hash counts the calls of each gateway; no tenant's id reads so."""

LEG_CALLER = "caller"
LEG_SEAT = "seat"
LEG_GATEWAY = "gateway"
"""The leg towards or from the carrier: the one that bills."""

Actions = tuple[tuple[str, str], ...]

FORGET_LAST_ANSWER = ("unset", "last_bridge_proto_specific_hangup_cause")
"""A call may come back from a phone that redirected it: what that phone answered (302) is not to be passed on."""


MAY_RELAY = "seatline_may_relay"
"""Variable of a leg that may be joined with a party from outside: the tenant forwards to its number."""

NO_NUMBER = "anonymous"
"""Shown where there is no number to show (RFC 3323)."""

LIMIT_BACKEND = "hash"
"""mod_hash counts in the node's memory, where a call's end and a node's death take the count along."""


UNCOUNTED = 1_000_000
"""A limit that nothing reaches: only the count matters."""


def dialplan(context: str, route: Route, *, is_sent_on: bool = False, occupied: str | None = None) -> str:
    """The document for a call in `context` (which must be the one that was asked for). Raises `NotHarmless`.

    `is_sent_on`: the channel has carried a call before, whose record it keeps. `occupied`: the gateway of limited
    capacity that the channel itself runs over.
    """
    name, actions = _carry_out(route, is_sent_on=is_sent_on)
    if occupied is not None and not isinstance(route, EmergencyRoute | RefusedRoute):
        actions = (_still_over(occupied), *actions)
    if is_sent_on or not isinstance(route, RefusedRoute):
        actions = (FORGET_LAST_ANSWER, *actions)
    if not is_sent_on and not isinstance(route, InboundRoute | RefusedRoute):
        actions = (*ROUTED, *actions)
    condition = element(
        "condition", *(element("action", application=application, data=data) for application, data in actions)
    )
    extension = element("extension", condition, name=name)
    return document(
        element("section", element("context", extension, name=harmless("context", context)), name="dialplan")
    )


def _carry_out(route: Route, *, is_sent_on: bool) -> tuple[str, Actions]:
    match route:
        case CanaryRoute():
            return "canary", _canary(route)
        case EmergencyRoute():
            return "emergency", _emergency(route, is_sent_on=is_sent_on)
        case SeatRoute():
            return "internal", _to_seat(route, is_sent_on=is_sent_on)
        case GatewayRoute():
            return "outbound", _to_gateway(route, is_sent_on=is_sent_on)
        case InboundRoute():
            return "inbound", _inbound(route)
        case RefusedRoute():
            return "refused", _refused(route, is_sent_on=is_sent_on)


def _to_seat(route: SeatRoute, *, is_sent_on: bool) -> Actions:
    call = _call(route.party, route.direction, route.extension)
    caller = route.party.seat.extension if route.party.seat is not None else ""
    return (
        *_set({} if is_sent_on else call | _leg(LEG_CALLER, _seat_id(route.party))),
        *_keep_to(route.party),
        *_counted(route.party, route.limits),
        *_bridging(SEAT_RING_SECONDS, caller),
        ("bridge", _towards_seat(route.party, call, route.callee)),
    )


def _to_gateway(route: GatewayRoute, *, is_sent_on: bool) -> Actions:
    """To each gateway in turn while the one before could not carry the call (`FAILOVER_CAUSES`).

    Every attempt is a leg of its own, with its gateway in its record; only the one that was answered bills. Of a call
    that no gateway had room for the record says so.
    """
    call = _call(route.party, Direction.OUTBOUND, route.number)
    seat_id = _seat_id(route.party)
    towards_carrier = call | _leg(LEG_GATEWAY, seat_id) | _transfers_stay_with(route.party) | _NO_REDIRECTION
    if route.may_relay:
        towards_carrier[MAY_RELAY] = "true"
    actions = [
        *_set({} if is_sent_on else call | _leg(LEG_CALLER, seat_id)),
        *_keep_to(route.party),
        *_counted(route.party, route.limits),
        *_bridging(GATEWAY_RING_SECONDS, route.caller_number),
    ]
    if len(route.attempts) > 1:
        actions.append(("set", f"continue_on_fail={','.join(FAILOVER_CAUSES)}"))
    for place, attempt in enumerate(route.attempts, 1):
        is_last = place == len(route.attempts)
        if is_last and len(route.attempts) > 1:
            actions.append(("set", "continue_on_fail=false"))
        if not is_sent_on:
            actions.append(("set", f"seatline_gateway={harmless('gateway', attempt.gateway)}"))
        variables = towards_carrier | {"seatline_gateway": attempt.gateway} | _patience(is_last=is_last)
        dial_string = leg_variables(variables) + _gateway(attempt.gateway, route.number)
        actions.append(_within_capacity(attempt, dial_string))
    if any(attempt.capacity_calls is not None for attempt in route.attempts):
        actions.extend(_no_room())
    return tuple(actions)


def _patience(*, is_last: bool) -> dict[str, str]:
    """The last gateway may take its time: there is nobody else to ask."""
    return {} if is_last else {"leg_progress_timeout": str(PROGRESS_SECONDS)}


def _within_capacity(attempt: GatewayAttempt, dial_string: str) -> tuple[str, str]:
    """`limit_execute` (mod_dptools) passes over a gateway that is full; it counts until the attempt has failed or the
    channel ends.
    """
    if attempt.capacity_calls is None:
        return ("bridge", dial_string)
    counted = f"{LIMIT_BACKEND} {CAPACITY_REALM} {harmless('gateway', attempt.gateway)} {attempt.capacity_calls}"
    return ("limit_execute", f"{counted} bridge {dial_string}")


def _still_over(gateway: str) -> tuple[str, str]:
    """The outside party of a call out stays on its gateway where the seat sends it on, while the seat's leg, which was
    counted for it, ends. So from here on the party's own leg counts; nothing can refuse it."""
    cause = SIP_ANSWERS[Reason.GATEWAYS_FULL].cause
    return ("limit", f"{LIMIT_BACKEND} {CAPACITY_REALM} {harmless('gateway', gateway)} {UNCOUNTED} !{cause}")


def _no_room() -> Iterable[tuple[str, str]]:
    """Reached only where the last gateway was passed over: a call that failed there has ended."""
    answer = SIP_ANSWERS[Reason.GATEWAYS_FULL]
    yield "set", f"seatline_refusal={Reason.GATEWAYS_FULL.value}"
    yield "respond", f"{answer.status} {answer.phrase}"
    yield "hangup", answer.cause


def _inbound(route: InboundRoute) -> Actions:
    call = _call(route.party, Direction.INBOUND, route.number) | {"seatline_gateway": route.gateway or ""}
    return (
        *_set(call | _leg(LEG_GATEWAY, route.callee.seat_id)),
        *_keep_to(route.party),
        *_counted(route.party, route.limits),
        *_bridging(SEAT_RING_SECONDS, only_harmless(route.caller)),
        ("bridge", _towards_seat(route.party, call, route.callee)),
    )


def _emergency(route: EmergencyRoute, *, is_sent_on: bool) -> Actions:
    """Every gateway in turn until one takes the call. No `seatline_service` on either leg: `hupall` passes it
    by. Nothing counts it and nothing holds it up.
    """
    call = _call(route.party, Direction.EMERGENCY, route.number.digits)
    seat_id = _seat_id(route.party)
    # Whoever is sent on to help comes from outside, perhaps; that is no relaying.
    towards_help = call | _leg(LEG_GATEWAY, seat_id) | _NO_REDIRECTION | {MAY_RELAY: "true"}
    attempts = (
        leg_variables({"seatline_gateway": gateway} | _patience(is_last=gateway == route.gateways[-1]), "[]")
        + _gateway(gateway, route.number.digits)
        for gateway in route.gateways
    )
    return (
        *_set({"seatline_service": ""} if is_sent_on else call | _leg(LEG_CALLER, seat_id)),
        # Never what a phone says of itself: where the tenant has no number the carrier shows its own.
        *_bridging(GATEWAY_RING_SECONDS, route.caller_number or NO_NUMBER),
        ("bridge", leg_variables(towards_help) + "|".join(attempts)),
    )


def _canary(route: CanaryRoute) -> Actions:
    """The node answers by itself and waits for the canary to hang up. No `limit` counts the call, and no
    `seatline_service` makes it part of the tenant's.
    """
    call = _call(route.party, Direction.INTERNAL, CANARY_DESTINATION) | {"seatline_service": ""}
    return (
        *_set(call | _leg(LEG_CANARY, None)),
        ("answer", ""),
        ("sleep", str(HELD_MILLISECONDS)),
        ("hangup", "NORMAL_CLEARING"),
    )


def _refused(route: RefusedRoute, *, is_sent_on: bool) -> Actions:
    answer = SIP_ANSWERS[route.reason]
    refusal = {"seatline_refusal": route.reason.value}
    if is_sent_on:
        return (*_set(refusal), ("hangup", answer.cause))
    leg = LEG_GATEWAY if route.direction is Direction.INBOUND else LEG_CALLER
    if route.party is not None and route.party.is_canary:
        leg = LEG_CANARY
    variables = _call(route.party, route.direction, route.destination) | _leg(leg, _seat_id(route.party))
    return (
        *_set(variables | {"seatline_gateway": route.gateway or ""} | refusal),
        ("respond", f"{answer.status} {answer.phrase}"),
        ("hangup", answer.cause),
    )


def _counted(party: Party, limits: Iterable[Limit]) -> Iterable[tuple[str, str]]:
    """Each limit in turn; the first that is used up ends the call at the node, with its reason in the record.

    `limit` (mod_dptools) counts and compares in one step, so calls that arrive together cannot all slip through; what
    is counted at once is given back when the channel ends or is sent on. `!CAUSE` hangs up where another word would
    be an extension. Without mod_hash the node refuses the call, it never lets one through uncounted.
    """
    realm = harmless("tenant_id", party.tenant_id)
    found = tuple(limits)
    for limit in found:
        per = f"/{limit.interval_seconds}" if limit.interval_seconds is not None else ""
        yield "set", f"seatline_refusal={limit.reason.value}"
        yield (
            "limit",
            f"{LIMIT_BACKEND} {realm} {harmless('resource', limit.resource)} {limit.most}{per} "
            f"!{SIP_ANSWERS[limit.reason].cause}",
        )
    if found:
        yield "unset", "seatline_refusal"


def _towards_seat(party: Party, call: Mapping[str, str], callee: SeatView) -> str:
    """A seat's phone may redirect the call: then it is routed anew, as a call that is sent on, in its tenant's
    context.
    """
    stays = _transfers_stay_with(party) | {"sip_redirect_context": party.tenant_id}
    variables = leg_variables({**call, **_leg(LEG_SEAT, callee.seat_id), **stays}).removesuffix("}")
    return variables + _TOWARDS_SEATS[party.encryption] + "}" + _user(party, callee.extension)


SUITES = "AES_256_CM_HMAC_SHA1_80:AES_CM_128_HMAC_SHA1_80"
"""What is offered to phones; FreeSWITCH by itself offers suites too that prove nothing about who speaks."""

_TOWARDS_SEATS: Mapping[Encryption, str] = {
    Encryption.ACCEPTED: "",
    Encryption.OFFERED: f",rtp_secure_media_outbound=optional:{SUITES}",
    Encryption.DEMANDED: f",rtp_secure_media_outbound=mandatory:{SUITES}",
}
"""Of the leg towards a seat's phone; the leg towards a carrier is not the tenant's to encrypt. Our own words, written
beside the checked values because of their colons."""


_NO_REDIRECTION = {"outbound_redirect_fatal": "true"}
"""A carrier cannot send our call to an address of its choice."""


def _transfers_stay_with(party: Party) -> dict[str, str]:
    return {"force_transfer_context": party.tenant_id}


def _keep_to(party: Party) -> Iterable[tuple[str, str]]:
    """Whoever transfers this channel, the tenant's dialplan decides where it may go."""
    return _set(_transfers_stay_with(party))


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
