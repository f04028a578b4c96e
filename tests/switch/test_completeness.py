"""Completeness: the calls that nodes began against the records that came, hour by hour."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from switch.completeness import watching
from switch.completeness.watching import News
from tests.api import Api
from tests.switch.counted import JULY, NINE, Counted, figures


@pytest.fixture
async def counted(api: Api) -> Counted:
    return await Counted.open(api)


async def test_an_hour_is_complete_when_the_record_of_every_session_has_come(counted: Counted) -> None:
    await counted.begins(4, NINE + timedelta(minutes=10))
    await counted.reports(1, 2, 3, 4)
    clock.travel_to(NINE + timedelta(minutes=30))
    assert [figures(hour) for hour in await counted.hours()] == [(4, 4, 0, 0, 0, "counting")]
    assert len(await counted.unreconciled()) == 1
    clock.travel_to(NINE + timedelta(minutes=63))
    assert [figures(hour) for hour in await counted.hours()] == [(4, 4, 0, 0, 0, "complete")]
    assert await counted.unreconciled() == []


async def test_a_record_that_comes_late_closes_its_gap_by_itself(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1, 3)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 2, 0, 0, 1, "incomplete")]
    await counted.reports(2)
    assert [figures(hour) for hour in await counted.hours()] == [(3, 3, 0, 0, 0, "complete")]


async def test_a_record_that_was_posted_twice_counts_once(counted: Counted) -> None:
    await counted.begins(2, NINE)
    twice = counted.record(1)
    for _ in range(2):
        assert (await counted.exchange.report(twice)).status_code == 200
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 0, 0, 1, "incomplete")]


async def test_a_record_that_was_set_aside_is_explained(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    stranger = counted.record(2) | {}
    stranger["variables"]["seatline_tenant"] = new_id("ten")
    assert (await counted.exchange.report(stranger)).status_code == 200
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 1, 0, 0, "complete")]


async def test_a_number_that_the_node_gave_up_is_explained(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    async with counted.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(counted.boot_id, void={str(uuid.uuid4()): 2}))
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 1, 0, 0, "complete")]


async def test_a_record_from_the_future_is_set_aside_and_explained(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1, at=NINE + timedelta(days=40))
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(1, 0, 1, 0, 0, "complete")]
    assert await counted.exchange.to_rate() == []


async def test_a_call_that_still_runs_keeps_its_hour_open_and_is_not_missing(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    await counted.sees(2)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 0, 1, 0, "counting")]
    await counted.reports(2)
    assert [figures(hour) for hour in await counted.hours()] == [(2, 2, 0, 0, 0, "complete")]


async def test_the_calls_of_a_node_that_died_are_missing_with_what_was_seen_of_them(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1)
    leg_id = await counted.sees(2)
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 1, 0, 0, 2, "incomplete")]
    operator = await counted.exchange.api.client("platform_operator")
    unseen, seen = (await operator.get("/v1/missing-calls")).json()["items"]
    assert (unseen["session_number"], unseen["leg_id"], unseen["tenant_id"]) == (3, None, None)
    assert seen["hour"] == "2026-07-01T09"
    assert (seen["session_number"], seen["leg_id"], seen["tenant_id"]) == (2, leg_id, counted.renter.tenant_id)
    assert (seen["caller"], seen["destination"], seen["started_at"]) == ("1001", "13800138000", "2026-07-01T01:00:00Z")
    # Its spool comes home: the gap closes, nothing of it is shown any more.
    await counted.reports(2, 3)
    assert [figures(hour) for hour in await counted.hours()] == [(3, 3, 0, 0, 0, "complete")]
    assert (await operator.get("/v1/missing-calls")).json()["items"] == []


async def test_records_tell_of_sessions_that_began_after_the_last_look_at_a_node_that_died(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.exchange.change_node("node-1", state="dead")
    await counted.reports(1, 4)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(4, 2, 0, 0, 2, "incomplete")]


async def test_legs_seen_after_the_last_count_of_a_node_that_died_are_missing_and_shown(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    leg_id = await counted.sees(3)
    clock.travel_to(NINE + timedelta(hours=1, minutes=30))
    # The node lives: its next count tells, nothing is added to it.
    assert [figures(hour) for hour in await counted.hours()] == [(1, 1, 0, 0, 0, "complete")]
    await counted.exchange.change_node("node-1", state="dead")
    assert [figures(hour) for hour in await counted.hours()] == [(3, 1, 0, 0, 2, "incomplete")]
    assert [hour.missing for hour in await counted.unreconciled()] == [2]
    operator = await counted.exchange.api.client("platform_operator")
    shown = (await operator.get("/v1/missing-calls")).json()["items"]
    assert [(call["session_number"], call["leg_id"]) for call in shown] == [(3, leg_id), (2, None)]
    await counted.reports(2, 3)
    assert await counted.unreconciled() == []


async def test_a_number_given_up_or_set_aside_tells_that_those_before_it_began(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    async with counted.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(counted.boot_id, void={str(uuid.uuid4()): 3}))
    await counted.exchange.change_node("node-1", state="dead")
    stranger = counted.record(5)
    stranger["variables"]["seatline_tenant"] = new_id("ten")
    clock.travel_to(NINE + timedelta(hours=40))
    assert (await counted.exchange.report(stranger)).status_code == 200
    assert [(hour.begins_at, *figures(hour)) for hour in await counted.hours()] == [
        (NINE, 5, 1, 2, 0, 2, "incomplete"),
    ]


async def test_a_seen_number_that_cannot_be_makes_no_gap(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    await counted.sees(1_999_999_999)
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(1, 1, 0, 0, 0, "complete")]


async def test_a_boot_that_nobody_watched_is_known_from_its_records(counted: Counted) -> None:
    await counted.reports(1, 2)
    clock.travel_to(NINE + timedelta(hours=1))
    await counted.reports(3, 5, at=NINE + timedelta(hours=1))
    clock.travel_to(NINE + timedelta(hours=3))
    assert [(hour.begins_at, *figures(hour)) for hour in await counted.hours()] == [
        (NINE + timedelta(hours=1), 3, 2, 0, 0, 1, "incomplete"),
        (NINE, 2, 2, 0, 0, 0, "complete"),
    ]


async def test_a_number_that_cannot_be_makes_no_gap(counted: Counted) -> None:
    await counted.reports(1, 1_999_999_999)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(1, 1, 0, 0, 0, "complete")]


async def test_a_node_that_starts_again_counts_from_one_again(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1, 2)
    again = Counted(counted.exchange, counted.renter)
    await again.begins(1, NINE + timedelta(minutes=20))
    await again.reports(1)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 3, 0, 0, 0, "complete")]


async def test_hours_are_told_apart_by_the_count_and_a_clock_set_back_mixes_none(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.begins(5, NINE + timedelta(hours=1))
    await counted.begins(6, NINE + timedelta(minutes=5))
    await counted.begins(4, NINE + timedelta(hours=2))
    clock.travel_to(NINE + timedelta(hours=4))
    assert [(hour.begins_at, hour.started) for hour in await counted.hours()] == [
        (NINE + timedelta(hours=1), 4),
        (NINE, 2),
    ]


async def test_calls_counted_after_a_long_silence_hold_up_the_month_they_may_have_begun_in(counted: Counted) -> None:
    first = datetime.fromisoformat("2026-08-01T01:30:00+08:00")
    await counted.begins(1, first, previous_at=first - timedelta(hours=4))
    clock.travel_to(first + timedelta(hours=3))
    assert len(await counted.unreconciled(JULY)) == 1
    assert len(await counted.unreconciled(date(2026, 8, 1))) == 1
    assert await counted.unreconciled(date(2026, 6, 1)) == []
