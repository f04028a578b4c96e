"""When what is seen is a fault, how a window goes through its nodes, and which hours are quiet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.rules import observed_faults, quiet_hours, turns
from provisioning.rules.observed_faults import CLEAR_AFTER, CONFIRM_AFTER, Kind, LostPhone, Phone, Phones, Step
from provisioning.rules.quiet_hours import Traffic
from provisioning.rules.turns import Move, Place, Turn, Window

NOW = datetime(2026, 6, 8, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = Window(NOW, NOW + timedelta(hours=2))


def step(*, is_open: bool, is_seen: bool, lasted: timedelta, away: timedelta | None = None) -> Step:
    return observed_faults.step(
        Kind.NODE_DOWN,
        is_open=is_open,
        is_seen=is_seen,
        began_at=NOW - lasted,
        cleared_at=None if away is None else NOW - away,
        now=NOW,
    )


def test_what_lasts_is_a_fault_and_what_blinks_is_none() -> None:
    enough = CONFIRM_AFTER[Kind.NODE_DOWN]
    assert step(is_open=False, is_seen=True, lasted=enough) is Step.OPEN
    assert step(is_open=False, is_seen=True, lasted=enough / 2) is Step.NOTHING
    assert step(is_open=False, is_seen=False, lasted=enough) is Step.CLEARED
    assert step(is_open=False, is_seen=False, lasted=enough, away=2 * MINUTE) is Step.FORGET
    assert step(is_open=True, is_seen=False, lasted=enough, away=CLEAR_AFTER / 2) is Step.NOTHING
    assert step(is_open=True, is_seen=True, lasted=enough, away=CLEAR_AFTER / 2) is Step.BACK
    assert step(is_open=True, is_seen=False, lasted=enough, away=CLEAR_AFTER) is Step.END


@given(st.lists(st.booleans(), min_size=1, max_size=120))
def test_however_it_flaps_faults_are_apart_and_each_is_seen_at_its_ends(looks: list[bool]) -> None:
    """A look a minute: between the end of a fault and the next are at least `CLEAR_AFTER`."""
    is_open, began, cleared = False, None, None
    faults: list[tuple[int, int]] = []
    for minute, is_seen in enumerate(looks):
        now = NOW + minute * MINUTE
        if began is None:
            began = now if is_seen else None
            continue
        found = observed_faults.step(
            Kind.NODE_DOWN, is_open=is_open, is_seen=is_seen, began_at=began, cleared_at=cleared, now=now
        )
        if is_seen:
            cleared = None
        if found is Step.OPEN:
            is_open = True
        elif found is Step.CLEARED:
            cleared = now
        elif found in (Step.FORGET, Step.END):
            assert cleared is not None
            if found is Step.END:
                faults.append((int((began - NOW) / MINUTE), int((cleared - NOW) / MINUTE)))
            is_open, began, cleared = False, None, None
    for first, last in faults:
        assert looks[first]
        assert not looks[last]
        assert last - first >= 1
    for (_, ended), (begins, _) in pairwise(faults):
        assert begins - ended >= CLEAR_AFTER / MINUTE


def test_what_begins_within_planned_maintenance_begins_at_its_end() -> None:
    windows = [(NOW, NOW + 60 * MINUTE), (NOW + 60 * MINUTE, NOW + 90 * MINUTE)]
    assert observed_faults.begins_outside_windows(NOW + 5 * MINUTE, windows) == NOW + 90 * MINUTE
    assert observed_faults.begins_outside_windows(NOW - MINUTE, windows) == NOW - MINUTE
    assert observed_faults.begins_outside_windows(NOW + 90 * MINUTE, windows) == NOW + 90 * MINUTE


def test_a_phone_that_runs_out_is_lost_and_one_that_leaves_earlier_has_said_goodbye() -> None:
    before = Phones(
        {
            "1001": Phone("alpha", NOW - MINUTE),
            "1002": Phone("alpha", NOW + MINUTE),
            "1003": Phone("beta", NOW + MINUTE),
            "1004": Phone("alpha", NOW - MINUTE),
        },
        {"1005": LostPhone("alpha", NOW - timedelta(hours=13)), "1006": LostPhone("alpha", NOW - MINUTE)},
    )
    there = {"1004": Phone("alpha", NOW + MINUTE), "1006": Phone("alpha", NOW + MINUTE)}
    after = observed_faults.look_at_phones(before, there, broken_nodes={"beta"}, now=NOW)
    assert after == Phones(there, {"1001": LostPhone("alpha", NOW), "1003": LostPhone("beta", NOW)})


@pytest.mark.parametrize(("lost", "there", "is_many"), [(4, 0, False), (5, 5, True), (5, 6, False), (60, 40, True)])
def test_many_are_five_and_every_second_one(*, lost: int, there: int, is_many: bool) -> None:
    phones = Phones(
        {f"2{each:03}": Phone("alpha", NOW) for each in range(there)},
        {f"1{each:03}": LostPhone("alpha", NOW) for each in range(lost)},
    )
    assert bool(observed_faults.lost_at_once(phones, now=NOW)) == is_many
    assert observed_faults.lost_at_once(phones, now=NOW + timedelta(hours=1)) == {}


@pytest.mark.parametrize(
    ("hit", "there", "broken", "cause"),
    [(1, 1, set[str](), None), (2, 4, set[str](), "operator"), (2, 5, set[str](), None), (1, 9, {"alpha"}, "operator")],
)
def test_a_loss_is_the_operators_where_the_node_broke_or_most_tenants_have_it(
    *, hit: int, there: int, broken: set[str], cause: str | None
) -> None:
    losses = {f"ten_{each}": "alpha" for each in range(hit)} | {"ten_elsewhere": "beta"}
    found = observed_faults.cause_of_loss("alpha", losses, tenants_there=there, broken_nodes=broken)
    assert found == cause


def test_after_a_time_in_which_nobody_looked_no_phone_is_lost_anew() -> None:
    before = Phones({"1001": Phone("alpha", NOW - MINUTE)}, {"1002": LostPhone("alpha", NOW - MINUTE)})
    assert observed_faults.stock_of_phones(before, {}, now=NOW) == Phones({}, before.lost)
    for ago, is_away in ((0, False), (5, False), (6, True), (-1, True)):
        assert observed_faults.has_looked_away(NOW - ago * MINUTE, NOW) == is_away
    assert observed_faults.has_looked_away(None, NOW)


def turn(place: Place, *, node: str = "alpha", in_service: bool = True, **more: bool | datetime) -> Turn:
    return Turn(node=node, place=place, is_in_service=in_service, **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("known", "move"),
    [
        (turn(Place.WAITING), Move.DRAIN),
        (turn(Place.WAITING, in_service=False), Move.SKIP),
        (turn(Place.DRAINING, in_service=False, is_kept_out=True, ends_at=NOW + MINUTE), None),
        (turn(Place.DRAINING, in_service=False, is_kept_out=True, is_drained=True), Move.MARK_OUT),
        (turn(Place.OUT, in_service=False, is_kept_out=True, is_drained=True, ends_at=NOW + MINUTE), None),
        (turn(Place.OUT, in_service=False, is_kept_out=True, is_drained=True, ends_at=NOW), Move.GIVE_BACK),
        (turn(Place.OUT, in_service=False, is_kept_out=True, is_drained=True, is_done=True), Move.GIVE_BACK),
        (turn(Place.OUT, in_service=False), Move.GIVE_BACK),
        (turn(Place.RETURNING, in_service=False), None),
        (turn(Place.RETURNING), Move.MARK_BACK),
        (turn(Place.OUT, in_service=False, has_left=True), Move.MARK_BACK),
    ],
)
def test_the_move_that_follows(known: Turn, move: Move | None) -> None:
    assert turns.next_move(WINDOW, [known], NOW) == (None if move is None else ("alpha", move))


def test_nobody_is_drained_while_another_is_out_or_after_the_work_should_end_or_in_a_window_that_is_off() -> None:
    waiting = turn(Place.WAITING, node="beta")
    out = turn(Place.RETURNING, in_service=False)
    assert turns.next_move(WINDOW, [out, waiting], NOW) is None
    assert turns.next_move(WINDOW, [waiting], WINDOW.work_ends_at) == ("beta", Move.SKIP)
    off = Window(NOW, NOW + timedelta(hours=2), holds=False)
    assert turns.next_move(off, [waiting], NOW) == ("beta", Move.SKIP)
    kept = turn(Place.OUT, in_service=False, is_kept_out=True, is_drained=True, ends_at=NOW + MINUTE)
    assert turns.next_move(off, [kept], NOW) == ("alpha", Move.GIVE_BACK)
    assert turns.next_move(WINDOW, [turn(Place.WAITING)], NOW - MINUTE) is None


@given(st.integers(1, 6), st.lists(st.integers(0, 40), min_size=6, max_size=6), st.integers(10, 1_440))
def test_every_node_gets_a_turn_and_all_turns_end_before_the_window(
    count: int, delays: Sequence[int], minutes: int
) -> None:
    """Each node comes back some minutes after its turn; whoever has a turn has it before the work should end."""
    window = Window(NOW, NOW + minutes * MINUTE)
    now = NOW
    for index in range(count):
        if now >= window.work_ends_at:
            break
        ends = turns.turn_ends_at(window, count - index, now)
        assert now < ends <= window.work_ends_at < window.ends_at
        assert now < turns.drain_deadline(now, ends) < ends
        now = ends + delays[index] * MINUTE


def test_the_quietest_hours_of_a_day_are_those_of_its_weekday() -> None:
    busy = {(weekday, hour): Traffic(100, 6_000) for weekday in range(7) for hour in range(24)}
    traffic = busy | {(5, 2): Traffic(1, 60), (5, 3): Traffic(3, 60), (6, 22): Traffic(0), (6, 23): Traffic(2)}
    days = [date(2026, 6, day) for day in range(8, 15)]
    first, second, *others = quiet_hours.quietest(traffic, days, hours=2, first_hours={})
    assert (first.day, first.hour, first.traffic.legs) == (date(2026, 6, 14), 22, 2)
    assert (second.day, second.hour, second.traffic) == (date(2026, 6, 13), 2, Traffic(4, 120))
    assert {each.hour for each in others} == {2}, "what was equally busy is proposed by night"
    loudest = quiet_hours.busiest(traffic, days, hours=2)
    assert loudest is not None
    assert loudest.traffic.legs == 200
    late = quiet_hours.quietest(traffic, [date(2026, 6, 13)], hours=2, first_hours={date(2026, 6, 13): 23})
    assert late == []
