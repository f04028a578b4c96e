"""What is not back at a window's scheduled end, and what only seems so (rule 10)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import structlog

from infra.kit import clock
from tests.provisioning.outage_looks import Cluster, Patient, later
from tests.provisioning.window_world import DAY, PATH, announced, comes_back, goes_out, hour, places, state_of, turn_of
from tests.provisioning.world import World, travel


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


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
