"""A month is not released while call records of the month it bills are missing, unless a person signs for it."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from billing import jobs as billing_jobs
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.settings import Settings, load
from switch.completeness import counting
from switch.completeness.counting import SessionCount
from tests.api import Api, Caller
from tests.billing.finance import opened, refused
from tests.billing.lease_world import LeaseWorld, morning
from tests.switch.exchange import Exchange

APRIL = "/v1/invoice-runs/2026-04"
IN_MARCH = datetime.fromisoformat("2026-03-20T10:20:00+08:00")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An installation whose finance releases months."""
    return load(
        {
            "SEATLINE_DATA_DIRECTORY": str(tmp_path / "data"),
            "SEATLINE_DATABASE_URL": database_url,
            "SEATLINE_MONTHLY_RELEASE": "finance",
        }
    )


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _calls_without_records(database: Database, at: datetime) -> None:
    async with database.transaction(Scope.platform()) as session:
        count = SessionCount(str(uuid.uuid4()), 3, at)
        await counting.observe(session, "node-1", count, previous_at=at)


async def _april(world: LeaseWorld, api: Api) -> Caller:
    await opened(world)
    clock.travel_to(morning(date(2026, 4, 1)))
    await billing_jobs.advance_month(world.runtime)
    return await api.client("finance")


async def _release(finance: Caller, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await finance.post(f"{APRIL}/release", body)
    return answer.status_code, answer.json()


async def test_an_hour_with_missing_records_holds_up_the_month_until_it_is_signed(world: LeaseWorld, api: Api) -> None:
    await _calls_without_records(world.database, IN_MARCH)
    finance = await _april(world, api)
    status, problem = await _release(finance)
    assert (status, problem["code"], problem["field"]) == (409, "hours_unreconciled", "sign_off")
    expected = {"node": "node-1", "hour": "2026-03-20T10", "missing": 3, "state": "incomplete"}
    assert problem["hours"] == [expected]
    signed = await finance.post("/v1/completeness/node-1/2026-03-20T10/sign-off", {"reason": "its disk was lost"})
    assert signed.status_code == 200
    assert (await _release(finance))[0] == 200


async def test_finance_signs_for_every_hour_as_it_releases(world: LeaseWorld, api: Api) -> None:
    await _calls_without_records(world.database, IN_MARCH)
    finance = await _april(world, api)
    assert refused(await finance.post(f"{APRIL}/release", {"sign_off": " "})) == (422, "invalid_input", "sign_off")
    assert (await _release(finance, sign_off="its disk was lost", contracts_due=7))[1]["code"] == "preview_outdated"
    assert (await finance.get("/v1/completeness")).json()["items"][0]["sign_off"] is None
    assert (await _release(finance, sign_off="its disk was lost"))[0] == 200
    (hour,) = (await finance.get("/v1/completeness")).json()["items"]
    assert (hour["state"], hour["sign_off"]["reason"]) == ("signed_off", "its disk was lost")


async def test_a_node_in_service_that_was_not_counted_to_the_month_s_end_holds_it_up(
    world: LeaseWorld, api: Api
) -> None:
    exchange = await Exchange(api).open()
    async with world.database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(str(uuid.uuid4()), 0, IN_MARCH), previous_at=None)
    await exchange.change_node("node-1", heartbeat_at=IN_MARCH)
    finance = await _april(world, api)
    clock.travel_to(clock.now() + timedelta(minutes=5))
    status, problem = await _release(finance)
    assert (status, problem["code"]) == (409, "hours_unreconciled")
    expected = {"node": "node-1", "hour": "2026-03-31T23", "missing": 0, "state": "uncounted"}
    assert problem["hours"] == [expected]
    assert (await _release(finance, sign_off="it was taken away"))[0] == 200


async def test_calls_of_the_month_itself_hold_up_nothing(world: LeaseWorld, api: Api) -> None:
    finance = await _april(world, api)
    await _calls_without_records(world.database, clock.now())
    assert (await _release(finance))[0] == 200


async def test_where_months_release_themselves_they_wait_for_the_records_too(
    world: LeaseWorld, api: Api, database_url: str, tmp_path: Path
) -> None:
    given = {"SEATLINE_DATA_DIRECTORY": str(tmp_path / "data"), "SEATLINE_DATABASE_URL": database_url}
    runtime = Runtime(world.database, load(given))
    await _calls_without_records(world.database, IN_MARCH)
    await opened(world)
    clock.travel_to(morning(date(2026, 4, 1)))
    with structlog.testing.capture_logs() as logged:
        await billing_jobs.advance_month(runtime)
    assert [line["hours"] for line in logged if line["event"] == "invoice_run.hours_unreconciled"] == [1]
    assert await world.invoices("monthly") == []
    finance = await api.client("finance")
    await finance.post("/v1/completeness/node-1/2026-03-20T10/sign-off", {"reason": "its disk was lost"})
    await billing_jobs.advance_month(runtime)
    assert len(await world.invoices("monthly")) == 1
