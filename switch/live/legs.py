"""The legs of one node as its events tell of them; put right by comparison with the node. Memory only, bounded.

Nothing here waits or asks. Who reads events calls `apply`; who compares calls `compare`; who writes takes
`take_changes`. A leg is the tenant's that its own variables name (`seatline_tenant`), never one that another leg names:
FreeSWITCH gets such links wrong now and then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from switch.canary_call import Told, is_canary

MAX_LEGS = 20_000
"""Of one node; what is beyond is counted, and shown when there is room again."""

MAX_REMEMBERED_ENDS = 10_000
MAX_VALUE_CHARACTERS = 255
MAX_QUESTIONS_ABOUT_A_LEG = 5
"""A leg that has named no tenant by then (a scanner, say) is asked no more; its events may still name one."""

COMPARISON_GRACE_SECONDS = 5.0
"""A leg younger than this may be missing from the node's list, which lags behind the node."""

LEG_EVENTS = (
    "CHANNEL_CREATE",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_ANSWER",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_HOLD",
    "CHANNEL_UNHOLD",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
)
_BEGINNING = "CHANNEL_CREATE"
_ENDINGS = frozenset({"CHANNEL_HANGUP", "CHANNEL_HANGUP_COMPLETE"})
_ENDED_STATES = frozenset({"CS_HANGUP", "CS_REPORTING", "CS_DESTROY"})
_MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What is known of a leg; `tenant_id` None: it has not been said yet."""

    leg_id: str
    tenant_id: str | None
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

    @property
    def is_explained(self) -> bool:
        """Whether the dialplan has said whose leg it is and what for."""
        return self.tenant_id is not None and bool(self.direction)


@dataclass(slots=True)
class _Known:
    leg: Leg
    seen_at_seconds: float
    questions: int = 0


def read_leg(told: Told, *, now: datetime, before: Leg | None = None) -> Leg | None:
    """A leg as an event or a dump tells of it; None when that names no leg or one that has ended.

    What this does not say stays as it was `before`: not every event carries the channel's variables.
    """
    leg_id = told.get("Unique-ID")
    if not leg_id or len(leg_id) > MAX_VALUE_CHARACTERS or told.get("Channel-State") in _ENDED_STATES:
        return None

    def said(*names: str, known: str | None = None) -> str:
        return next((value for name in names if (value := plain(told.get(name)))), known or "")

    started_at = _moment(told.get("Caller-Channel-Created-Time"), now) or (before.started_at if before else now)
    answered_at = _moment(told.get("Caller-Channel-Answered-Time"), now) or (before.answered_at if before else None)
    if answered_at is None and told.get("Answer-State") == "answered":
        answered_at = now
    return Leg(
        leg_id=leg_id,
        tenant_id=said("variable_seatline_tenant", known=before and before.tenant_id) or None,
        leg=said("variable_seatline_leg", known=before and before.leg),
        direction=said("variable_seatline_direction", known=before and before.direction),
        state="ringing" if answered_at is None else "held" if told.get("Channel-Call-State") == "HELD" else "answered",
        other_leg_id=before.other_leg_id if before else None,
        seat_id=said("variable_seatline_seat", known=before and before.seat_id) or None,
        caller=said("Caller-Caller-ID-Number", known=before and before.caller),
        destination=said(
            "variable_seatline_destination", "Caller-Destination-Number", known=before and before.destination
        ),
        gateway=said("variable_seatline_gateway", known=before and before.gateway) or None,
        started_at=started_at,
        answered_at=answered_at,
    )


@dataclass(slots=True)
class LegChanges:
    """What is to be written: legs as they are now, and ids of legs that are gone (with the tenant they were of)."""

    current: list[Leg] = field(default_factory=list[Leg])
    gone: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(tenant_id, leg_id)"""

    @property
    def is_any(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.current or self.gone)


class LiveLegs:
    """The legs of one node."""

    def __init__(self) -> None:
        self.unknown_events = 0
        self.corrections = 0
        self.overflow = 0
        self._known: dict[str, _Known] = {}
        self._changed: set[str] = set()
        self._gone: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def unassigned(self) -> int:
        """Legs that have named no tenant."""
        return sum(known.leg.tenant_id is None for known in self._known.values())

    @property
    def shown(self) -> dict[str, str]:
        """Tenant by leg id of every leg that can be shown."""
        return {leg_id: known.leg.tenant_id for leg_id, known in self._known.items() if known.leg.tenant_id is not None}

    def apply(self, name: str, told: Told, *, now: datetime, at_seconds: float) -> None:
        """Take in one event; `at_seconds` is monotonic."""
        leg_id = told.get("Unique-ID")
        if name in _ENDINGS:
            self._end(leg_id)
            return
        if leg_id in self._ended:
            return  # an event that was overtaken by the leg's end
        if is_canary(told):
            self._let_go(leg_id)
            return
        known = self._known.get(leg_id)
        leg = read_leg(told, now=now, before=known.leg if known else None)
        if leg is None:
            return
        if known is None and name != _BEGINNING:
            self.unknown_events += 1
        self._keep(leg, at_seconds)
        if name == "CHANNEL_BRIDGE":
            first, second = told.get("Bridge-A-Unique-ID"), told.get("Bridge-B-Unique-ID")
            self._connect(first, second or None)
            self._connect(second, first or None)
        elif name == "CHANNEL_UNBRIDGE":
            self._connect(told.get("Bridge-A-Unique-ID") or leg_id, None)
            self._connect(told.get("Bridge-B-Unique-ID"), None)

    def learn(self, told: Told, *, now: datetime, at_seconds: float) -> None:
        """Take in what the node answered about one leg."""
        if is_canary(told):
            self._let_go(told.get("Unique-ID"))
            return
        known = self._known.get(told.get("Unique-ID"))
        leg = read_leg(told, now=now, before=known.leg if known else None)
        if leg is not None and leg.leg_id not in self._ended:
            self._keep(leg, at_seconds)

    def to_ask_about(self, limit: int) -> list[str]:
        """Legs whose tenant or purpose is unknown, at most `limit`; each is named a few times only."""
        chosen: list[str] = []
        for leg_id, known in self._known.items():
            if len(chosen) >= limit:
                break
            if not known.leg.is_explained and known.questions < MAX_QUESTIONS_ABOUT_A_LEG:
                known.questions += 1
                chosen.append(leg_id)
        return chosen

    def compare(self, listed: Collection[str], *, asked_at_seconds: float) -> list[str]:
        """Let go of legs that the node does not list; returns those it lists that are not known here.

        `asked_at_seconds`: when the list was asked for.
        """
        there = set(listed)
        lost = [
            leg_id
            for leg_id, known in self._known.items()
            if leg_id not in there and known.seen_at_seconds < asked_at_seconds - COMPARISON_GRACE_SECONDS
        ]
        for leg_id in lost:
            self._end(leg_id)
        missing = [leg_id for leg_id in there if leg_id not in self._known and leg_id not in self._ended]
        self.corrections += len(lost) + len(missing)
        return missing

    def write_again(self, leg_ids: Collection[str]) -> None:
        """These legs were lost where they had been written."""
        self._changed.update(leg_id for leg_id in leg_ids if leg_id in self._known)

    def forget_all(self) -> None:
        """The node is dead: whatever was there is no more."""
        for leg_id in list(self._known):
            self._end(leg_id)
        self._ended.clear()

    def take_changes(self, limit: int) -> LegChanges:
        """What has changed since the last time, at most `limit` legs; `put_back` it if it was not written."""
        taken = LegChanges()
        while self._gone and len(taken.gone) < limit:
            leg_id, tenant_id = self._gone.popitem()
            taken.gone.append((tenant_id, leg_id))
        while self._changed and len(taken.current) < limit:
            known = self._known.get(self._changed.pop())
            if known is not None and known.leg.tenant_id is not None:
                taken.current.append(known.leg)
        return taken

    def put_back(self, changes: LegChanges) -> None:
        """These changes could not be written."""
        self._gone |= {leg_id: tenant_id for tenant_id, leg_id in changes.gone}
        self.write_again([leg.leg_id for leg in changes.current])

    def _keep(self, leg: Leg, at_seconds: float) -> None:
        known = self._known.get(leg.leg_id)
        if known is None:
            if len(self._known) >= MAX_LEGS:
                self.overflow += 1
                return
            self._known[leg.leg_id] = _Known(leg, at_seconds)
        elif known.leg == leg:
            return
        else:
            if known.leg.tenant_id not in (None, leg.tenant_id):
                self._gone[leg.leg_id] = str(known.leg.tenant_id)
            known.leg = leg
        self._changed.add(leg.leg_id)

    def _connect(self, leg_id: str, other: str | None) -> None:
        known = self._known.get(leg_id)
        if known is not None and known.leg.other_leg_id != other:
            known.leg = replace(known.leg, other_leg_id=other)
            self._changed.add(leg_id)

    def _end(self, leg_id: str) -> None:
        if leg_id not in self._known and leg_id not in self._ended:
            self.unknown_events += 1
        self._let_go(leg_id)

    def _let_go(self, leg_id: str) -> None:
        """Of a leg that has ended, or is nobody's because the system itself calls, nothing is shown from here on."""
        known = self._known.pop(leg_id, None)
        self._changed.discard(leg_id)
        if known is not None and known.leg.tenant_id is not None:
            self._gone[leg_id] = known.leg.tenant_id
        self._ended[leg_id] = None
        while len(self._ended) > MAX_REMEMBERED_ENDS:
            self._ended.popitem(last=False)


def plain(value: str) -> str:
    """A value that can be stored and shown: no control characters, and of bounded length."""
    return value[:MAX_VALUE_CHARACTERS] if value.isprintable() else ""


def _moment(text: str, now: datetime) -> datetime | None:
    """Microseconds since 1970 as a moment; None for 0, for what is none, and for what lies far in the future."""
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(_MICROSECONDS)) + 10 or not int(text):
        return None
    moment = _EPOCH + timedelta(microseconds=int(text))
    return moment if moment <= now + timedelta(days=1) else None
