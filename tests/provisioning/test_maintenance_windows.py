"""A window as the cluster keeps it: proposed, begun, its nodes drained one after another and given back (C12)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import select, text

from billing.outages import windows
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from switch.draining.models import NodeDrain
from switch.models import CallRecord
from tests.provisioning.outage_looks import Cluster, Patient, later
from tests.provisioning.world import TODAY, World, travel

DAY = TODAY + timedelta(days=6)
PATH = "/v1/maintenance-windows"


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


def hour(text: str) -> str:
    return f"{DAY}T{text}:00+08:00"


async def announced(world: World, *nodes: str, **other: Any) -> str:
    """A window from two to four; its id."""
    body = {"begins_at": hour("02:00"), "ends_at": hour("04:00"), "note": "new release", "nodes": nodes} | other
    answer = await world.operator.post(PATH, body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["nodes"] == list(nodes)
    return answer.json()["window_id"]


async def places(world: World, window_id: str) -> dict[str, str]:
    """Where each node of a window stands, and whose turn it is."""
    nodes = (await world.operator.get(f"{PATH}/{window_id}/nodes")).json()["nodes"]
    return {each["node"]: each["state"] for each in nodes}


async def state_of(world: World, window_id: str) -> tuple[str, str | None]:
    listed = (await world.operator.get(PATH)).json()["items"]
    window = next(each for each in listed if each["window_id"] == window_id)
    return window["state"], window["ended_at"]


async def turn_of(world: World, window_id: str, node: str) -> tuple[datetime, datetime]:
    nodes = (await world.operator.get(f"{PATH}/{window_id}/nodes")).json()["nodes"]
    found = next(each for each in nodes if each["node"] == node)
    return datetime.fromisoformat(found["turn_began_at"]), datetime.fromisoformat(found["turn_ends_at"])


async def goes_out(cluster: Cluster, node: str) -> None:
    """The supervisor has drained the node, and the conductor has seen it."""
    await cluster.drain_is(node, "drained", state="drained")
    await cluster.conducts()


async def comes_back(cluster: Cluster, node: str) -> None:
    """The supervisor has given the node back, and the conductor has seen it."""
    assert await cluster.drain_phase(node) == "cancelling"
    await cluster.drain_is(node, "cancelled", state="active")
    await cluster.conducts()


async def test_the_nodes_are_drained_one_after_another_and_given_back_in_time(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    window_id = await announced(world, "alpha", "beta")
    travel(DAY, hour=1)
    await cluster.conducts()
    assert await places(world, window_id) == {}, "it has not begun"
    travel(DAY, hour=2)
    await cluster.conducts()
    await world.work()
    assert await places(world, window_id) == {"alpha": "draining", "beta": "waiting"}
    assert (await cluster.place_of(tenant_id)).serving_node == "beta", "its seats stay open on the other node"
    began, ends = await turn_of(world, window_id, "alpha")
    assert timedelta(minutes=54) <= ends - began <= timedelta(minutes=55)
    await cluster.looks(3)
    assert await cluster.faults() == []

    await goes_out(cluster, "alpha")
    assert await places(world, window_id) == {"alpha": "out", "beta": "waiting"}
    clock.travel_to(ends)
    await cluster.conducts()
    assert await places(world, window_id) == {"alpha": "returning", "beta": "waiting"}
    later(minutes=1)
    await cluster.conducts()
    assert await cluster.drain_phase("beta") is None, "never two nodes at once"
    await comes_back(cluster, "alpha")
    await world.work()
    assert await places(world, window_id) == {"alpha": "back", "beta": "draining"}
    assert (await cluster.place_of(tenant_id)).serving_node == "alpha"
    await goes_out(cluster, "beta")
    _, ends = await turn_of(world, window_id, "beta")
    assert ends <= datetime.fromisoformat(hour("03:50"))
    clock.travel_to(ends)
    await cluster.conducts()
    await comes_back(cluster, "beta")
    assert await places(world, window_id) == {"alpha": "back", "beta": "back"}
    state, ended_at = await state_of(world, window_id)
    assert state == "done"
    assert ended_at is not None
    assert datetime.fromisoformat(ended_at) < datetime.fromisoformat(hour("04:00"))
    await world.work()
    await cluster.looks(6)
    assert await cluster.faults() == []


async def test_work_that_is_done_early_lets_the_next_node_have_its_turn(world: World, cluster: Cluster) -> None:
    window_id = await announced(world, "alpha", "beta")
    travel(DAY, hour=2)
    await cluster.conducts()
    path = f"{PATH}/{window_id}/nodes"
    for node, status, code in (("beta", 409, "window_node_not_out"), ("gamma", 404, "window_node_not_found")):
        refused = await world.operator.post(f"{path}/{node}/done")
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    await goes_out(cluster, "alpha")
    later(minutes=5)
    assert (await world.operator.post(f"{path}/alpha/done")).json()["is_done"]
    await cluster.conducts()
    await comes_back(cluster, "alpha")
    began, ends = await turn_of(world, window_id, "beta")
    assert ends - began > timedelta(hours=1, minutes=30), "it has the rest of the time"


async def test_a_node_that_is_not_back_in_time_overruns_the_window(world: World, cluster: Cluster) -> None:
    tenant_id, contract_id, _ = await world.opened()
    window_id = await announced(world, "alpha")
    travel(DAY, hour=2)
    await cluster.conducts()
    await world.work()
    await goes_out(cluster, "alpha")
    travel(DAY, hour=4)
    await cluster.conducts()
    nodes = (await world.operator.get(f"{PATH}/{window_id}/nodes")).json()["nodes"]
    assert [(each["state"], each["note"]) for each in nodes] == [
        ("returning", "It is not back at the window's scheduled end.")
    ]
    travel(DAY, hour=9)
    await comes_back(cluster, "alpha")
    await world.work()
    assert (await state_of(world, window_id))[0] == "done"
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert (fault["window_id"], fault["cause"]) == (window_id, "operator")
    assert datetime.fromisoformat(fault["began_at"]) == datetime.fromisoformat(hour("04:00"))
    preview = (await world.operator.get(f"/v1/contracts/{contract_id}/fault-credits")).json()
    assert preview["credit"] == "200.00", "five hours are a started day of three seats"


async def test_nobody_conducted_the_window_so_nothing_was_overrun(world: World, cluster: Cluster) -> None:
    await world.opened()
    window_id = await announced(world, "alpha", "beta")
    travel(DAY, hour=8)
    await cluster.conducts()
    assert await places(world, window_id) == {"alpha": "skipped", "beta": "skipped"}
    state, ended_at = await state_of(world, window_id)
    assert (state, ended_at is not None and datetime.fromisoformat(ended_at)) == (
        "done", datetime.fromisoformat(hour("04:00")),
    )  # fmt: skip
    await world.work()
    assert await cluster.faults() == []


async def test_a_window_without_nodes_that_nobody_closes_is_an_alarm_every_day_and_overruns_until_then(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    window_id = await announced(world)

    async def alarms_after(moment: datetime) -> int:
        clock.travel_to(moment)
        with structlog.testing.capture_logs() as logged:
            await cluster.conducts()
            await cluster.conducts()
        return sum(each["event"] == "maintenance.not_closed" for each in logged)

    end = datetime.fromisoformat(hour("04:00"))
    assert [await alarms_after(end + timedelta(hours=each)) for each in (-1, 0, 23, 25)] == [0, 1, 0, 1]
    admin = Patient(world.api, "tenant_admin", tenant_id)
    [shown] = (await admin.get(PATH)).json()["items"]
    assert (shown["state"], datetime.fromisoformat(shown["overruns_since"])) == ("announced", end)
    assert await cluster.faults() == []
    over_at = end + timedelta(hours=24)
    closed = await world.operator.post(f"{PATH}/{window_id}/closure", {"ended_at": over_at.isoformat()})
    assert (closed.status_code, closed.json()["overruns_since"]) == (200, None)
    await world.work()
    [fault] = await cluster.faults()
    assert (fault["tenant_id"], fault["cause"]) == (tenant_id, "operator")
    assert [datetime.fromisoformat(fault[name]) for name in ("began_at", "ended_at")] == [end, over_at]
    assert await alarms_after(end + timedelta(days=9)) == 0


async def test_a_window_that_is_closed_by_hand_gives_its_node_back(world: World, cluster: Cluster) -> None:
    window_id = await announced(world, "alpha", "beta")
    travel(DAY, hour=2)
    await cluster.conducts()
    await goes_out(cluster, "alpha")
    later(minutes=10)
    closed = await world.operator.post(f"{PATH}/{window_id}/closure", {"ended_at": clock.now().isoformat()})
    assert closed.status_code == 200
    await cluster.conducts()
    await comes_back(cluster, "alpha")
    assert await places(world, window_id) == {"alpha": "back", "beta": "skipped"}


async def test_a_window_that_is_moved_or_cancelled_touches_no_node(world: World, cluster: Cluster) -> None:
    moved, cancelled = await announced(world, "alpha"), await announced(world, "beta", begins_at=hour("03:00"))
    later_on = {"begins_at": hour("20:00"), "ends_at": hour("21:00"), "reason": "the parts come later"}
    assert (await world.operator.post(f"{PATH}/{moved}/move", later_on)).status_code == 200
    assert (await world.operator.post(f"{PATH}/{cancelled}/cancellation", {"reason": "no need"})).status_code == 200
    travel(DAY, hour=3)
    later(minutes=30)
    await cluster.conducts()
    assert (await places(world, moved), await places(world, cancelled)) == ({}, {})
    travel(DAY, hour=20)
    await cluster.conducts()
    assert await places(world, moved) == {"alpha": "draining"}
    again = await world.operator.post(f"{PATH}/{moved}/cancellation", {"reason": "too late"})
    assert (again.status_code, again.json()["code"]) == (409, "maintenance_window_not_open")


async def test_a_node_out_of_service_is_skipped_and_one_given_back_by_hand_is_not_taken_again(
    world: World, cluster: Cluster
) -> None:
    await world.node("gamma")
    window_id = await announced(world, "alpha", "beta", "gamma")
    travel(DAY, hour=2)
    await world.change_node("alpha", state="dead", state_changed_at=clock.now())
    await cluster.conducts()
    assert await places(world, window_id) == {"alpha": "skipped", "beta": "draining", "gamma": "waiting"}
    await world.operator.post("/v1/nodes/beta/cancel-drain")
    await cluster.conducts()
    await comes_back(cluster, "beta")
    assert await places(world, window_id) == {"alpha": "skipped", "beta": "back", "gamma": "draining"}


async def test_two_conductors_at_once_make_each_step_once(world: World, cluster: Cluster) -> None:
    window_id = await announced(world, "alpha", "beta")
    travel(DAY, hour=2)
    await asyncio.gather(*(cluster.conducts() for _ in range(3)))
    async with world.api.database.transaction(Scope.platform()) as session:
        assert len((await session.execute(select(NodeDrain))).scalars().all()) == 1
    audit = (await world.operator.get("/v1/audit")).json()["items"]
    actions = [entry["action"] for entry in audit if entry["object_id"] == window_id]
    assert sorted(actions) == [
        "maintenance_window.announced", "maintenance_window.begun", "maintenance_window.node_draining",
    ]  # fmt: skip


async def test_two_windows_at_the_same_time_never_take_two_nodes(world: World, cluster: Cluster) -> None:
    await world.opened()
    windows_of = {node: await announced(world, node) for node in ("alpha", "beta")}
    travel(DAY, hour=2)

    async def standing() -> list[str]:
        return sorted([(await places(world, window_id))[node] for node, window_id in windows_of.items()])

    for _ in range(2):
        await asyncio.gather(*(cluster.conducts() for _ in range(2)))
    assert await standing() == ["draining", "waiting"]
    out = "beta" if await cluster.drain_phase("alpha") is None else "alpha"
    await goes_out(cluster, out)
    await world.operator.post(f"{PATH}/{windows_of[out]}/nodes/{out}/done")
    await cluster.conducts()
    await comes_back(cluster, out)
    await cluster.conducts()
    assert await standing() == ["back", "draining"]


async def test_a_node_that_was_back_while_nobody_looked_did_not_overrun(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    window_id = await announced(world, "alpha")
    travel(DAY, hour=2)
    await cluster.conducts()
    await goes_out(cluster, "alpha")
    await world.operator.post(f"{PATH}/{window_id}/nodes/alpha/done")
    await cluster.conducts()
    later(minutes=1)
    await cluster.drain_is("alpha", "cancelled", state="active")
    back_at = clock.now()
    travel(DAY, hour=9)
    await cluster.conducts()
    await world.work()
    state, ended_at = await state_of(world, window_id)
    assert (state, abs(datetime.fromisoformat(ended_at or "") - back_at) < timedelta(seconds=5)) == ("done", True)
    assert await cluster.faults(tenant_id=tenant_id) == []


async def test_a_window_that_begins_while_somebody_moves_it_is_not_moved(world: World, cluster: Cluster) -> None:
    window_id = await announced(world, "alpha")
    clock.travel_to(datetime.fromisoformat(hour("01:59")))
    begins_at = datetime.fromisoformat(hour("20:00")) + timedelta(days=4)
    ends_at = begins_at + timedelta(hours=1)
    body = {"begins_at": begins_at.isoformat(), "ends_at": ends_at.isoformat(), "reason": "the parts come later"}
    assert (await world.operator.get(PATH)).status_code == 200, "signed in for this hour"
    async with world.api.database.transaction(Scope.platform()) as session:
        await windows.find(session, window_id, for_update=True)
        moving = asyncio.create_task(world.operator.post(f"{PATH}/{window_id}/move", body))
        waiting = text(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_get_activity(NULL) AS other USING (pid)"
            " WHERE NOT granted AND other.datid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        while not (await session.execute(waiting)).scalar_one():
            assert not moving.done()
            await session.execute(text("SELECT pg_stat_clear_snapshot()"))
        clock.travel_to(datetime.fromisoformat(hour("02:00")))
    refused = await moving
    assert (refused.status_code, refused.json()["code"]) == (409, "maintenance_window_not_open")


@pytest.mark.parametrize("phase", ["waiting", "drained", "cancelling"])
async def test_a_node_that_is_killed_while_its_window_has_it_holds_nothing_up_once_it_is_back(
    world: World, cluster: Cluster, phase: str
) -> None:
    tenant_id, _, _ = await world.opened()
    window_id = await announced(world, "alpha", "beta")
    travel(DAY, hour=2)
    await cluster.conducts()
    await world.work()
    if phase == "drained":
        await goes_out(cluster, "alpha")
    else:
        await cluster.drain_is("alpha", "waiting", state="draining")
    if phase == "cancelling":
        await world.operator.post(f"{PATH}/{window_id}/nodes/alpha/done")
        await cluster.conducts()
    await world.change_node("alpha", state="dead", state_changed_at=clock.now())
    _, ends = await turn_of(world, window_id, "alpha")
    clock.travel_to(ends)
    await cluster.conducts()
    await cluster.looks(3)
    assert await places(world, window_id) == {"alpha": "returning", "beta": "waiting"}
    assert (await cluster.place_of(tenant_id)).serving_node == "beta"
    await comes_back(cluster, "alpha")
    assert await places(world, window_id) == {"alpha": "back", "beta": "draining"}
    await goes_out(cluster, "beta")
    await world.operator.post(f"{PATH}/{window_id}/nodes/beta/done")
    await cluster.conducts()
    await comes_back(cluster, "beta")
    await world.work()
    await cluster.looks(8)
    assert ((await state_of(world, window_id))[0], await cluster.faults()) == ("done", [])


@pytest.mark.parametrize(("nodes", "field"), [(["alpha", "alpha"], "nodes[1]"), (["alpha", "omega"], "nodes[1]")])
async def test_nodes_that_are_not_there_are_refused(world: World, nodes: list[str], field: str) -> None:
    body = {"begins_at": hour("02:00"), "ends_at": hour("04:00"), "note": "new release", "nodes": nodes}
    answer = await world.operator.post(PATH, body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "window_refused", field)


async def _called(world: World, tenant_id: str, began: str) -> None:
    started = datetime.fromisoformat(f"{began}+08:00")
    async with world.api.database.transaction(Scope.platform()) as session:
        session.add(
            CallRecord(
                tenant_id=tenant_id,
                month=started.date().replace(day=1),
                leg_id=new_id("leg"),
                node="alpha",
                leg="gateway",
                direction="outbound",
                caller="1001",
                destination="13800138000",
                started_at=started,
                ended_at=started + timedelta(minutes=1),
                billable_milliseconds=60_000,
                hangup_cause="NORMAL_CLEARING",
                received_at=started,
                body=b"",
            )
        )


async def test_a_window_is_proposed_where_the_past_weeks_were_quietest(world: World) -> None:
    tenant_id = await world.api.tenant()
    for week in range(4):
        for day in range(7):
            on = TODAY - timedelta(days=7 * week + day + 1)
            for quarter in range(0, 24, 1):
                # Thursdays between one and four nobody calls.
                if not (on.weekday() == 3 and quarter in (1, 2, 3)):
                    await _called(world, tenant_id, f"{on}T{quarter:02}:15")
    shown = (await world.operator.get(f"{PATH}/proposal", params={"month": "2026-07", "hours": 3})).json()
    first = shown["proposals"][0]
    assert (first["begins_at"], first["ends_at"], first["legs"]) == (
        "2026-07-02T01:00:00+08:00", "2026-07-02T04:00:00+08:00", 0,
    )  # fmt: skip
    assert [each["begins_at"][8:10] for each in shown["proposals"]] == ["02", "09", "16", "23", "30"]
    assert (shown["legs_seen"], shown["places_left"], shown["busiest"]["legs"]) == (4 * (7 * 24 - 3), 2, 12)
    assert (shown["first_day"], shown["last_day"]) == ("2026-05-11", "2026-06-07")
    made = await world.operator.post(PATH, {key: first[key] for key in ("begins_at", "ends_at")} | {"note": "x"})
    assert made.status_code == 201
    left = (await world.operator.get(f"{PATH}/proposal", params={"month": "2026-07", "hours": 3})).json()
    assert (left["places_left"], left["proposals"][0]["begins_at"][8:10]) == (1, "09")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"month": "2026-05"}, "month"),
        ({"month": "2028-01"}, "month"),
        ({"month": "2026-13"}, "month"),
        ({"hours": 0}, "hours"),
        ({"hours": 13}, "hours"),
    ],
)
async def test_what_cannot_be_proposed_is_refused(world: World, params: dict[str, Any], field: str) -> None:
    answer = await world.operator.get(f"{PATH}/proposal", params=params)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_in_the_running_month_only_what_can_be_announced_in_time_is_proposed(world: World) -> None:
    shown = (await world.operator.get(f"{PATH}/proposal", params={"month": "2026-06"})).json()
    earliest = clock.now() + timedelta(hours=72)
    assert shown["proposals"]
    assert all(datetime.fromisoformat(each["begins_at"]) >= earliest for each in shown["proposals"])
    viewer = await world.api.client("tenant_viewer", await world.api.tenant())
    assert (await viewer.get(f"{PATH}/proposal")).status_code == 403
