"""Who may register and call: one place that says yes, or no with a reason.

The switch asks at every registration and every call, so a decision holds from the commit that changed the
tenant. Emergency numbers never come here: `switch.routing` lets them pass before it asks (contract rule 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from switch import numbers
from switch.call_policy import CallPolicy, matches
from switch.numbers import E164, ShortCode


class Standing(StrEnum):
    """How a tenant stands, seen from the switch."""

    UNOPENED = "unopened"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Encryption(StrEnum):
    """What a tenant wants of the media between its phones and the node (SRTP with keys in the SDP, RFC 4568)."""

    ACCEPTED = "accepted"
    """Encrypted where the phone offers it; towards phones plain."""
    OFFERED = "offered"
    """Towards phones too, which may answer plainly."""
    DEMANDED = "demanded"
    """Nothing else. Emergency calls pass all the same."""


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
    UNKNOWN_GATEWAY = "unknown_gateway"
    GATEWAYS_FULL = "gateways_full"
    DESTINATION_BARRED = "destination_barred"
    DESTINATION_PREMIUM = "destination_premium"
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    SHORT_CODES_NOT_ALLOWED = "short_codes_not_allowed"
    RELAYING_NOT_ALLOWED = "relaying_not_allowed"
    REPLACING_NOT_ALLOWED = "replacing_not_allowed"
    """A phone reached for a running call by SIP alone (`Replaces`, RFC 3891), past every dialplan."""
    DAILY_CAP_REACHED = "daily_cap_reached"
    MEDIA_NOT_ENCRYPTED = "media_not_encrypted"
    TOO_MANY_CALLS = "too_many_calls"
    TOO_MANY_CALLS_OF_SEAT = "too_many_calls_of_seat"
    TOO_MANY_CALLS_A_SECOND = "too_many_calls_a_second"
    SWITCH_AWAY = "switch_away"
    """The node could not ask what to do with the call; said by its own files."""


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
_BARRED = SipAnswer(403, "Forbidden", "OUTGOING_CALL_BARRED")
_BUSY = SipAnswer(486, "Busy Here", "USER_BUSY")
_NO_CIRCUIT = SipAnswer(503, "Service Unavailable", "NORMAL_CIRCUIT_CONGESTION")
_NOT_ACCEPTABLE = SipAnswer(488, "Not Acceptable Here", "INCOMPATIBLE_DESTINATION")
_CONGESTED = SipAnswer(503, "Service Unavailable", "SWITCH_CONGESTION")

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
    Reason.UNKNOWN_GATEWAY: _FORBIDDEN,
    Reason.GATEWAYS_FULL: _NO_CIRCUIT,
    Reason.DESTINATION_BARRED: _BARRED,
    Reason.DESTINATION_PREMIUM: _BARRED,
    Reason.COUNTRY_NOT_ALLOWED: _BARRED,
    Reason.SHORT_CODES_NOT_ALLOWED: _BARRED,
    Reason.RELAYING_NOT_ALLOWED: _BARRED,
    Reason.REPLACING_NOT_ALLOWED: _FORBIDDEN,
    Reason.DAILY_CAP_REACHED: _BARRED,
    Reason.MEDIA_NOT_ENCRYPTED: _NOT_ACCEPTABLE,
    # Not 503: a carrier would take the whole trunk for congested because one tenant's lines are all in use.
    Reason.TOO_MANY_CALLS: _BUSY,
    Reason.TOO_MANY_CALLS_OF_SEAT: _BUSY,
    Reason.TOO_MANY_CALLS_A_SECOND: _CONGESTED,
    Reason.SWITCH_AWAY: _UNAVAILABLE,
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
    canary). `calls_elsewhere`: its calls that run at other nodes, left there when its tenant moved.
    """

    extension: str
    seat_id: str | None
    is_open: bool
    calls_elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class TenantView:
    """What a decision needs to know of a tenant, loaded in one read.

    `seats` by extension: at least the calling one, the one under the dialled extension, and the one whose call is sent
    on, where they exist.
    `numbers` by E.164 digits without plus: at least the dialled one on a call in; the value is the extension
    it rings at, or None for a number that is only shown. `caller_number`: E.164 digits shown on calls out.
    `calls_elsewhere`: the calls that run at other nodes, left there when the tenant moved.
    """

    tenant_id: str
    domain: str
    standing: Standing
    serving_node: str
    seats: Mapping[str, SeatView] = field(default_factory=dict[str, SeatView])
    numbers: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    caller_number: str | None = None
    policy: CallPolicy = field(default_factory=CallPolicy)
    encryption: Encryption = Encryption.ACCEPTED
    calls_elsewhere: int = 0


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


TENANT_CHECKS: tuple[Check, ...] = (standing_reason, node_reason)
CHECKS: tuple[Check, ...] = (*TENANT_CHECKS, seat_reason)
"""In this order, the first reason counts."""


def admit(attempt: Attempt, tenant: TenantView | None) -> Admitted | Refused:
    """Whether a seat may register, call or be called now (clause C18: every refusal has its reason).

    `tenant` is None when the SIP domain belongs to nobody.
    """
    return _judged(CHECKS, attempt, tenant) if tenant is not None else Refused(Reason.UNKNOWN_SEAT)


def admit_tenant(node: str, tenant: TenantView) -> Admitted | Refused:
    """Whether a tenant is served at this node, whichever seat it is about."""
    return _judged(TENANT_CHECKS, Attempt(node, ""), tenant)


def _judged(checks: tuple[Check, ...], attempt: Attempt, tenant: TenantView) -> Admitted | Refused:
    for check in checks:
        reason = check(attempt, tenant)
        if reason is not None:
            return Refused(reason)
    return Admitted()


def admit_destination(destination: E164 | ShortCode, policy: CallPolicy, *, on: date) -> Reason | None:
    """Whether a tenant's call may leave to a public number or short code on a local day; None when it may (C18).

    Emergency numbers never come here. What is barred stays barred in every spelling: a short code also behind an area
    code. The spend cap comes last, so that a call that may never be made says so also on such a day.
    """
    is_short = isinstance(destination, ShortCode)
    reason = (_service_code_reason if is_short else _number_reason)(destination.digits, policy)
    if reason is None and policy.cap_reached_on == on:
        return Reason.DAILY_CAP_REACHED
    return reason


def _number_reason(digits: str, policy: CallPolicy) -> Reason | None:
    nature = numbers.nature(digits)
    if nature.region is None or nature.region not in policy.countries:
        return Reason.COUNTRY_NOT_ALLOWED
    if matches(f"+{digits}", policy.barred_prefixes):
        return Reason.DESTINATION_BARRED
    if not policy.premium_allowed and (nature.is_premium or matches(f"+{digits}", policy.premium_prefixes)):
        return Reason.DESTINATION_PREMIUM
    return _service_code_reason(nature.service_code, policy) if nature.service_code is not None else None


def _service_code_reason(code: str, policy: CallPolicy) -> Reason | None:
    if matches(code, policy.barred_prefixes):
        return Reason.DESTINATION_BARRED
    if not policy.premium_allowed and matches(code, policy.premium_prefixes):
        return Reason.DESTINATION_PREMIUM
    return None if policy.short_codes_allowed else Reason.SHORT_CODES_NOT_ALLOWED


def admit_relay(destination: E164 | ShortCode, policy: CallPolicy, *, on: date) -> Reason | None:
    """Whether a call that came in from outside may leave to outside: only to a number that the tenant forwards to
    (C18, no relaying), and then under the same rules as any other call.
    """
    if not isinstance(destination, E164) or destination.digits not in policy.forwarding:
        return Reason.RELAYING_NOT_ALLOWED
    return admit_destination(destination, policy, on=on)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of something a call may use: counted by the node under `resource`, over a time (None: at once)."""

    reason: Reason
    resource: str
    most: int
    interval_seconds: int | None = None


def limits(tenant: TenantView, extensions: Iterable[str]) -> tuple[Limit, ...]:
    """What is counted for a call of a tenant in which these seats take part, in the order in which it is checked.

    A node counts its own calls; those that still run where the tenant was served before leave the fewer to it.
    """
    policy = tenant.policy
    found = [Limit(Reason.TOO_MANY_CALLS_A_SECOND, "attempts", policy.calls_per_second, 1)]
    if policy.calls_per_tenant is not None:
        most = max(policy.calls_per_tenant - tenant.calls_elsewhere, 0)
        found.append(Limit(Reason.TOO_MANY_CALLS, "calls", most))
    for extension in extensions:
        seat = tenant.seats.get(extension)
        most = max(policy.calls_per_seat - (seat.calls_elsewhere if seat is not None else 0), 0)
        found.append(Limit(Reason.TOO_MANY_CALLS_OF_SEAT, f"seat-{extension}", most))
    return tuple(found)


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
