"""The spend cap counts calls that run; a node that is silent takes nothing off what was seen on it."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import update

from infra.kit import clock
from infra.kit.database import Scope
from switch import placements
from switch.models import Node
from tests.api import Api
from tests.billing.spending_world import Nodes, may, renter
from tests.world import MOBILE, Answered, Customer, Refused, World


@pytest.fixture
async def world(api: Api) -> World:
    return await World.open(api)


@pytest.fixture
async def customer(world: World) -> Customer:
    return await renter(world)


@pytest.fixture
async def nodes(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    return await Nodes.instead(customer, monkeypatch)


async def test_a_silent_node_lifts_no_bar_and_a_higher_cap_does(customer: Customer, nodes: Nodes) -> None:
    world, seat, barred = customer.world, customer.seat(1), Refused("daily_cap_reached")
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    nodes.seconds = {"node-2": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    # Lowering the cap is the tenant's to do, and lifts nothing; the operator decides anew, by what was seen last.
    await may(customer, customer.admin, daily_cap="0.99")
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    await may(customer, daily_cap="1.20")
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    await may(customer, daily_cap="20.00")
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    await may(customer, daily_cap="1.00")
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    # The node answers, and the record of the call says that it was a short one.
    nodes.seconds = {"node-1": 0, "node-2": 0}
    await nodes.report("node-1", milliseconds=60_000)
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()


async def test_what_other_nodes_spend_adds_to_what_was_seen_on_a_silent_one(customer: Customer, nodes: Nodes) -> None:
    world, seat, barred = customer.world, customer.seat(1), Refused("daily_cap_reached")
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="2.00")
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    nodes.seconds = {"node-2": 600}
    for _ in range(2):
        await nodes.look()
        assert await seat.calls(MOBILE) == barred
    nodes.seconds = {"node-2": 0}
    await nodes.report("node-2", milliseconds=1_000)
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    await seat.talks(MOBILE, milliseconds=6 * 60_000)  # 0.7404, of another call
    await world.work()
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    nodes.seconds, nodes.calls = {"node-2": 60}, {"node-2": 2}
    await nodes.look()
    assert await seat.calls(MOBILE) == barred


async def test_a_call_of_a_silent_node_counts_once_when_its_record_comes(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="2.00")
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    nodes.seconds = {"node-2": 0}
    await nodes.report("node-1", milliseconds=590_000)
    await world.work()
    await nodes.look()
    assert (await customer.admin.ask(f"/v1/tenants/{customer.tenant_id}/call-policy"))["today"]["charged"] == "1.21"
    assert await seat.calls(MOBILE) == Answered()


async def test_a_node_that_was_never_heard_of_keeps_no_bar(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    async with world.api.database.transaction(Scope.platform()) as session:
        await session.execute(update(Node).where(Node.name == "node-2").values(state="joining"))
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    nodes.seconds = {"node-1": 600}
    await nodes.look()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
    nodes.seconds = {"node-1": 0}
    await nodes.report("node-1", milliseconds=60_000)
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()


async def test_a_dead_node_lifts_no_bar_and_a_new_day_does(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    nodes.seconds = {"node-1": 0, "node-2": 600}
    await nodes.look()
    async with world.api.database.transaction(Scope.platform()) as session:
        await session.execute(update(Node).where(Node.name == "node-2").values(state="dead"))
    nodes.seconds = {"node-1": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
    clock.travel_to(clock.local_midnight(date(2026, 6, 11)))
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()


async def test_calls_that_were_left_on_the_node_before_a_move_count(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    home = await seat.node()
    other = "node-2" if home == "node-1" else "node-1"
    async with world.api.database.transaction(Scope.platform()) as session:
        await placements.move(session, customer.tenant_id, other, reason="test")
    nodes.seconds = {home: 600, other: 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
