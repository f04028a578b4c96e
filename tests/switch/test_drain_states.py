"""The drain of a node as a pure table: every step there is, and none besides."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from switch.draining.states import (
    EMERGENCY_GRACE,
    MOVE_LIMIT,
    NODE_STATES,
    PAUSED_PHASES,
    STEPS,
    SWEEP_PATIENCE,
    Event,
    Facts,
    Phase,
    StepRefused,
    after,
    event_of,
    may_end,
    tenants_return_at_once,
    waits_for,
)

NOTHING = timedelta(0)


def facts(**changes: object) -> Facts:
    """A look that found nothing yet: one call runs, one tenant is still there."""
    values: dict[str, object] = {
        "since_request": NOTHING,
        "in_phase": NOTHING,
        "is_past_deadline": False,
        "tenants_left": 1,
        "legs_left": 1,
        "records_awaited": 1,
    }
    return Facts(**values | changes)  # pyright: ignore[reportArgumentType]


def test_a_drain_that_nobody_disturbs_passes_through_every_phase() -> None:
    phase, passed = Phase.MOVING, [Phase.MOVING]
    for event in (Event.MOVED, Event.PAUSED, Event.DEADLINE, Event.QUIET, Event.SWEPT, Event.CANCEL, Event.RESUMED):
        phase = after(phase, event)
        passed.append(phase)
    assert passed == list(Phase)


def test_it_can_be_cancelled_at_any_moment_until_it_was() -> None:
    for phase in Phase:
        if phase in (Phase.CANCELLING, Phase.CANCELLED):
            with pytest.raises(StepRefused):
                after(phase, Event.CANCEL)
        else:
            assert after(phase, Event.CANCEL) is Phase.CANCELLING


def test_every_other_step_is_refused() -> None:
    for phase, event in itertools.product(Phase, Event):
        if (phase, event) not in STEPS:
            with pytest.raises(StepRefused):
                after(phase, event)


@pytest.mark.parametrize(
    ("phase", "waits", "goes", "event"),
    [
        (Phase.MOVING, {}, {"tenants_left": 0}, Event.MOVED),
        (Phase.MOVING, {"since_request": MOVE_LIMIT / 2}, {"since_request": MOVE_LIMIT}, Event.MOVED),
        (Phase.MOVING, {"has_refuge": True}, {"has_refuge": False}, Event.MOVED),
        (Phase.PAUSING, {}, {"is_paused": True}, Event.PAUSED),
        (Phase.WAITING, {}, {"legs_left": 0}, Event.QUIET),
        (Phase.WAITING, {"legs_left": None}, {"is_past_deadline": True}, Event.DEADLINE),
        (Phase.WAITING, {}, {"legs_left": 0, "is_past_deadline": True}, Event.QUIET),
        (Phase.ENDING, {"is_past_deadline": True}, {"legs_left": 0}, Event.QUIET),
        (Phase.SWEEPING, {}, {"records_awaited": 0}, Event.SWEPT),
        (Phase.SWEEPING, {"in_phase": timedelta(days=3)}, {"is_waived": True}, Event.SWEPT),
        (Phase.CANCELLING, {}, {"is_resumed": True}, Event.RESUMED),
    ],
)
def test_each_phase_waits_for_its_own_sign(
    phase: Phase, waits: dict[str, object], goes: dict[str, object], event: Event
) -> None:
    assert event_of(phase, facts(**waits)) is None
    assert event_of(phase, facts(**goes)) is event
    assert (phase, event) in STEPS


def test_a_sweep_that_takes_long_says_what_it_waits_for() -> None:
    assert waits_for(Phase.SWEEPING, facts(in_phase=SWEEP_PATIENCE / 2)) is None
    assert "records of 1 legs" in (waits_for(Phase.SWEEPING, facts(in_phase=SWEEP_PATIENCE)) or "")
    assert waits_for(Phase.SWEEPING, facts(in_phase=SWEEP_PATIENCE, is_waived=True)) is None
    assert waits_for(Phase.WAITING, facts(in_phase=SWEEP_PATIENCE)) is None


@pytest.mark.parametrize("phase", [Phase.DRAINED, Phase.CANCELLED])
def test_nothing_happens_by_itself_at_the_end(phase: Phase) -> None:
    found = facts(tenants_left=0, legs_left=0, records_awaited=0, is_paused=True, is_resumed=True)
    assert event_of(phase, found) is None


def test_the_node_is_paused_exactly_while_it_is_held_back() -> None:
    assert {phase for phase in Phase if phase not in PAUSED_PHASES} == {Phase.MOVING, Phase.CANCELLING, Phase.CANCELLED}
    assert {NODE_STATES[phase] for phase in PAUSED_PHASES} == {"draining", "drained"}
    assert NODE_STATES[Phase.CANCELLED] == "active"


def test_an_emergency_call_outlives_the_deadline_by_half_an_hour() -> None:
    second = timedelta(seconds=1)
    assert not may_end(is_emergency=False, past_deadline=-second)
    assert may_end(is_emergency=False, past_deadline=NOTHING)
    assert not may_end(is_emergency=True, past_deadline=EMERGENCY_GRACE - second)
    assert may_end(is_emergency=True, past_deadline=EMERGENCY_GRACE)


def test_tenants_come_back_at_once_only_from_a_drain_that_was_under_way() -> None:
    assert tenants_return_at_once(Phase.WAITING)
    assert not tenants_return_at_once(Phase.DRAINED)
