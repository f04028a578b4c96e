"""Where a call goes: the one decision behind every dialplan document."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from switch import numbers
from switch.admission import (
    Attempt,
    Encryption,
    Limit,
    Reason,
    Refused,
    SeatView,
    TenantView,
    admit,
    admit_destination,
    admit_relay,
    admit_tenant,
    limits,
)
from switch.canary_call import CANARY, CANARY_DESTINATION
from switch.gateway_choice import GatewayAttempt, GatewayOption, gateways_for, gateways_in_need
from switch.numbers import E164, Destination, EmergencyNumber, NotDiallable

EMERGENCY_CONTEXT = "emergency"
"""Dialplan context of a phone that may reach emergency numbers and nothing else."""

PUBLIC_CONTEXT = "public"
"""Dialplan context of calls that come in from a gateway."""

REFUSED_CONTEXT = "refused"
"""Dialplan context of a phone's call that was never given another one."""


class Origin(StrEnum):
    """Which side of the switch a call comes from."""

    SEAT = "seat"
    GATEWAY = "gateway"
    SENT_ON = "sent_on"
    """The outside party of a call that a seat had: the seat sends it somewhere else (a transfer or a redirection)."""


class Direction(StrEnum):
    """How a call runs, as its records say (`seatline_direction`)."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that wants to go somewhere.

    `dialled` and `caller` are what the other side sent, unchecked. `on`: the local day. `extension` is the
    authenticated account of a call from a seat; `gateway` the name of the carrier a call came in by, where it is
    known. `gateways`: those that the node has; `draw`: what chooses among equals, such as the call's id. `seat_id` and
    `ran`: of a call that is sent on the seat that had it and how it ran until now. `offers_encryption`: whether a
    seat's phone offers to encrypt its media.
    """

    origin: Origin
    node: str
    context: str
    dialled: str
    on: date
    caller: str = ""
    extension: str | None = None
    gateway: str | None = None
    gateways: tuple[GatewayOption, ...] = ()
    draw: str = ""
    seat_id: str | None = None
    ran: Direction | None = None
    offers_encryption: bool = False


@dataclass(frozen=True, slots=True)
class Party:
    """The tenant, and the seat where there is one, that a call belongs to."""

    tenant_id: str
    domain: str
    seat: SeatView | None
    encryption: Encryption = Encryption.ACCEPTED

    @property
    def is_canary(self) -> bool:
        """Whether it is the system itself."""
        return self.seat is not None and self.seat.extension == CANARY


@dataclass(frozen=True, slots=True)
class CanaryRoute:
    """To nowhere: the node itself answers the canary. No limit counts it and no other leg is made."""

    party: Party


@dataclass(frozen=True, slots=True)
class EmergencyRoute:
    """To an emergency service by the first gateway that takes it. Belongs to no service that a suspension
    ends. `caller_number`: the tenant's own, or None: then none is shown.
    """

    party: Party | None
    number: EmergencyNumber
    gateways: tuple[str, ...]
    caller_number: str | None


@dataclass(frozen=True, slots=True)
class SeatRoute:
    """From one seat of a tenant to another; `direction` is another than internal for a party from outside that is
    sent on.
    """

    party: Party
    callee: SeatView
    direction: Direction = Direction.INTERNAL
    limits: tuple[Limit, ...] = ()

    @property
    def extension(self) -> str:
        """The extension that rings."""
        return self.callee.extension


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """Out to the public network by the first gateway that carries the call. `number`: E.164 digits without plus, or a
    short code.
    """

    party: Party
    attempts: tuple[GatewayAttempt, ...]
    number: str
    caller_number: str
    limits: tuple[Limit, ...] = ()
    may_relay: bool = False
    """Whether a party from outside may be joined with this call later."""

    @property
    def gateway(self) -> str:
        """The gateway that is tried first."""
        return self.attempts[0].gateway


@dataclass(frozen=True, slots=True)
class InboundRoute:
    """In from a gateway to the seat that a number rings at. `number`: E.164 digits; `caller`: as the carrier
    sent it.
    """

    party: Party
    callee: SeatView
    number: str
    caller: str
    gateway: str | None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """Nowhere, and why. `destination` is what the records show: normalised where that was possible."""

    party: Party | None
    reason: Reason
    direction: Direction
    destination: str
    gateway: str | None = None


Route = CanaryRoute | EmergencyRoute | SeatRoute | GatewayRoute | InboundRoute | RefusedRoute


def route(call: Call, tenant: TenantView | None) -> Route:
    """Decide where a call goes.

    `tenant`: of a call from a seat the caller's (with the seat under `numbers.plain_digits(call.dialled)`,
    where there is one), of a call that is sent on the one that had it, of a call from a gateway the one whose number
    was dialled; None when there is none. From a seat an emergency number always passes, also from a suspended tenant
    and a closed seat, and where a seat sends a call on; from a gateway it never does, since that would be relaying.
    """
    if call.origin is Origin.GATEWAY:
        return _from_gateway(call, tenant)
    return _sent_on(call, tenant) if call.origin is Origin.SENT_ON else _from_seat(call, tenant)


def _from_seat(call: Call, tenant: TenantView | None) -> Route:
    destination = numbers.normalise(call.dialled)
    if isinstance(destination, EmergencyNumber):
        party = _party(tenant, call.extension) if tenant is not None else None
        return _emergency(call, tenant, destination, party)
    if tenant is None:
        return RefusedRoute(None, Reason.UNKNOWN_SEAT, Direction.OUTBOUND, numbers.plain_digits(call.dialled) or "")
    party = _party(tenant, call.extension)
    if call.extension == CANARY:
        return _from_canary(call, tenant, party)
    shown, is_internal = _meant(call, tenant, destination)
    direction = Direction.INTERNAL if is_internal else Direction.OUTBOUND
    outcome = _refusal(call, tenant)
    if outcome is None:
        outcome = _to_seat(call, tenant, party, shown) if is_internal else _out(call, tenant, party, destination)
    return outcome if not isinstance(outcome, Reason) else RefusedRoute(party, outcome, direction, shown)


def _from_canary(call: Call, tenant: TenantView, party: Party) -> CanaryRoute | RefusedRoute:
    """The canary is served as its tenant's phones are, and reaches nothing but the node's own answer. It needs no
    encryption, having nothing to say.
    """
    reason = _refusal(replace(call, offers_encryption=True), tenant)
    if reason is None and call.dialled != CANARY_DESTINATION:
        reason = Reason.DESTINATION_INVALID
    if reason is None:
        return CanaryRoute(party)
    return RefusedRoute(party, reason, Direction.INTERNAL, CANARY_DESTINATION)


def _refusal(call: Call, tenant: TenantView) -> Reason | None:
    decision = admit(Attempt(call.node, call.extension or ""), tenant)
    if isinstance(decision, Refused):
        return decision.reason
    if tenant.encryption is Encryption.DEMANDED and not call.offers_encryption:
        return Reason.MEDIA_NOT_ENCRYPTED
    # An account that was found for emergencies only and has been restored since began this call too early.
    return Reason.TENANT_SUSPENDED if call.context == EMERGENCY_CONTEXT else None


def _sent_on(call: Call, tenant: TenantView | None) -> Route:
    """A seat sends its outside party on: to a colleague, to an emergency service, or to a number that the tenant
    forwards to. Anything else would be relaying (clause C18), whoever called whom. A seat that was suspended or closed
    during the call goes on talking and sends it nowhere but to an emergency service.
    """
    destination = numbers.normalise(call.dialled)
    direction = call.ran or Direction.INBOUND
    if tenant is None:
        return RefusedRoute(None, Reason.UNKNOWN_SEAT, direction, numbers.plain_digits(call.dialled) or "")
    seat = SeatView("", call.seat_id, is_open=True) if call.seat_id else None
    party = Party(tenant.tenant_id, tenant.domain, seat, tenant.encryption)
    if isinstance(destination, EmergencyNumber):
        return _emergency(call, tenant, destination, party)
    shown, is_internal = _meant(call, tenant, destination)
    if call.ran not in (Direction.INBOUND, Direction.OUTBOUND):
        outcome: Route | Reason = Reason.RELAYING_NOT_ALLOWED
    elif not _is_open(call.seat_id, tenant):
        outcome = Reason.SEAT_CLOSED
    elif is_internal:
        outcome = _to_seat(call, tenant, party, shown)
    else:
        outcome = _refused_at_all(call, tenant) or _out(call, tenant, party, destination)
    return outcome if not isinstance(outcome, Reason) else RefusedRoute(party, outcome, direction, shown)


def _is_open(seat_id: str | None, tenant: TenantView) -> bool:
    """Whether the seat that sends a call on is served; a call of no seat's is judged by its tenant alone."""
    return not seat_id or any(seat.seat_id == seat_id and seat.is_open for seat in tenant.seats.values())


def _refused_at_all(call: Call, tenant: TenantView) -> Reason | None:
    decision = admit_tenant(call.node, tenant)
    return decision.reason if isinstance(decision, Refused) else None


def _meant(call: Call, tenant: TenantView, destination: Destination) -> tuple[str, bool]:
    """What the records show as dialled, and whether it is an extension of the tenant."""
    shown = numbers.plain_digits(call.dialled) or ""
    is_internal = numbers.is_extension(shown) and (shown in tenant.seats or isinstance(destination, NotDiallable))
    return (destination.digits if isinstance(destination, E164) and not is_internal else shown), is_internal


def _to_seat(call: Call, tenant: TenantView, party: Party, extension: str) -> SeatRoute | Reason:
    callee = tenant.seats.get(extension)
    if callee is None:
        return Reason.UNKNOWN_NUMBER
    decision = admit(Attempt(call.node, extension), tenant)
    if isinstance(decision, Refused):
        return decision.reason
    counted = limits(tenant, (*_seats_of(call), extension))
    return SeatRoute(party, callee, call.ran or Direction.INTERNAL, counted)


def _out(call: Call, tenant: TenantView, party: Party, destination: Destination) -> GatewayRoute | Reason:
    if isinstance(destination, NotDiallable | EmergencyNumber):
        return Reason.DESTINATION_INVALID
    may_leave = admit_relay if call.origin is Origin.SENT_ON else admit_destination
    reason = may_leave(destination, tenant.policy, on=call.on)
    if reason is not None:
        return reason
    if tenant.caller_number is None or tenant.caller_number not in tenant.numbers:
        return Reason.NUMBER_NOT_YOURS
    plus = "+" if isinstance(destination, E164) else ""
    attempts = gateways_for(plus + destination.digits, call.gateways, draw=call.draw)
    if not attempts:
        return Reason.NO_GATEWAY
    counted = limits(tenant, _seats_of(call))
    may_relay = admit_relay(destination, tenant.policy, on=call.on) is None
    return GatewayRoute(party, attempts, destination.digits, tenant.caller_number, counted, may_relay)


def _seats_of(call: Call) -> tuple[str, ...]:
    """The seat that a call keeps busy besides the one it rings at."""
    return (call.extension,) if call.extension else ()


def _emergency(
    call: Call, tenant: TenantView | None, number: EmergencyNumber, party: Party | None
) -> EmergencyRoute | RefusedRoute:
    if not call.gateways:
        return RefusedRoute(party, Reason.NO_GATEWAY, Direction.EMERGENCY, number.digits)
    shown = tenant.caller_number if tenant is not None and tenant.caller_number in tenant.numbers else None
    return EmergencyRoute(party, number, gateways_in_need(call.gateways), shown)


def _from_gateway(call: Call, tenant: TenantView | None) -> InboundRoute | RefusedRoute:
    destination = numbers.normalise(call.dialled)
    shown = destination.digits if isinstance(destination, E164) else numbers.plain_digits(call.dialled) or ""

    def refused(reason: Reason, party: Party | None) -> RefusedRoute:
        return RefusedRoute(party, reason, Direction.INBOUND, shown, call.gateway)

    if call.gateway is None:
        return refused(Reason.UNKNOWN_GATEWAY, None)
    if tenant is None or not isinstance(destination, E164):
        return refused(Reason.UNKNOWN_NUMBER, None)
    extension = tenant.numbers.get(destination.digits)
    party = _party(tenant, extension)
    if extension is None:
        return refused(Reason.UNKNOWN_NUMBER, party)
    decision = admit(Attempt(call.node, extension), tenant)
    if isinstance(decision, Refused):
        return refused(decision.reason, party)
    counted = limits(tenant, (extension,))
    return InboundRoute(party, tenant.seats[extension], destination.digits, call.caller, call.gateway, counted)


def _party(tenant: TenantView, extension: str | None) -> Party:
    seat = tenant.seats.get(extension) if extension else None
    return Party(tenant.tenant_id, tenant.domain, seat, tenant.encryption)
