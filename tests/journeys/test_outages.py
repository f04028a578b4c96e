"""The operator's own faults and its maintenance, from what the cluster sees to the tenant's invoice (C11, C12)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from infra.kit import clock
from infra.kit.database import Scope
from switch.draining.models import NodeDrain
from switch.models import Node
from tests.world import Customer, World

NODES = ("node-1", "node-2")
WINDOWS = "/v1/maintenance-windows"


async def _node_is(world: World, name: str, state: str, *, drain: str | None = None) -> None:
    """What the node's supervisor writes: its state, and how far its drain has come."""
    async with world.api.database.transaction(Scope.platform()) as session:
        node = (await session.execute(select(Node).where(Node.name == name))).scalar_one()
        node.state, node.state_changed_at = state, clock.now()
        if state == "active":
            node.heartbeat_at = clock.now()
        if drain is not None:
            await session.execute(update(NodeDrain).where(NodeDrain.node_id == node.node_id).values(phase=drain))


async def _invoiced_credits(tenant: Customer, period: str) -> str | None:
    return (await tenant.invoice("monthly", period)).kinds().get("fault_credit")


async def test_a_fault_of_the_operators_own_is_seen_shown_and_credited_without_a_claim(world: World) -> None:
    tenant = await world.tenant(seats=3, opened="2026-06-01", preset="hosted")
    other = await world.tenant(seats=1, opened="2026-06-01", preset="hosted")
    home = await tenant.seat(1).node()
    await world.travel_to("2026-06-17 10:00")
    await _node_is(world, home, "dead")
    for minute in (1, 2):
        await world.travel_to(f"2026-06-17 10:0{minute}")
    [fault] = (await tenant.admin.ask("/v1/faults"))["items"]
    assert (fault["state"], fault["cause"], fault["ended_at"]) == ("confirmed", "operator", None)
    [seen] = (await tenant.admin.ask("/v1/observations", state="open"))["items"]
    assert (seen["kind"], seen["subject"], seen["observation_id"]) == ("node_down", home, fault["observation_id"])
    path = f"/v1/contracts/{tenant.contract_id}/fault-credits"
    assert (await tenant.admin.ask(path))["credit"] == "0.00", "it may be repaired in time"

    await world.travel_to("2026-06-18 12:00")
    running = await tenant.admin.ask(path)
    assert [(each["numbers"], each["days"]) for each in running["credits"]] == [([1, 2, 3], 2)]
    await _node_is(world, home, "joining")
    for minute in (1, 7):
        await world.travel_to(f"2026-06-18 12:0{minute}")
    shown = await tenant.admin.ask(f"/v1/faults/{fault['fault_id']}")
    assert shown["ended_at"] is not None
    assert shown["evidence"]
    before = await tenant.admin.ask(path)
    # Two started days of three seats: 3 x 2000.00 x 2 / 30.
    assert before["credit"] == "400.00"
    await world.travel_to("2026-07-01 00:03")
    assert await _invoiced_credits(tenant, "2026-07") == "-400.00"
    concerned = home == await other.seat(1).node()
    assert await _invoiced_credits(other, "2026-07") == ("-133.33" if concerned else None)


async def _window(world: World, node: str) -> str:
    """Announced for the night of 21 June, two to four, with this node."""
    times = {"begins_at": "2026-06-21T02:00:00+08:00", "ends_at": "2026-06-21T04:00:00+08:00"}
    body: dict[str, Any] = times | {"note": "a new release of the switch", "nodes": [node]}
    return (await world.operator.does(WINDOWS, body))["window_id"]


async def _place(world: World, window_id: str) -> str:
    [node] = (await world.operator.ask(f"{WINDOWS}/{window_id}/nodes"))["nodes"]
    return node["state"]


async def _begun(world: World) -> tuple[Customer, str, str]:
    """It is 02:30 of the window's night and its node is out; the tenant is served by the other one."""
    tenant = await world.tenant(seats=3, opened="2026-06-01", preset="hosted")
    home = await tenant.seat(1).node()
    node = next(name for name in NODES if name != home)
    await _node_is(world, node, "active")
    await world.travel_to("2026-06-17 10:00")
    window_id = await _window(world, node)
    [announced] = (await tenant.admin.ask(WINDOWS))["items"]
    assert (announced["state"], announced["nodes"]) == ("announced", [node])
    await world.work()
    [mail] = (await tenant.admin.ask("/v1/reminders", kind="window_announced"))["items"]
    assert mail["state"] == "no_contact"
    await world.travel_to("2026-06-21 02:00")
    await world.work()
    assert await _place(world, window_id) == "draining"
    await _node_is(world, node, "drained", drain="drained")
    await world.travel_to("2026-06-21 02:30")
    assert await _place(world, window_id) == "out"
    return tenant, node, window_id


async def test_a_window_that_is_kept_costs_nobody_anything(world: World) -> None:
    tenant, node, window_id = await _begun(world)
    await world.operator.does(f"{WINDOWS}/{window_id}/nodes/{node}/done")
    await world.travel_to("2026-06-21 02:31")
    assert await _place(world, window_id) == "returning"
    await _node_is(world, node, "active", drain="cancelled")
    await world.travel_to("2026-06-21 02:32")
    assert await _place(world, window_id) == "back"
    [window] = (await tenant.admin.ask(WINDOWS))["items"]
    assert (window["state"], window["ended_at"] < window["ends_at"]) == ("done", True)
    assert (await tenant.admin.ask("/v1/faults"))["items"] == []
    await world.travel_to("2026-07-01 00:03")
    assert await _invoiced_credits(tenant, "2026-07") is None


async def test_a_window_that_overruns_is_the_operators_fault_from_its_scheduled_end(world: World) -> None:
    tenant, node, window_id = await _begun(world)
    await world.travel_to("2026-06-21 03:55")
    assert await _place(world, window_id) == "returning", "it is given back in time, but does not answer"
    await world.travel_to("2026-06-21 09:30")
    await _node_is(world, node, "active", drain="cancelled")
    await world.travel_to("2026-06-21 09:31")
    [fault] = (await tenant.admin.ask("/v1/faults"))["items"]
    assert (fault["window_id"], fault["cause"], fault["began_at"]) == (window_id, "operator", "2026-06-20T20:00:00Z")
    # Five and a half hours are a started day of three seats.
    assert (await tenant.admin.ask(f"/v1/contracts/{tenant.contract_id}/fault-credits"))["credit"] == "200.00"
    await world.travel_to("2026-07-01 00:03")
    assert await _invoiced_credits(tenant, "2026-07") == "-200.00"
