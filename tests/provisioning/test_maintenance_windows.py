"""A window as the cluster keeps it: begun, its nodes drained one after another and given back (C12)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from billing.outages import windows
from infra.kit import clock
from infra.kit.database import Scope
from switch.draining.models import NodeDrain
from tests.provisioning.outage_looks import Cluster, later
from tests.provisioning.window_world import DAY, PATH, announced, comes_back, goes_out, hour, places, state_of, turn_of
from tests.provisioning.world import World, travel


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


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


@pytest.mark.parametrize(("nodes", "field"), [(["alpha", "alpha"], "nodes[1]"), (["alpha", "omega"], "nodes[1]")])
async def test_nodes_that_are_not_there_are_refused(world: World, nodes: list[str], field: str) -> None:
    body = {"begins_at": hour("02:00"), "ends_at": hour("04:00"), "note": "new release", "nodes": nodes}
    answer = await world.operator.post(PATH, body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "window_refused", field)
