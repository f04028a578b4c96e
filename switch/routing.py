"""Where a call goes: the one decision behind every dialplan document."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from switch import numbers
from switch.admission import Attempt, Reason, Refused, SeatView, TenantView, admit
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


class Direction(StrEnum):
    """How a call runs, as its records say (`seatline_direction`)."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that wants to go somewhere.

    `dialled` and `caller` are what the other side sent, unchecked. `extension` is the authenticated account
    of a call from a seat; `gateway` the name of the carrier a call came in by, where it is known. `gateways`:
    names of the node's gateways, the preferred one first.
    """

    origin: Origin
    node: str
    context: str
    dialled: str
    caller: str = ""
    extension: str | None = None
    gateway: str | None = None
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Party:
    """The tenant, and the seat where there is one, that a call belongs to."""

    tenant_id: str
    domain: str
    seat: SeatView | None


@dataclass(frozen=True, slots=True)
class EmergencyRoute:
    """To an emergency service by the first gateway that takes it. Belongs to no service that a suspension
    ends.
    """

    party: Party | None
    number: EmergencyNumber
    gateways: tuple[str, ...]
    caller_number: str | None


@dataclass(frozen=True, slots=True)
class SeatRoute:
    """From one seat of a tenant to another."""

    party: Party
    callee: SeatView

    @property
    def extension(self) -> str:
        """The extension that rings."""
        return self.callee.extension


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """Out to the public network. `number`: E.164 digits without plus, or a short code."""

    party: Party
    gateway: str
    number: str
    caller_number: str


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


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """Nowhere, and why. `destination` is what the records show: normalised where that was possible."""

    party: Party | None
    reason: Reason
    direction: Direction
    destination: str
    gateway: str | None = None


Route = EmergencyRoute | SeatRoute | GatewayRoute | InboundRoute | RefusedRoute


def route(call: Call, tenant: TenantView | None) -> Route:
    """Decide where a call goes.

    `tenant`: of a call from a seat the caller's (with the seat under `numbers.plain_digits(call.dialled)`,
    where there is one), of a call from a gateway the one whose number was dialled; None when there is none.
    From a seat an emergency number always passes, also from a suspended tenant and a closed seat; from a
    gateway it never does, since that would be relaying.
    """
    if call.origin is Origin.GATEWAY:
        return _from_gateway(call, tenant)
    return _from_seat(call, tenant)


def _from_seat(call: Call, tenant: TenantView | None) -> Route:
    destination = numbers.normalise(call.dialled)
    if isinstance(destination, EmergencyNumber):
        return _emergency(call, tenant, destination)
    shown = numbers.plain_digits(call.dialled) or ""
    if tenant is None:
        return RefusedRoute(None, Reason.UNKNOWN_SEAT, Direction.OUTBOUND, shown)
    party = _party(tenant, call.extension)
    is_internal = numbers.is_extension(shown) and (shown in tenant.seats or isinstance(destination, NotDiallable))
    if isinstance(destination, E164) and not is_internal:
        shown = destination.digits
    direction = Direction.INTERNAL if is_internal else Direction.OUTBOUND
    outcome = _refusal(call, tenant)
    if outcome is None:
        outcome = _to_seat(call, tenant, party, shown) if is_internal else _out(call, tenant, party, destination)
    return outcome if not isinstance(outcome, Reason) else RefusedRoute(party, outcome, direction, shown)


def _refusal(call: Call, tenant: TenantView) -> Reason | None:
    decision = admit(Attempt(call.node, call.extension or ""), tenant)
    if isinstance(decision, Refused):
        return decision.reason
    # An account that was found for emergencies only and has been restored since began this call too early.
    return Reason.TENANT_SUSPENDED if call.context == EMERGENCY_CONTEXT else None


def _to_seat(call: Call, tenant: TenantView, party: Party, extension: str) -> SeatRoute | Reason:
    callee = tenant.seats.get(extension)
    if callee is None:
        return Reason.UNKNOWN_NUMBER
    decision = admit(Attempt(call.node, extension), tenant)
    return decision.reason if isinstance(decision, Refused) else SeatRoute(party, callee)


def _out(call: Call, tenant: TenantView, party: Party, destination: Destination) -> GatewayRoute | Reason:
    if isinstance(destination, NotDiallable):
        return Reason.DESTINATION_INVALID
    if tenant.caller_number is None or tenant.caller_number not in tenant.numbers:
        return Reason.NUMBER_NOT_YOURS
    if not call.gateways:
        return Reason.NO_GATEWAY
    return GatewayRoute(party, call.gateways[0], destination.digits, tenant.caller_number)


def _emergency(call: Call, tenant: TenantView | None, number: EmergencyNumber) -> EmergencyRoute | RefusedRoute:
    party = _party(tenant, call.extension) if tenant is not None else None
    if not call.gateways:
        return RefusedRoute(party, Reason.NO_GATEWAY, Direction.EMERGENCY, number.digits)
    return EmergencyRoute(party, number, call.gateways, tenant.caller_number if tenant is not None else None)


def _from_gateway(call: Call, tenant: TenantView | None) -> InboundRoute | RefusedRoute:
    destination = numbers.normalise(call.dialled)
    shown = destination.digits if isinstance(destination, E164) else numbers.plain_digits(call.dialled) or ""

    def refused(reason: Reason, party: Party | None) -> RefusedRoute:
        return RefusedRoute(party, reason, Direction.INBOUND, shown, call.gateway)

    if tenant is None or not isinstance(destination, E164):
        return refused(Reason.UNKNOWN_NUMBER, None)
    extension = tenant.numbers.get(destination.digits)
    party = _party(tenant, extension)
    if extension is None:
        return refused(Reason.UNKNOWN_NUMBER, party)
    decision = admit(Attempt(call.node, extension), tenant)
    if isinstance(decision, Refused):
        return refused(decision.reason, party)
    return InboundRoute(party, tenant.seats[extension], destination.digits, call.caller, call.gateway)


def _party(tenant: TenantView, extension: str | None) -> Party:
    return Party(tenant.tenant_id, tenant.domain, tenant.seats.get(extension) if extension else None)
