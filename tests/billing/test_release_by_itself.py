"""Where months release themselves, none goes out over hours that nobody reconciled, and none waits longer."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
import structlog

from billing import jobs as billing_jobs
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from switch.completeness import counting, watching
from switch.completeness.counting import SessionCount
from switch.completeness.watching import Leg, News
from tests.api import Api
from tests.billing.finance import opened, refused
from tests.billing.lease_world import LeaseWorld
from tests.jobs import run_jobs
from tests.switch.exchange import Exchange

IN_MARCH = datetime.fromisoformat("2026-03-20T10:20:00+08:00")
MIDNIGHT = datetime.fromisoformat("2026-04-01T00:00:00+08:00")
IN_MAY = datetime.fromisoformat("2026-05-01T00:00:00+08:00")


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _calls_without_records(world: LeaseWorld, at: datetime) -> str:
    """A run of the node begins three calls; returns its boot."""
    boot_id = str(uuid.uuid4())
    async with world.database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(boot_id, 3, at), added_at=at)
    return boot_id


async def _they_still_run(world: LeaseWorld, boot_id: str, at: datetime) -> None:
    legs = [
        Leg(
            boot_id=boot_id,
            leg_id=str(uuid.uuid4()),
            session_number=number,
            owner_id=None,
            direction="inbound",
            caller="1001",
            destination="13800138000",
            started_at=at,
        )
        for number in (1, 2, 3)
    ]
    async with world.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(boot_id, begun={leg.leg_id: leg for leg in legs}))


async def _signed(api: Api, hour: str) -> None:
    finance = await api.client("finance")
    answer = await finance.post(f"/v1/completeness/node-1/{hour}/sign-off", {"reason": "its disk was lost"})
    assert answer.status_code == 200, answer.text


async def _hour_passes(world: LeaseWorld) -> list[tuple[str, int]]:
    """What midnight and every hour start; the alarms about hours, with how many."""
    with structlog.testing.capture_logs() as logged:
        await billing_jobs.advance_month(world.runtime)
    return [(line["log_level"], line["hours"]) for line in logged if line["event"] == "invoice_run.hours_unreconciled"]


async def _minute_passes(world: LeaseWorld) -> None:
    """What every minute starts, and the jobs that come of it."""
    with structlog.testing.capture_logs() as logged:
        await billing_jobs.release_month(world.runtime)
        await run_jobs(world.database.url)
    assert [line for line in logged if line["event"] == "invoice_run.hours_unreconciled"] == [], "told once an hour"


async def _periods(world: LeaseWorld) -> list[str | None]:
    return [invoice.period for invoice in await world.invoices("monthly")]


async def test_a_month_goes_out_within_minutes_of_its_first_midnight_and_not_before(
    world: LeaseWorld, api: Api
) -> None:
    await opened(world)
    clock.travel_to(MIDNIGHT)
    assert await _hour_passes(world) == []
    await _minute_passes(world)
    clock.travel_to(MIDNIGHT + timedelta(minutes=1))
    await _minute_passes(world)
    assert await _periods(world) == []
    clock.travel_to(MIDNIGHT + timedelta(minutes=2))
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04"]
    run = (await (await api.client("finance")).get("/v1/invoice-runs/2026-04")).json()
    assert (run["state"], run["released_by"], run["issued"]) == ("finished", "system", 1)
    clock.travel_to(MIDNIGHT + timedelta(hours=1))
    await _minute_passes(world)
    assert await _hour_passes(world) == []
    assert await _periods(world) == ["2026-04"]


async def test_records_missing_at_the_months_end_hold_it_up_until_a_person_signs(world: LeaseWorld, api: Api) -> None:
    await _calls_without_records(world, MIDNIGHT - timedelta(minutes=40))
    await opened(world)
    clock.travel_to(MIDNIGHT + timedelta(seconds=5))
    assert await _hour_passes(world) == [], "the records may be on their way"
    clock.travel_to(MIDNIGHT + timedelta(minutes=3))
    await _minute_passes(world)
    clock.travel_to(MIDNIGHT + timedelta(hours=1))
    await _minute_passes(world)
    assert await _hour_passes(world) == [("error", 1)]
    assert await _periods(world) == []
    await _signed(api, "2026-03-31T23")
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04"]


async def test_a_node_that_is_silent_over_the_months_end_holds_it_up_until_it_is_heard(
    world: LeaseWorld, api: Api
) -> None:
    exchange = await Exchange(api).open()
    boot_id = str(uuid.uuid4())
    async with world.database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(boot_id, 0, IN_MARCH), added_at=IN_MARCH)
    await exchange.change_node("node-1", heartbeat_at=IN_MARCH)
    await opened(world)
    clock.travel_to(MIDNIGHT + timedelta(seconds=5))
    assert await _hour_passes(world) == []
    clock.travel_to(MIDNIGHT + timedelta(hours=1))
    assert await _hour_passes(world) == [("error", 1)]
    await _minute_passes(world)
    assert await _periods(world) == []
    async with world.database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(boot_id, 0, clock.now()), added_at=IN_MARCH)
    await exchange.change_node("node-1", heartbeat_at=clock.now())
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04"]


async def test_a_month_that_is_held_up_is_not_let_go_by_the_next_one(world: LeaseWorld, api: Api) -> None:
    await _calls_without_records(world, IN_MARCH)
    await opened(world)
    for midnight in (MIDNIGHT, IN_MAY):
        for minutes in (0, 3, 60):
            clock.travel_to(midnight + timedelta(minutes=minutes))
            await _hour_passes(world)
            await _minute_passes(world)
    assert await _periods(world) == []
    await _signed(api, "2026-03-20T10")
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04", "2026-05"]


async def test_what_is_found_missing_after_its_month_went_out_holds_up_the_next_one(
    world: LeaseWorld, api: Api
) -> None:
    await opened(world)
    clock.travel_to(MIDNIGHT + timedelta(minutes=3))
    await _minute_passes(world)
    await _calls_without_records(world, IN_MARCH)
    await _hour_passes(world)
    clock.travel_to(IN_MAY + timedelta(hours=1))
    assert await _hour_passes(world) == [("error", 1)]
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04"]
    await _signed(api, "2026-03-20T10")
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04", "2026-05"]


async def test_while_a_month_is_held_up_the_one_before_is_still_gone_through(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    clock.travel_to(MIDNIGHT + timedelta(minutes=3))
    await _minute_passes(world)
    [april] = await world.invoices("monthly")
    await _calls_without_records(world, IN_MARCH)
    clock.travel_to(IN_MAY + timedelta(hours=1))
    finance = await api.client("finance")
    void = await finance.post(f"/v1/invoices/{april.invoice_id}/void", {"reason": "a charge too many"})
    assert void.status_code == 200
    await _hour_passes(world)
    assert [each.period for each in await world.invoices("monthly", void=False)] == ["2026-04"]


async def test_nobody_starts_a_run_by_hand_that_hours_hold_up(world: LeaseWorld, api: Api) -> None:
    await _calls_without_records(world, IN_MARCH)
    await opened(world)
    clock.travel_to(MIDNIGHT + timedelta(seconds=30))
    finance = await api.client("finance")
    for minutes in (0, 30):
        clock.travel_to(clock.now() + timedelta(minutes=minutes))
        answer = await finance.post("/v1/invoice-runs", {"month": "2026-04"})
        assert refused(answer) == (409, "hours_unreconciled", "month")
        assert [hour["hour"] for hour in answer.json()["hours"]] == ["2026-03-20T10"]
    signs = {"sign_off": "its disk was lost", "hours_version": answer.json()["hours_version"]}
    signed = await finance.post("/v1/invoice-runs/2026-04/release", signs)
    assert signed.status_code == 200
    await run_jobs(world.database.url)
    assert await _periods(world) == ["2026-04"]
    await _calls_without_records(world, IN_MARCH + timedelta(hours=1))
    again = await finance.post("/v1/invoice-runs", {"month": "2026-04"})
    assert again.status_code == 202, "it is out, and what was found since holds up the next one"
    clock.travel_to(IN_MAY + timedelta(hours=1))
    finance = await api.client("finance")
    assert refused(await finance.post("/v1/invoice-runs", {"month": "2026-05"}))[1] == "hours_unreconciled"


async def test_calls_that_still_run_hold_up_nothing_once_the_last_records_have_had_their_time(
    world: LeaseWorld, api: Api
) -> None:
    exchange = await Exchange(api).open()
    await opened(world)
    began_at = MIDNIGHT - timedelta(minutes=40)
    boot_id = await _calls_without_records(world, began_at)
    await _they_still_run(world, boot_id, began_at)
    await exchange.change_node("node-1", heartbeat_at=MIDNIGHT + timedelta(minutes=1))
    clock.travel_to(MIDNIGHT + timedelta(minutes=1))
    answer = await (await api.client("finance")).post("/v1/invoice-runs", {"month": "2026-04"})
    assert [hour["state"] for hour in answer.json()["hours"]] == ["counting"]
    counted_at = MIDNIGHT + timedelta(minutes=3)
    clock.travel_to(counted_at)
    await _minute_passes(world)
    assert await _periods(world) == [], "what the node has begun since 23:20 is not known"
    async with world.database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(boot_id, 3, counted_at), added_at=began_at)
    await _minute_passes(world)
    assert await _periods(world) == ["2026-04"]
