"""A month is not released while call records of the month it bills are missing, unless a person signs for it."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing import jobs as billing_jobs
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings, load
from switch.completeness import counting, reconciling
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
        await counting.observe(session, "node-1", count, added_at=at)


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
    version = (await _release(finance))[1]["hours_version"]
    signed = {"sign_off": "its disk was lost", "hours_version": version}
    assert (await _release(finance, **signed, contracts_due=7))[1]["code"] == "preview_outdated"
    assert (await finance.get("/v1/completeness")).json()["items"][0]["sign_off"] is None
    assert (await _release(finance, **signed))[0] == 200
    (hour,) = (await finance.get("/v1/completeness")).json()["items"]
    assert (hour["state"], hour["sign_off"]["reason"]) == ("signed_off", "its disk was lost")


async def test_finance_signs_for_no_hour_that_it_was_not_shown(world: LeaseWorld, api: Api) -> None:
    await _calls_without_records(world.database, IN_MARCH)
    finance = await _april(world, api)
    status, unseen = await _release(finance, sign_off="its disk was lost")
    assert (status, unseen["code"]) == (409, "hours_unreconciled"), "nobody has seen which hours these are"
    await _calls_without_records(world.database, IN_MARCH + timedelta(hours=1))
    signed = {"sign_off": "its disk was lost", "hours_version": unseen["hours_version"]}
    status, others = await _release(finance, **signed)
    assert (status, others["code"]) == (409, "hours_unreconciled")
    assert [hour["hour"] for hour in others["hours"]] == ["2026-03-20T10", "2026-03-20T11"]
    listed = (await finance.get("/v1/completeness")).json()["items"]
    assert [hour["sign_off"] for hour in listed] == [None, None]
    assert (await _release(finance, **signed | {"hours_version": others["hours_version"]}))[0] == 200


async def test_a_node_in_service_that_was_not_counted_to_the_month_s_end_holds_it_up(
    world: LeaseWorld, api: Api
) -> None:
    exchange = await Exchange(api).open()
    async with world.database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(str(uuid.uuid4()), 0, IN_MARCH), added_at=IN_MARCH)
    await exchange.change_node("node-1", heartbeat_at=IN_MARCH)
    finance = await _april(world, api)
    clock.travel_to(clock.now() + timedelta(minutes=5))
    status, problem = await _release(finance)
    assert (status, problem["code"]) == (409, "hours_unreconciled")
    expected = {"node": "node-1", "hour": "2026-03-31T23", "missing": 0, "state": "uncounted"}
    assert problem["hours"] == [expected]
    signed = {"sign_off": "it was taken away", "hours_version": problem["hours_version"]}
    assert (await _release(finance, **signed))[0] == 200


async def test_what_was_not_counted_is_listed_as_the_refusal_has_it_and_can_be_signed_beforehand(
    world: LeaseWorld, api: Api
) -> None:
    exchange = await Exchange(api).open()
    await _calls_without_records(world.database, IN_MARCH)
    await exchange.change_node("node-1", heartbeat_at=IN_MARCH)
    finance = await _april(world, api)
    clock.travel_to(clock.now() + timedelta(minutes=5))
    refused_hours = (await _release(finance))[1]["hours"]
    await reconciling.reconcile(world.database)
    listed = (await finance.get("/v1/completeness", {"month": "2026-03"})).json()["items"]
    shown = [{name: hour[name] for name in ("node", "hour", "missing", "state")} for hour in reversed(listed)]
    assert shown == refused_hours
    assert [(hour["hour"], hour["state"]) for hour in shown] == [
        ("2026-03-20T10", "incomplete"), ("2026-03-31T23", "uncounted"),
    ]  # fmt: skip
    for hour in shown:
        path = f"/v1/completeness/node-1/{hour['hour']}/sign-off"
        assert (await finance.post(path, {"reason": "it was taken away"})).status_code == 200
    assert (await _release(finance))[0] == 200


async def test_calls_of_the_month_itself_hold_up_nothing(world: LeaseWorld, api: Api) -> None:
    finance = await _april(world, api)
    await _calls_without_records(world.database, clock.now())
    assert (await _release(finance))[0] == 200


async def test_what_is_found_missing_after_its_month_went_out_holds_up_the_next_one(
    world: LeaseWorld, api: Api
) -> None:
    finance = await _april(world, api)
    assert (await _release(finance))[0] == 200
    await billing_jobs.run_released_month(world.runtime, month="2026-04")
    await _calls_without_records(world.database, IN_MARCH)
    clock.travel_to(morning(date(2026, 5, 1)))
    await billing_jobs.advance_month(world.runtime)
    finance, may = await api.client("finance"), "/v1/invoice-runs/2026-05/release"
    answer = await finance.post(may, {})
    assert refused(answer) == (409, "hours_unreconciled", "sign_off")
    problem = answer.json()
    assert [each["hour"] for each in problem["hours"]] == ["2026-03-20T10"]
    assert "Of 1 hour up to the end of 2026-04 (1 of earlier months)" in problem["detail"]
    assert "seatline cdr import" in problem["detail"]
    signed = {"sign_off": "its disk was lost", "hours_version": problem["hours_version"]}
    assert (await finance.post(may, signed)).status_code == 200
