"""Maintenance windows: announced, moved, cancelled, closed; what overruns is the operator's fault (C12, rule 10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from billing.outages import overruns, windows
from billing.outages.models import Fault, MaintenanceWindow
from billing.outages.overruns import OverrunNotRecorded
from billing.rules.errors import WindowRefused
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.models import AuditEntry
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld
from tests.billing.outage_world import at, credited

PATH = "/v1/maintenance-windows"


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


def _window(begins: str, ends: str, **other: Any) -> dict[str, Any]:
    times = {"begins_at": at(begins).isoformat(), "ends_at": at(ends).isoformat()}
    return times | {"note": "new switch software"} | other


async def _operator(api: Api, now: str) -> Caller:
    clock.travel_to(at(now))
    return await api.client("platform_operator")


async def _windows(database: Database) -> list[MaintenanceWindow]:
    async with database.transaction(Scope.platform()) as session:
        return list((await session.execute(select(MaintenanceWindow))).scalars())


async def test_a_window_is_announced_three_days_ahead_for_everybody_to_see(api: Api) -> None:
    operator = await _operator(api, "2026-04-01 10:00")
    soon = _window("2026-04-04 09:59", "2026-04-04 12:00")
    assert refused(await operator.post(PATH, soon)) == (422, "window_refused", "begins_at")
    made = await does(operator, PATH, _window("2026-04-04 10:01", "2026-04-05 00:00"))
    assert (made["state"], made["cluster"], made["begins_at"]) == ("announced", "main", "2026-04-04T02:01:00Z")
    viewer = await api.client("tenant_viewer", await api.tenant())
    listed = (await viewer.get(PATH)).json()["items"]
    assert [each["window_id"] for each in listed] == [made["window_id"]]
    assert (await viewer.get(PATH, {"state": "cancelled"})).json()["items"] == []
    assert refused(await viewer.get(PATH, {"state": "over"})) == (422, "invalid_input", "state")
    for role in ("tenant_admin", "finance"):
        caller = await api.client(role, await api.tenant() if role == "tenant_admin" else None)
        assert (await caller.post(PATH, soon)).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        (_window("2026-03-31 10:00", "2026-03-31 12:00"), 422, "window_refused", "begins_at"),
        (_window("2026-04-20 22:00", "2026-04-21 00:01"), 422, "window_refused", "ends_at"),
        (_window("2026-04-20 22:00", "2026-04-21 22:00"), 422, "window_refused", "ends_at"),
        (_window("2026-04-20 12:00", "2026-04-20 12:00"), 422, "window_refused", "ends_at"),
        (_window("2026-04-20 12:00", "2026-04-20 11:00"), 422, "window_refused", "ends_at"),
        (_window("2027-04-20 12:00", "2027-04-20 13:00"), 422, "window_refused", "begins_at"),
        (_window("9999-12-31 12:00", "9999-12-31 13:00"), 422, "window_refused", "begins_at"),
        (_window("2026-04-20 12:00", "2026-04-20 13:00", note=" "), 422, "window_refused", "note"),
        (_window("2026-04-20 12:00", "2026-04-20 13:00", note="x" * 501), 422, "window_refused", "note"),
        (_window("2026-04-20 12:00", "2026-04-20 13:00", cluster="mars"), 422, "window_refused", "cluster"),
        (_window("2026-04-20 12:00", "2026-04-20 13:00", ends_at="2026-04-20"), 400, "validation_failed", "ends_at"),
        (
            _window("2026-04-20 12:00", "2026-04-20 13:00", begins_at="2026-04-20T12:00:00"),
            400,
            "validation_failed",
            "begins_at",
        ),
    ],
)
async def test_a_bad_window_is_refused_by_the_field(
    api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    operator = await _operator(api, "2026-04-01 10:00")
    assert refused(await operator.post(PATH, wrong)) == (status, code, field)
    assert await _windows(api.database) == []


async def test_two_windows_a_month_and_no_third(api: Api) -> None:
    operator = await _operator(api, "2026-04-01 10:00")
    for day in ("10", "20"):
        await does(operator, PATH, _window(f"2026-04-{day} 02:00", f"2026-04-{day} 04:00"))
    third = await operator.post(PATH, _window("2026-04-30 23:00", "2026-05-01 00:00"))
    assert refused(third) == (422, "window_refused", "begins_at")
    assert "one window too many in 2026-04" in third.json()["detail"]
    may = await does(operator, PATH, _window("2026-05-01 00:00", "2026-05-01 02:00"))
    into_april = _window("2026-04-28 02:00", "2026-04-28 04:00") | {"reason": "earlier"}
    into_april.pop("note")
    assert refused(await operator.post(f"{PATH}/{may['window_id']}/move", into_april))[1] == "window_refused"
    [first] = (await operator.get(PATH, {"limit": 1, "state": "announced"})).json()["items"]
    assert first["window_id"] == may["window_id"]


async def test_two_callers_at_once_never_announce_a_third(api: Api) -> None:
    await _operator(api, "2026-04-01 10:00")

    async def announce(day: int) -> bool:
        try:
            async with api.database.transaction(Scope.platform()) as session:
                await windows.announce(
                    session, begins_at=at(f"2026-04-{day} 02:00"), ends_at=at(f"2026-04-{day} 03:00"), note="work"
                )
        except WindowRefused:
            return False
        return True

    done = await asyncio.gather(*(announce(day) for day in range(10, 15)))
    assert 1 <= sum(done) <= 2
    assert len(await _windows(api.database)) == sum(done)


async def test_moving_keeps_the_notice_and_cancelling_frees_the_place(api: Api) -> None:
    operator = await _operator(api, "2026-04-01 10:00")
    window = await does(operator, PATH, _window("2026-04-10 02:00", "2026-04-10 04:00"))
    await does(operator, PATH, _window("2026-04-12 02:00", "2026-04-12 04:00"))
    path = f"{PATH}/{window['window_id']}"
    operator = await _operator(api, "2026-04-09 10:00")
    move = _window("2026-04-12 09:59", "2026-04-12 11:00") | {"reason": "the carrier is late"}
    move.pop("note")
    assert refused(await operator.post(f"{path}/move", move)) == (422, "window_refused", "begins_at")
    later = move | {"begins_at": at("2026-04-12 10:01").isoformat()}
    assert refused(await operator.post(f"{path}/move", later | {"reason": ""})) == (422, "invalid_input", "reason")
    moved = await does(operator, f"{path}/move", later, 200)
    assert (moved["state"], moved["begins_at"], moved["announced_at"] > window["announced_at"]) == (
        "moved", "2026-04-12T02:01:00Z", True,
    )  # fmt: skip
    cancelled = await does(operator, f"{path}/cancellation", {"reason": "not needed"}, 200)
    assert cancelled["state"] == "cancelled"
    for action, body in (
        ("move", later),
        ("cancellation", {"reason": "x"}),
        ("closure", {"ended_at": later["ends_at"]}),
    ):
        assert refused(await operator.post(f"{path}/{action}", body))[:2] == (409, "maintenance_window_not_open")
    await does(operator, PATH, _window("2026-04-20 02:00", "2026-04-20 04:00"))
    assert (await operator.post(f"{PATH}/mwin_none/cancellation", {"reason": "x"})).status_code == 404
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action).where(AuditEntry.object_id == window["window_id"]).order_by("entry_id")
        assert (await session.execute(query)).scalars().all() == [
            "maintenance_window.announced",
            "maintenance_window.moved",
            "maintenance_window.cancelled",
        ]


async def test_a_window_that_has_begun_is_closed_and_nothing_else(api: Api) -> None:
    operator = await _operator(api, "2026-04-01 10:00")
    window = await does(operator, PATH, _window("2026-04-10 02:00", "2026-04-10 04:00"))
    path = f"{PATH}/{window['window_id']}"
    early = await operator.post(f"{path}/closure", {"ended_at": at("2026-04-01 09:00").isoformat()})
    assert refused(early) == (409, "maintenance_window_not_open", "window_id")
    operator = await _operator(api, "2026-04-10 03:00")
    assert refused(await operator.post(f"{path}/cancellation", {"reason": "x"}))[0] == 409
    for wrong in ("2026-04-10 01:59", "2026-04-10 03:01"):
        answer = await operator.post(f"{path}/closure", {"ended_at": at(wrong).isoformat()})
        assert refused(answer) == (422, "window_refused", "ended_at")
    closed = await does(operator, f"{path}/closure", {"ended_at": at("2026-04-10 02:30").isoformat()}, 200)
    assert (closed["state"], closed["ended_at"]) == ("done", "2026-04-09T18:30:00Z")
    async with api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(Fault))).first() is None


async def _overran(world: LeaseWorld, begins: str, ends: str, ended_at: str) -> str:
    clock.travel_to(at("2026-03-05 10:00"))
    async with world.database.transaction(Scope.platform()) as session:
        window = await windows.announce(session, begins_at=at(begins), ends_at=at(ends), note="work")
    clock.travel_to(at("2026-03-12 12:00"))
    async with world.database.transaction(Scope.platform()) as session:
        await windows.close(session, window_id=window.window_id, ended_at=at(ended_at))
    return window.window_id


async def test_an_overrun_is_a_fault_of_everything_open_from_the_scheduled_end(world: LeaseWorld) -> None:
    await opened(world, 2)
    other = LeaseWorld(world.database, world.settings)
    await opened(other, 1)
    closed = LeaseWorld(world.database, world.settings)
    await closed.sign("onsite", "2026-04-01")
    await closed.order(1, "2026-04-01")
    window_id = await _overran(world, "2026-03-11 20:00", "2026-03-12 00:00", "2026-03-12 05:00")
    assert [await overruns.record(world.runtime, window_id) for _ in range(2)] == [2, 0]
    async with world.database.transaction(Scope.platform()) as session:
        made = (await session.execute(select(Fault).order_by(Fault.tenant_id))).scalars().all()
    assert {each.tenant_id for each in made} == {world.tenant_id, other.tenant_id}
    assert {(each.began_at, each.ended_at, each.cause, each.window_id) for each in made} == {
        (at("2026-03-12 00:00"), at("2026-03-12 05:00"), "operator", window_id)
    }
    await world.live_to("2026-04-01")
    assert await credited(world) == {"2026-04": "-133.33"}
    assert await credited(other) == {"2026-04": "-66.67"}


async def test_an_overrun_within_the_repair_time_is_recorded_and_not_credited(world: LeaseWorld) -> None:
    await opened(world, 1)
    window_id = await _overran(world, "2026-03-11 20:00", "2026-03-11 22:00", "2026-03-12 02:00")
    assert await overruns.record(world.runtime, window_id) == 1
    await world.live_to("2026-04-01")
    assert await credited(world) == {}


async def test_one_tenant_that_fails_does_not_keep_the_others_from_their_fault(
    world: LeaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(world, 1)
    other = LeaseWorld(world.database, world.settings)
    await opened(other, 1)
    window_id = await _overran(world, "2026-03-11 20:00", "2026-03-11 22:00", "2026-03-12 06:00")
    locked = overruns.get_contract

    async def get_contract(session: Any, tenant_id: str, contract_id: str, for_update: bool = False) -> Any:
        if tenant_id == world.tenant_id:
            raise RuntimeError("a defect")
        return await locked(session, tenant_id, contract_id, for_update=for_update)

    with monkeypatch.context() as patched:
        patched.setattr(overruns, "get_contract", get_contract)
        with pytest.raises(OverrunNotRecorded, match=world.tenant_id):
            await overruns.record(world.runtime, window_id)
    assert await overruns.record(world.runtime, window_id) == 1
    assert await overruns.record(world.runtime, window_id) == 0
