"""The drain of a node as one pure table: phases, what moves it on, and what the node's row says meanwhile.

No database, no clock, no node: whoever carries a drain out (`carry_out.py`) gathers the facts, asks `event_of` what has
happened and `after` what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType


class Phase(StrEnum):
    """Where a drain stands."""

    MOVING = "moving"
    """Its tenants move to their spares, so that phones find another node before this one turns them away."""
    PAUSING = "pausing"
    """The node is told to take and make no new calls; OPTIONS, INVITE and REGISTER are answered with 503."""
    WAITING = "waiting"
    """Running calls end by themselves, until the deadline."""
    ENDING = "ending"
    """The deadline is over: what still runs is ended."""
    SWEEPING = "sweeping"
    """No call is left; the records of the last ones are waited for, as long as it takes."""
    DRAINED = "drained"
    """The node may be stopped. It stays paused, also when it is started again, until the drain is cancelled."""
    CANCELLING = "cancelling"
    """The node is told to take calls again."""
    CANCELLED = "cancelled"
    """It is in service again; the row tells of the last drain."""


class Event(StrEnum):
    """What moves a drain on."""

    MOVED = "moved"
    PAUSED = "paused"
    DEADLINE = "deadline"
    QUIET = "quiet"
    SWEPT = "swept"
    CANCEL = "cancel"
    RESUMED = "resumed"


_CANCELLABLE = (Phase.MOVING, Phase.PAUSING, Phase.WAITING, Phase.ENDING, Phase.SWEEPING, Phase.DRAINED)

STEPS: Mapping[tuple[Phase, Event], Phase] = MappingProxyType(
    {
        (Phase.MOVING, Event.MOVED): Phase.PAUSING,
        (Phase.PAUSING, Event.PAUSED): Phase.WAITING,
        (Phase.WAITING, Event.QUIET): Phase.SWEEPING,
        (Phase.WAITING, Event.DEADLINE): Phase.ENDING,
        (Phase.ENDING, Event.QUIET): Phase.SWEEPING,
        (Phase.SWEEPING, Event.SWEPT): Phase.DRAINED,
        (Phase.CANCELLING, Event.RESUMED): Phase.CANCELLED,
    }
    | {(phase, Event.CANCEL): Phase.CANCELLING for phase in _CANCELLABLE}
)
"""Every step there is; any other combination is refused."""

NODE_STATES: Mapping[Phase, str] = MappingProxyType(
    dict.fromkeys(Phase, "draining") | {Phase.DRAINED: "drained", Phase.CANCELLED: "active"}
)
"""What the node's own row says in each phase, while the node answers."""

PAUSED_PHASES = frozenset({Phase.PAUSING, Phase.WAITING, Phase.ENDING, Phase.SWEEPING, Phase.DRAINED})
"""Phases in which the node has to be paused; one that was started again is paused again."""

UNPAUSED_PHASES = frozenset({Phase.MOVING, Phase.CANCELLED})
"""Phases in which the drain wants no pause, as where there is no drain."""

MOVABLE_DEADLINE_PHASES = frozenset({Phase.MOVING, Phase.PAUSING, Phase.WAITING})
"""Phases in which another deadline still makes a difference."""

MOVE_LIMIT = timedelta(seconds=30)
"""Tenants that have not moved by then (there is nowhere to go) do not hold the drain up; how many is shown."""

SWEEP_PATIENCE = timedelta(minutes=2)
"""Records that have not come by then lie on the node's disk, or were never written: from then on the drain says what it
waits for. It goes on when they come, or when a person says so.
"""

EMERGENCY_GRACE = timedelta(minutes=30)
"""An emergency call is not cut at the deadline but only this much later."""


class StepRefused(ValueError):
    """A drain cannot make this step from where it stands."""

    def __init__(self, phase: Phase, event: Event) -> None:
        super().__init__(f"a drain that is {phase.value} knows no {event.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out since the last look. None: it was not looked at in this phase.

    `tenants_left`: tenants that the node still serves. `has_refuge`: another node is active. `legs_left`: legs listed.
    `records_awaited`: legs seen during the drain whose call records have not come. `is_waived`: a person has said to go
    on without them.
    """

    since_request: timedelta
    in_phase: timedelta
    is_past_deadline: bool
    tenants_left: int = 0
    has_refuge: bool = True
    is_paused: bool = False
    is_resumed: bool = False
    legs_left: int | None = None
    records_awaited: int | None = None
    is_waived: bool = False


def is_open(phase: Phase) -> bool:
    """Whether a drain in this phase is under way or holds."""
    return phase is not Phase.CANCELLED


def after(phase: Phase, event: Event) -> Phase:
    """The phase that follows; raises `StepRefused`."""
    try:
        return STEPS[phase, event]
    except KeyError:
        raise StepRefused(phase, event) from None


def event_of(phase: Phase, facts: Facts) -> Event | None:
    """What has happened in this phase; None while it has to wait."""
    return next((event for event, shows in SIGNS.get(phase, ()) if shows(facts)), None)


def _has_moved(facts: Facts) -> bool:
    return not facts.tenants_left or not facts.has_refuge or facts.since_request >= MOVE_LIMIT


def _is_quiet(facts: Facts) -> bool:
    return facts.legs_left == 0


def _is_swept(facts: Facts) -> bool:
    return facts.records_awaited == 0 or facts.is_waived


def waits_for(phase: Phase, facts: Facts) -> str | None:
    """What a drain that takes longer than it should waits for, in words; None where nothing is the matter."""
    if phase is not Phase.SWEEPING or _is_swept(facts) or facts.in_phase < SWEEP_PATIENCE:
        return None
    return (
        f"the records of {facts.records_awaited} legs have not come: see that the node's shipper runs, or go on "
        "without them (POST /v1/nodes/{node_id}/end-sweep, with the reason)"
    )


SIGNS: Mapping[Phase, tuple[tuple[Event, Callable[[Facts], bool]], ...]] = MappingProxyType(
    {
        Phase.MOVING: ((Event.MOVED, _has_moved),),
        Phase.PAUSING: ((Event.PAUSED, lambda facts: facts.is_paused),),
        Phase.WAITING: ((Event.QUIET, _is_quiet), (Event.DEADLINE, lambda facts: facts.is_past_deadline)),
        Phase.ENDING: ((Event.QUIET, _is_quiet),),
        Phase.SWEEPING: ((Event.SWEPT, _is_swept),),
        Phase.CANCELLING: ((Event.RESUMED, lambda facts: facts.is_resumed),),
    }
)
"""By what each event shows, in the order of looking."""


def may_end(*, is_emergency: bool, past_deadline: timedelta) -> bool:
    """Whether a leg may be ended now (`past_deadline`: how long the deadline is over; negative before it)."""
    return past_deadline >= (EMERGENCY_GRACE if is_emergency else timedelta(0))


def tenants_return_at_once(cancelled_in: Phase) -> bool:
    """Whether a cancelled drain brings the node's tenants back at once.

    Most phones have not moved while a drain is under way. Once it is complete they have: then tenants come home as
    after any absence, when the node has been up long enough and in a quiet moment.
    """
    return cancelled_in is not Phase.DRAINED
