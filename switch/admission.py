"""Who may register and call: one place that says yes, or no with a reason.

The switch asks at every registration and every call, so a decision holds from the commit that changed the
tenant. Emergency numbers never come here: `switch.routing` lets them pass before it asks (contract rule 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Standing(StrEnum):
    """How a tenant stands, seen from the switch."""

    UNOPENED = "unopened"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Reason(StrEnum):
    """Why something was refused: stable codes, written to the call record (`seatline_refusal`) and shown to
    people.
    """

    TENANT_UNOPENED = "tenant_unopened"
    TENANT_SUSPENDED = "tenant_suspended"
    TENANT_CLOSED = "tenant_closed"
    UNKNOWN_SEAT = "unknown_seat"
    SEAT_CLOSED = "seat_closed"
    WRONG_NODE = "wrong_node"
    ADDRESS_NOT_YOURS = "address_not_yours"
    METHOD_NOT_SERVED = "method_not_served"
    UNKNOWN_NUMBER = "unknown_number"
    NUMBER_NOT_YOURS = "number_not_yours"
    DESTINATION_INVALID = "destination_invalid"
    NO_GATEWAY = "no_gateway"


@dataclass(frozen=True, slots=True)
class SipAnswer:
    """What the phone or carrier is told: status and phrase on the wire, and the cause in the call record."""

    status: int
    phrase: str
    cause: str
    """FreeSWITCH's hang-up cause for the status (mod_sofia `sofia_glue_sip_cause_to_freeswitch`)."""


_FORBIDDEN = SipAnswer(403, "Forbidden", "CALL_REJECTED")
_NOT_FOUND = SipAnswer(404, "Not Found", "UNALLOCATED_NUMBER")
_INCOMPLETE = SipAnswer(484, "Address Incomplete", "INVALID_NUMBER_FORMAT")
_UNAVAILABLE = SipAnswer(503, "Service Unavailable", "NORMAL_TEMPORARY_FAILURE")

SIP_ANSWERS: Mapping[Reason, SipAnswer] = {
    Reason.TENANT_UNOPENED: _FORBIDDEN,
    Reason.TENANT_SUSPENDED: _FORBIDDEN,
    Reason.TENANT_CLOSED: _FORBIDDEN,
    Reason.UNKNOWN_SEAT: _FORBIDDEN,
    Reason.SEAT_CLOSED: _FORBIDDEN,
    Reason.WRONG_NODE: _UNAVAILABLE,
    Reason.ADDRESS_NOT_YOURS: _FORBIDDEN,
    Reason.METHOD_NOT_SERVED: _FORBIDDEN,
    Reason.UNKNOWN_NUMBER: _NOT_FOUND,
    Reason.NUMBER_NOT_YOURS: _FORBIDDEN,
    Reason.DESTINATION_INVALID: _INCOMPLETE,
    Reason.NO_GATEWAY: _UNAVAILABLE,
}
"""Every reason has its answer; a test keeps the table complete."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No, and why."""

    reason: Reason

    @property
    def answer(self) -> SipAnswer:
        """What to answer by SIP."""
        return SIP_ANSWERS[self.reason]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Yes."""


@dataclass(frozen=True, slots=True)
class SeatView:
    """One SIP account as a decision needs it. `seat_id` is None for an account that belongs to no seat (the
    canary).
    """

    extension: str
    seat_id: str | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class TenantView:
    """What a decision needs to know of a tenant, loaded in one read.

    `seats` by extension: at least the calling one and the one under the dialled extension, where they exist.
    `numbers` by E.164 digits without plus: at least the dialled one on a call in; the value is the extension
    it rings at, or None for a number that is only shown. `caller_number`: E.164 digits shown on calls out.
    """

    tenant_id: str
    domain: str
    standing: Standing
    serving_node: str
    seats: Mapping[str, SeatView] = field(default_factory=dict[str, SeatView])
    numbers: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    caller_number: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody wants something of a tenant's service.

    `node`: the name of the node that asks. `extension`: the seat that registers, calls or is called.
    """

    node: str
    extension: str


Check = Callable[[Attempt, TenantView], Reason | None]

_STANDING_REASONS: Mapping[Standing, Reason] = {
    Standing.UNOPENED: Reason.TENANT_UNOPENED,
    Standing.SUSPENDED: Reason.TENANT_SUSPENDED,
    Standing.CLOSED: Reason.TENANT_CLOSED,
}


def standing_reason(_attempt: Attempt, tenant: TenantView) -> Reason | None:
    """Only an active tenant is served (rule 7; rule 2: unpaid at opening is unopened, not suspended)."""
    return _STANDING_REASONS.get(tenant.standing)


def node_reason(attempt: Attempt, tenant: TenantView) -> Reason | None:
    """A tenant is served by one node at a time: its registrations, and later its caps and queues, live there."""
    return None if attempt.node == tenant.serving_node else Reason.WRONG_NODE


def seat_reason(attempt: Attempt, tenant: TenantView) -> Reason | None:
    """The seat must exist and be open (clauses C6, C9, C10)."""
    seat = tenant.seats.get(attempt.extension)
    if seat is None:
        return Reason.UNKNOWN_SEAT
    return None if seat.is_open else Reason.SEAT_CLOSED


CHECKS: tuple[Check, ...] = (standing_reason, node_reason, seat_reason)
"""In this order, the first reason counts. Limits on calls, barred destinations and spend caps join here."""


def admit(attempt: Attempt, tenant: TenantView | None) -> Admitted | Refused:
    """Whether a seat may register, call or be called now (clause C18: every refusal has its reason).

    `tenant` is None when the SIP domain belongs to nobody.
    """
    if tenant is None:
        return Refused(Reason.UNKNOWN_SEAT)
    for check in CHECKS:
        reason = check(attempt, tenant)
        if reason is not None:
            return Refused(reason)
    return Admitted()


class Purpose(StrEnum):
    """Why a node looks a user up in the directory."""

    REGISTER = "register"
    INVITE = "invite"
    RING = "ring"
    """A call admitted a moment ago wants the phone's dial string (`user/`)."""
    INSPECT = "inspect"
    """An operator's or the canary's `user_exists` / `user_data` at the node."""
    OTHER = "other"
    """Subscriptions, messages, message counts, gateway lists: nothing that we serve."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One directory lookup.

    `user` and `domain` are those of the credentials; `to_user` and `to_host` the address a REGISTER binds.
    """

    purpose: Purpose
    node: str
    user: str
    domain: str
    to_user: str | None = None
    to_host: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The account is found, with its own dialplan context."""

    seat: SeatView


@dataclass(frozen=True, slots=True)
class EmergencyOnly:
    """The account is found for this one call attempt, in the context that reaches emergency numbers only."""

    seat: SeatView
    reason: Reason


def answer_lookup(lookup: Lookup, tenant: TenantView | None) -> Listed | EmergencyOnly | Refused:
    """What the directory answers.

    A phone that may not be served is not found when it registers. When it calls it is found in the
    emergency-only context (rule 7): the number it dialled is not yet known for certain here, so the dialplan
    decides; the password is still checked.
    """
    if lookup.purpose is Purpose.OTHER:
        return Refused(Reason.METHOD_NOT_SERVED)
    if lookup.purpose is Purpose.REGISTER and not _binds_own_address(lookup):
        return Refused(Reason.ADDRESS_NOT_YOURS)
    decision = admit(Attempt(lookup.node, lookup.user), tenant)
    seat = tenant.seats.get(lookup.user) if tenant is not None else None
    if seat is None:
        return Refused(Reason.UNKNOWN_SEAT)
    if isinstance(decision, Admitted):
        return Listed(seat)
    if lookup.purpose is Purpose.INVITE:
        return EmergencyOnly(seat, decision.reason)
    return decision


def _binds_own_address(lookup: Lookup) -> bool:
    """FreeSWITCH checks the password against the realm the phone names but stores the address of the To
    header.

    Without this check a seat could register with its own password for an address in another tenant's domain
    and receive that tenant's calls (sofia_reg.c: `domain_name = realm`, `reg_host = to_host`).
    """
    return lookup.to_user == lookup.user and (lookup.to_host or "").lower() == lookup.domain.lower()
