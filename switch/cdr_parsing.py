"""Reads a call record of mod_json_cdr into the few facts we keep beside the whole; pure.

Source: `switch_ivr_generate_json_cdr` and `switch_channel_set_timestamps` (FreeSWITCH 1.10/1.11), checked against
records of a running 1.11. What is missing or cannot be is refused by name: such a record is set aside as it came.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args
from urllib.parse import unquote_plus

import msgspec

from infra.kit.clock import local_date
from infra.kit.ids import is_id
from switch.admission import Reason
from switch.call_quality import CallQuality, QualityVariables, read_quality
from switch.canary_call import CANARY, LEG_CANARY

VALUE_LIMIT_CHARACTERS = 255
NUMBER_LIMIT_CHARACTERS = 32
"""Of a number that nobody has, only to be recognised."""

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(minutes=5)
"""How far a node's clock may run before ours; what is charged has happened. `node doctor` calls seconds an error."""
MAX_CLOCK_AHEAD_SECONDS = 2_000_000_000
"""63 years: what a column takes. A record from still later is no record of a clock that ran ahead."""
MAX_DURATION = timedelta(days=7)
TOLERANCE_MILLISECONDS = 1_000
"""FreeSWITCH cuts its times off in different places."""

MAX_SESSION_NUMBER = 2_000_000_000
"""What a column takes; a node that began so many legs in one run was never seen."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MEDIA_KEY = re.compile(rb"(inline(?::|%3[Aa]))(?:[A-Za-z0-9+/=]|%2[BbFf]|%3[Dd]|\\/)+")
"""As SDP has it (RFC 4568, section 6.1) and FreeSWITCH writes it: in descriptions and in variables of its own, with
values encoded for a URL or not.
"""
_KEY_BEGINS = b"inline"

_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_TIME = timedelta(0)

Leg = Literal["caller", "seat", "gateway", "canary"]
Direction = Literal["outbound", "inbound", "internal", "emergency"]
LEGS: dict[str, Leg] = {leg: leg for leg in get_args(Leg) if leg != LEG_CANARY}
"""What a leg may say it is; the canary's is known by its account alone."""
REFUSALS = frozenset(reason.value for reason in Reason)
DIRECTIONS: dict[str, Direction] = {direction: direction for direction in get_args(Direction)}


def without_media_keys(body: bytes) -> bytes:
    """A record without the keys that its call's media was encrypted under; everything else as it came."""
    return _MEDIA_KEY.sub(rb"\1removed", body) if _KEY_BEGINS in body else body


class RecordUnreadable(ValueError):
    """A call record that cannot be stored; the message says what is missing or cannot be."""


class RecordAhead(RecordUnreadable):
    """A record of what has not happened yet, `ahead_seconds` later than the present: its node's clock runs ahead.

    It can be stored once somebody says by how much (switch/record_retry.py).
    """

    def __init__(self, name: str, ahead: timedelta) -> None:
        self.ahead_seconds = math.ceil(ahead.total_seconds())
        super().__init__(f"{name}: is later than the present; the record is {self.ahead_seconds} seconds ahead of it.")


class StrayRefusal(RecordUnreadable):
    """A record of a call that was refused before it was any tenant's: nothing to store, nothing that anybody lacks."""

    def __init__(self, document: _Document, *, leg_id: str, started_at: datetime, ended_at: datetime) -> None:
        super().__init__("seatline_tenant: is missing, since the call was refused before it was any tenant's.")
        variables = document.variables
        self.leg_id = leg_id
        self.session = _session(document.core_uuid, variables.session_id)
        self.reason = variables.seatline_refusal or ""
        # As the dialplan writes numbers, also where it was not asked: without the plus.
        dialled = (_dialled(document) or "").removeprefix("+")
        self.number = "".join(filter(str.isprintable, dialled))[:NUMBER_LIMIT_CHARACTERS]
        self.started_at = started_at
        self.ended_at = ended_at


class Session(msgspec.Struct, frozen=True):
    """Which leg of which run of a node: FreeSWITCH's core-uuid and its count of sessions; both None where not told."""

    boot_id: str | None = None
    number: int | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one leg. Times in UTC; `month` is the first day of the local month that the leg counts in."""

    tenant_id: str
    month: date
    leg_id: str
    leg: Leg
    direction: Direction
    other_leg_id: str | None
    seat_id: str | None
    caller: str
    destination: str
    gateway: str | None
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime
    billable_milliseconds: int
    hangup_cause: str
    refusal: str | None
    session: Session
    quality: CallQuality

    @property
    def bills(self) -> bool:
        """Whether this leg is charged: the one towards the carrier, when it was answered (contract C3)."""
        return self.leg == "gateway" and self.direction == "outbound" and self.billable_milliseconds > 0


class _Variables(QualityVariables):
    """The channel variables that are read; the hundred others stay in the body."""

    uuid: str | None = None
    direction: str | None = None
    seatline_tenant: str | None = None
    seatline_seat: str | None = None
    seatline_extension: str | None = None
    seatline_leg: str | None = None
    seatline_direction: str | None = None
    seatline_destination: str | None = None
    seatline_gateway: str | None = None
    seatline_refusal: str | None = None
    start_uepoch: str | None = None
    answer_uepoch: str | None = None
    end_uepoch: str | None = None
    billmsec: str | None = None
    hangup_cause: str | None = None
    originating_leg_uuid: str | None = None
    originator: str | None = None
    last_bridge_to: str | None = None
    sip_from_user: str | None = None
    session_id: object = None


class _CallerProfile(msgspec.Struct):
    caller_id_number: str | None = None
    destination_number: str | None = None


class _CallFlow(msgspec.Struct):
    caller_profile: _CallerProfile | None = None


class _Document(msgspec.Struct, rename={"core_uuid": "core-uuid"}):
    variables: _Variables
    callflow: list[_CallFlow] = []
    core_uuid: object = None


class _SessionVariables(msgspec.Struct):
    session_id: object = None


class _OwnerVariables(msgspec.Struct):
    seatline_tenant: object = None


class _OwnerDocument(msgspec.Struct):
    variables: _OwnerVariables


class _SessionDocument(msgspec.Struct, rename={"core_uuid": "core-uuid"}):
    variables: _SessionVariables
    core_uuid: object = None


_decoder = msgspec.json.Decoder(_Document)
_session_decoder = msgspec.json.Decoder(_SessionDocument)
_owner_decoder = msgspec.json.Decoder(_OwnerDocument)


def plain_body(body: bytes) -> bytes:
    """The JSON in a posted body, which comes as it is or as the form field `cdr`.

    The content type does not tell: `disable-100-continue` makes FreeSWITCH call plain JSON a form.
    """
    stripped = body.lstrip()
    if stripped.startswith(b"cdr="):
        return unquote_plus(stripped.partition(b"&")[0][4:].decode("latin-1"), errors="replace").encode()
    return stripped


def parse(body: bytes, *, now: datetime, uuid: str | None = None, clock_ahead: timedelta = _IN_TIME) -> Record:
    """The record in a body as it was posted.

    `now`: the present, against which absurd times are told. `uuid`: the leg that the request's address names, where
    it names one. `clock_ahead`: how far the node's clock ran ahead, so much earlier are all times taken. Raises
    `RecordUnreadable`, for one from the future `RecordAhead`.
    """
    document = _document(plain_body(body))
    variables = document.variables
    leg_id = _wanted("uuid", variables.uuid)
    if _UUID.fullmatch(leg_id) is None:
        raise RecordUnreadable("uuid: expected a UUID in small letters.")
    if uuid is not None and uuid != leg_id:
        raise RecordUnreadable("uuid: the request's address names another leg than the record.")
    started_at, answered_at, ended_at = _times(variables, now, clock_ahead)
    billable = _count("billmsec", variables.billmsec)
    spoken = (ended_at - answered_at) // timedelta(milliseconds=1) if answered_at is not None else 0
    if billable > (spoken + TOLERANCE_MILLISECONDS if answered_at is not None else 0):
        raise RecordUnreadable(f"billmsec: {billable} is longer than the leg was answered ({spoken}).")
    # A call from a carrier's address that reached for a running one was answered before it could be refused.
    is_refused = answered_at is None or variables.seatline_refusal == Reason.REPLACING_NOT_ALLOWED.value
    if not variables.seatline_tenant and is_refused and variables.seatline_refusal in REFUSALS:
        raise StrayRefusal(document, leg_id=leg_id, started_at=started_at, ended_at=ended_at)
    leg, direction = _role(variables, was_answered=answered_at is not None)
    profile = _profile(document)
    destination = _dialled(document)
    caller = (profile.caller_id_number if profile is not None else None) or variables.sip_from_user
    return Record(
        tenant_id=_tenant(variables),
        month=local_date(answered_at or started_at).replace(day=1),
        leg_id=leg_id,
        leg=leg,
        direction=direction,
        other_leg_id=_other_leg(variables),
        seat_id=_seat(variables),
        # What people say of themselves and what they dial, cut: nobody is to keep a record from being stored by it.
        caller=_text("caller_id_number", (caller or "")[:VALUE_LIMIT_CHARACTERS]) or "",
        destination=_text("seatline_destination", (destination or "")[:VALUE_LIMIT_CHARACTERS]) or "",
        gateway=_text("seatline_gateway", variables.seatline_gateway),
        started_at=started_at,
        answered_at=answered_at,
        ended_at=ended_at,
        billable_milliseconds=billable,
        hangup_cause=_text("hangup_cause", _wanted("hangup_cause", variables.hangup_cause)) or "",
        refusal=_text("seatline_refusal", variables.seatline_refusal),
        session=_session(document.core_uuid, variables.session_id),
        quality=read_quality(variables),
    )


def session_of(body: bytes) -> Session:
    """Which session a record tells of, also where it is otherwise none; nothing where not even that can be read."""
    try:
        document = _session_decoder.decode(plain_body(body).decode(errors="replace"))
    except (msgspec.MsgspecError, RecursionError):
        return Session()
    return _session(document.core_uuid, document.variables.session_id)


def tenant_of(body: bytes) -> str | None:
    """The tenant that a record says it is of, also where it is otherwise none; None where not even that can be read."""
    try:
        document = _owner_decoder.decode(plain_body(body).decode(errors="replace"))
    except (msgspec.MsgspecError, RecursionError):
        return None
    told = document.variables.seatline_tenant
    return told if isinstance(told, str) and is_id("ten", told) else None


def _session(boot_id: object, number: object) -> Session:
    """Both or neither; what cannot be is left out, as it bills nothing."""
    if not isinstance(boot_id, str) or _UUID.fullmatch(boot_id) is None:
        return Session()
    if not isinstance(number, str) or _COUNT.fullmatch(number) is None or not 1 <= int(number) <= MAX_SESSION_NUMBER:
        return Session()
    return Session(boot_id, int(number))


def _document(text: bytes) -> _Document:
    """The JSON, also where somebody's name or number is no UTF-8: FreeSWITCH passes on what a phone sends."""
    try:
        try:
            return _decoder.decode(text)
        except UnicodeDecodeError:
            return _decoder.decode(text.decode(errors="replace"))
    except msgspec.MsgspecError as error:
        raise RecordUnreadable(f"The body is not the JSON of a call record: {error}.") from error
    except RecursionError:
        raise RecordUnreadable("The body is not the JSON of a call record: it is nested too deeply.") from None


def _profile(document: _Document) -> _CallerProfile | None:
    return next((flow.caller_profile for flow in document.callflow if flow.caller_profile is not None), None)


def _dialled(document: _Document) -> str | None:
    profile = _profile(document)
    return document.variables.seatline_destination or (profile.destination_number if profile is not None else None)


def _wanted(name: str, value: str | None) -> str:
    if not value:
        raise RecordUnreadable(f"{name}: is missing.")
    return value


def _text(name: str, value: str | None) -> str | None:
    """A text that the database takes; None for an empty one."""
    if value is None or not value:
        return None
    if len(value) > VALUE_LIMIT_CHARACTERS:
        raise RecordUnreadable(f"{name}: has more than {VALUE_LIMIT_CHARACTERS} characters.")
    if "\x00" in value:
        raise RecordUnreadable(f"{name}: holds the character NUL, which is no text.")
    return value


def _count(name: str, value: str | None) -> int:
    text = _wanted(name, value)
    if _COUNT.fullmatch(text) is None:
        raise RecordUnreadable(f"{name}: expected a whole number, not below zero.")
    return int(text)


def _tenant(variables: _Variables) -> str:
    tenant_id = _wanted("seatline_tenant", variables.seatline_tenant)
    if not is_id("ten", tenant_id):
        raise RecordUnreadable("seatline_tenant: is not the id of a tenant.")
    return tenant_id


def _seat(variables: _Variables) -> str | None:
    seat_id = variables.seatline_seat or None
    if seat_id is not None and not is_id("seat", seat_id):
        raise RecordUnreadable("seatline_seat: is not the id of a seat.")
    return seat_id


def _times(variables: _Variables, now: datetime, clock_ahead: timedelta) -> tuple[datetime, datetime | None, datetime]:
    """Start, answer (None when there was none) and end, in this order and within reason."""
    answered = variables.answer_uepoch
    told = {"start_uepoch": variables.start_uepoch, "end_uepoch": variables.end_uepoch}
    if answered not in (None, "", "0"):
        told["answer_uepoch"] = answered
    moments = {name: _moment(name, value, clock_ahead) for name, value in told.items()}
    ahead = max(moments.values()) - now
    for name, moment in moments.items():
        if moment < EARLIEST or ahead.total_seconds() > MAX_CLOCK_AHEAD_SECONDS:
            raise RecordUnreadable(f"{name}: {told[name]} is not a time between {EARLIEST.year} and the present.")
        if moment > now + MAX_AHEAD:
            raise RecordAhead(name, ahead)
    started_at, answered_at, ended_at = moments["start_uepoch"], moments.get("answer_uepoch"), moments["end_uepoch"]
    if not started_at <= (answered_at or started_at) <= ended_at:
        raise RecordUnreadable("start_uepoch, answer_uepoch, end_uepoch: are not in this order.")
    if ended_at - started_at > MAX_DURATION:
        raise RecordUnreadable(f"end_uepoch: the leg lasted more than {MAX_DURATION.days} days.")
    return started_at, answered_at, ended_at


def _moment(name: str, value: str | None, clock_ahead: timedelta) -> datetime:
    microseconds = _count(name, value)
    try:
        return _EPOCH + timedelta(microseconds=microseconds) - clock_ahead
    except OverflowError:
        raise RecordUnreadable(f"{name}: {microseconds} is not a time between 2020 and the present.") from None


def _role(variables: _Variables, *, was_answered: bool) -> tuple[Leg, Direction]:
    """Which leg of what kind of call it is, as the dialplan wrote it on the channel.

    A phone's call that never got a dialplan (the API was away, or the account has no context) has neither and was
    never answered: it is the caller's leg of an attempt to call out. The canary's account tells its calls, with or
    without a dialplan; where one of them was sent anywhere else, its legs are anybody's.
    """
    is_own = variables.seatline_extension == CANARY and variables.direction == "inbound"
    if is_own and variables.seatline_leg in (None, "", LEG_CANARY):
        return "canary", "internal"
    if not variables.seatline_leg and not variables.seatline_direction:
        if was_answered or variables.direction != "inbound":
            raise RecordUnreadable("seatline_leg and seatline_direction: are missing.")
        return "caller", "outbound"
    leg = LEGS.get(variables.seatline_leg or "")
    direction = DIRECTIONS.get(variables.seatline_direction or "")
    if leg is None:
        raise RecordUnreadable(f"seatline_leg: expected one of {', '.join(LEGS)}.")
    if direction is None:
        raise RecordUnreadable(f"seatline_direction: expected one of {', '.join(DIRECTIONS)}.")
    return leg, direction


def _other_leg(variables: _Variables) -> str | None:
    """The leg this one was connected to. Not `call_uuid`, which is wrong on one B-leg in a hundred."""
    other = variables.originating_leg_uuid or variables.originator or variables.last_bridge_to
    return other if other and _UUID.fullmatch(other) else None
