"""What is counted is what the node said: no sign of life, no clock and no lost event stands for a count."""

from __future__ import annotations

import asyncio
import uuid
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import node_lease
from switch.completeness import counting, reconciling
from switch.completeness.counting import SessionCount
from switch.completeness.models import NodeBoot, StartedHour
from switch.models import Node
from switch.node_lease import Lease, Sighting
from tests.api import Api
from tests.switch.cluster import add_node, eventually, opened_office, ports_of, simulated_node
from tests.switch.counted import NINE, Counted, figures
from tests.switch.supervision import becomes, running

END = datetime.fromisoformat("2026-08-01T00:00:00+08:00")
AUGUST = date(2026, 8, 1)
LONG_SECONDS = 10_000_000


@pytest.fixture
async def counted(api: Api) -> Counted:
    return await Counted.open(api)


class Supervisor:
    """Who holds a node's lease, and reports what it is told."""

    def __init__(self, counted: Counted, lease: Lease) -> None:
        self._counted = counted
        self._lease = lease

    @classmethod
    async def of(cls, counted: Counted, name: str = "node-1") -> Supervisor:
        """One that has just taken the node."""
        async with counted.database.transaction(Scope.platform()) as session:
            node = (await session.execute(select(Node).where(Node.name == name))).scalar_one()
            lease = await node_lease.claim(session, node.node_id, "it", lease_seconds=LONG_SECONDS)
        assert lease is not None
        return cls(counted, lease)

    async def hears(self, sessions: SessionCount | None) -> None:
        """A sign of life, with the latest count there was."""
        sighting = Sighting(is_heard=True, is_silent=False, version=None, sessions=sessions)
        async with self._counted.database.transaction(Scope.platform()) as session:
            await node_lease.report(session, self._lease, sighting, lease_seconds=LONG_SECONDS)


async def test_signs_of_life_without_an_answer_do_not_count_a_node_to_the_months_end(counted: Counted) -> None:
    asked_at = END - timedelta(hours=2)
    clock.travel_to(asked_at)
    supervisor = await Supervisor.of(counted)
    stale = SessionCount(counted.boot_id, 1, asked_at)
    await supervisor.hears(stale)
    await counted.reports(1, at=asked_at)
    clock.travel_to(END + timedelta(seconds=3))
    await supervisor.hears(stale)
    clock.travel_to(END + timedelta(minutes=5))
    assert [(hour.begins_at, hour.state, hour.observed_from) for hour in await counted.unreconciled()] == [
        (END - timedelta(hours=1), "uncounted", asked_at)
    ]
    await supervisor.hears(SessionCount(counted.boot_id, 51, clock.now()))
    clock.travel_to(END + timedelta(hours=3))
    assert [(hour.begins_at, hour.observed_from, hour.missing) for hour in await counted.unreconciled()] == [
        (END, asked_at, 50)
    ]


async def test_the_count_is_of_the_moment_in_which_the_node_was_asked(counted: Counted) -> None:
    clock.travel_to(END - timedelta(seconds=0.3))
    supervisor = await Supervisor.of(counted)
    asked_before = SessionCount(counted.boot_id, 1, clock.now())
    await counted.reports(1, at=END - timedelta(seconds=20))
    clock.travel_to(END + timedelta(seconds=0.2))
    await supervisor.hears(asked_before)
    clock.travel_to(END + timedelta(seconds=5))
    await supervisor.hears(SessionCount(counted.boot_id, 2, clock.now()))
    clock.travel_to(END + timedelta(hours=3))
    assert [hour.missing for hour in await counted.unreconciled()] == [1]


async def test_a_run_that_is_counted_for_the_first_time_began_its_calls_after_the_last_count_of_the_node(
    counted: Counted,
) -> None:
    clock.travel_to(END - timedelta(hours=3))
    supervisor = await Supervisor.of(counted)
    counted_at = clock.now()
    await supervisor.hears(SessionCount(counted.boot_id, 0, counted_at))
    clock.travel_to(END + timedelta(hours=1))
    await supervisor.hears(SessionCount(str(uuid.uuid4()), 2, clock.now()))
    clock.travel_to(END + timedelta(hours=4))
    assert [(hour.observed_from, hour.missing) for hour in await counted.unreconciled()] == [(counted_at, 2)]


async def test_a_node_that_was_never_counted_before_may_have_called_since_it_was_added(counted: Counted) -> None:
    added_at = END - timedelta(days=11)
    await counted.exchange.change_node("node-2", state="joining", created_at=added_at)
    clock.travel_to(END + timedelta(hours=1))
    supervisor = await Supervisor.of(counted, "node-2")
    await supervisor.hears(SessionCount(counted.boot_id, 50, clock.now()))
    clock.travel_to(END + timedelta(hours=4))
    assert [(hour.node, hour.observed_from, hour.missing) for hour in await counted.unreconciled()] == [
        ("node-2", added_at, 50)
    ]


@pytest.mark.parametrize("state", ["joining", "active", "cut_off", "draining", "drained"])
async def test_a_run_that_only_records_tell_of_is_not_counted_to_the_months_end(counted: Counted, state: str) -> None:
    clock.travel_to(END - timedelta(hours=1))
    await counted.exchange.change_node("node-2", state=state)
    await counted.reports(1, 2, 3, at=clock.now(), node="node-2")
    clock.travel_to(END + timedelta(hours=3))
    (hour,) = await counted.unreconciled()
    assert (hour.node, hour.begins_at, hour.state) == ("node-2", END - timedelta(hours=1), "uncounted")
    await counted.exchange.change_node("node-2", state="left")
    assert await counted.unreconciled() == []


async def test_a_node_that_is_heard_but_of_which_no_run_is_known_is_not_counted(counted: Counted) -> None:
    clock.travel_to(END - timedelta(hours=1))
    await counted.exchange.change_node("node-2", created_at=END - timedelta(days=11))
    supervisor = await Supervisor.of(counted, "node-2")
    await supervisor.hears(None)
    clock.travel_to(END + timedelta(hours=3))
    await supervisor.hears(None)
    assert {(hour.node, hour.state) for hour in await counted.unreconciled()} == {("node-2", "uncounted")}


async def test_a_drained_node_holds_up_nothing_until_it_is_known_to_be_used_again(counted: Counted) -> None:
    clock.travel_to(END - timedelta(days=5))
    supervisor = await Supervisor.of(counted)
    await supervisor.hears(SessionCount(counted.boot_id, 1, clock.now()))
    await counted.reports(1, at=clock.now())
    before = Counted(counted.exchange, counted.renter)
    await before.reports(1, at=clock.now() - timedelta(days=1))
    await counted.exchange.change_node("node-1", state="drained")
    clock.travel_to(END + timedelta(hours=3))
    await counted.hours()
    assert await counted.unreconciled() == [], "a run of before tells of nothing that began since it was counted"
    again = Counted(counted.exchange, counted.renter)
    await again.reports(1, at=END - timedelta(days=1))
    assert {(hour.node, hour.state) for hour in await counted.unreconciled()} == {("node-1", "uncounted")}


async def test_a_run_that_is_seen_again_goes_on(counted: Counted) -> None:
    await counted.begins(1, NINE)
    again = Counted(counted.exchange, counted.renter)
    await again.reports(1)
    third = Counted(counted.exchange, counted.renter)
    await third.begins(1, NINE + timedelta(minutes=5))
    await again.begins(2, NINE + timedelta(minutes=6))
    async with counted.database.transaction(Scope.platform()) as session:
        running = await session.execute(select(NodeBoot.boot_id).where(NodeBoot.ended_at.is_(None)))
    assert running.scalars().all() == [again.boot_id]


async def test_a_leg_whose_record_was_set_aside_runs_no_more(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.sees(1)
    stranger = counted.record(1)
    stranger["variables"]["seatline_tenant"] = new_id("ten")
    assert (await counted.exchange.report(stranger)).status_code == 200
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 0, 1, 0, 1, "incomplete")]


async def test_a_node_whose_clock_is_ahead_hides_no_call(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    await counted.sees(3, started_at=datetime.fromisoformat("2036-01-01T09:00:00+08:00"))
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(END + timedelta(hours=3))
    assert [(hour.observed_from, hour.started, hour.state) for hour in await counted.unreconciled()] == [
        (NINE, 2, "counting")
    ]
    clock.travel_to(END + timedelta(hours=6))
    assert [(hour.observed_from, hour.missing, hour.state) for hour in await counted.unreconciled()] == [
        (NINE, 2, "incomplete")
    ]


async def test_a_node_whose_clock_is_behind_loses_no_call(counted: Counted) -> None:
    slow = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    await counted.begins(2, NINE)
    await counted.reports(1)
    await counted.sees(2, started_at=slow)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 0, 1, 0, "counting")]
    # It dies, and a leg that began after the last count is dated no earlier than that.
    await counted.sees(3, started_at=slow)
    await counted.exchange.change_node("node-1", state="dead")
    assert [(hour.begins_at, hour.observed_from, hour.missing) for hour in await counted.unreconciled()] == [
        (NINE, NINE, 2)
    ]


async def test_an_hour_that_has_lacked_records_for_days_is_counted_less_often(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    clock.travel_to(NINE + timedelta(days=3))
    assert [hour.missing for hour in await counted.hours()] == [1]
    await counted.reports(2)
    clock.travel_to(clock.now() + timedelta(minutes=14))
    assert [hour.missing for hour in await counted.hours()] == [1]
    clock.travel_to(clock.now() + timedelta(minutes=2))
    assert [hour.state for hour in await counted.hours()] == ["complete"]


async def test_hours_are_counted_piece_by_piece(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "HOURS_A_PIECE", 2)
    for hours in range(5):
        await counted.begins(hours + 1, NINE + timedelta(hours=hours))
    clock.travel_to(NINE + timedelta(hours=8))
    held = select(StartedHour).where(StartedHour.hour == NINE).with_for_update()
    async with counted.database.transaction(Scope.platform()) as session:
        await session.execute(held)
        assert await reconciling.reconcile(counted.database) == 4, "what somebody else counts is left to him"
    assert await reconciling.reconcile(counted.database) == 5


async def test_a_count_waits_for_no_month_that_is_closing(counted: Counted) -> None:
    await counted.begins(1, END - timedelta(minutes=30))
    clock.travel_to(END + timedelta(minutes=10))
    await counted.begins(2, clock.now(), previous_at=END - timedelta(minutes=30))
    async with counted.database.transaction(Scope.platform()) as closing:
        assert len(await reconciling.unreconciled_hours(closing, AUGUST)) == 2
        async with asyncio.timeout(30), counted.database.transaction(Scope.platform()) as session:
            count = SessionCount(counted.boot_id, 3, clock.now())
            await counting.observe(session, "node-1", count, added_at=NINE)


async def test_a_node_that_somebody_has_paused_is_counted(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """It calls itself not ready, which is no sign of life; how many sessions it has begun is true all the same."""

    async def counted_at() -> datetime | None:
        async with database.transaction(Scope.platform()) as session:
            return await session.scalar(select(func.max(NodeBoot.counted_at)))

    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        await add_node(database, Seal(settings.secret_key), "fs-1", **ports_of(simulated), state="joining")
        async with running(database, settings):
            await becomes(database, "fs-1", lambda node: node.state == "active")
            simulated.core.paused_inbound = True
            clock.travel_to(clock.now() + timedelta(hours=1))
            paused_at = clock.now()

            async def is_counted() -> bool:
                latest = await counted_at()
                return latest is not None and latest > paused_at

            await eventually(is_counted)
