"""While the API is away, phones and carriers are told to come again; nobody is told to go away for good.

One node that alone gets no answers is another thing: its tenants are served by a node that does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy.engine import make_url

from infra.kit import clock
from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Office
from tests.live.system import LiveSystem
from tests.live.waiting import until

UNAVAILABLE = 503
PAUSED_LIMIT_SECONDS = 15.0
BACK_LIMIT_SECONDS = 20.0
MOVE_LIMIT_SECONDS = 20.0
DIALLED = "13800138000"


async def test_while_the_api_is_away_phones_and_carriers_are_told_to_come_again(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=2)
    registered, other = customer.seats
    phone = await registered.registered()
    node = office.system.nodes[await customer.serving_node()]
    running = await phone.call("13800138000")
    assert running.status == 200
    new = await other.phone()
    office.system.switchd.pause()  # so that the first call comes before anybody pauses the node
    try:
        await asyncio.to_thread(office.system.api.stop)
        # At once, from the node's own files: a carrier tries another way in.
        call = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
        assert call.status == UNAVAILABLE
        office.system.switchd.go_on()

        async def is_paused() -> bool:
            return await new.register() == UNAVAILABLE

        await until(is_paused, "a REGISTER is answered for the moment", limit_seconds=PAUSED_LIMIT_SECONDS)
        assert await phone.register() == UNAVAILABLE
        for dialled in ("13800138001", "110"):
            assert (await phone.call(dialled)).status == UNAVAILABLE
        call = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
        assert call.status == UNAVAILABLE
    finally:
        office.system.switchd.go_on()
        office.system.api.start()
        await asyncio.to_thread(office.system.wait_api)

    async def is_back() -> bool:
        return await new.register() == 200

    await until(is_back, "registrations are taken again", limit_seconds=BACK_LIMIT_SECONDS)
    await running.hangup()
    states = {item["name"]: item["state"] for item in await office.operator.items("/v1/nodes")}
    assert set(states.values()) == {"active"}, "a node that waits for the API is not dead"
    assert (await customer.serving_node()) == node.name
    call = await (await registered.registered()).call("13800138000")
    assert call.status == 200
    await call.hangup()
    await asyncio.to_thread(office.system.ship, node)
    turned_away = await office.operator.items("/v1/stray-calls", node=node.name, reason="switch_away")
    assert customer.number.removeprefix("+") in {each["number"] for each in turned_away}


@asynccontextmanager
async def turned_away(system: LiveSystem, *names: str) -> AsyncGenerator[None]:
    """The API knows another secret of these nodes than they do, so that it answers none of their questions."""
    url = make_url(system.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    mangle = "UPDATE node SET secret_digest = reverse(secret_digest) WHERE name = ANY(%s)"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(mangle, (list(names),))
        try:
            yield
        finally:
            await connection.execute(mangle, (list(names),))


async def is_served_by(customer: Customer, name: str) -> None:
    """Wait until this node serves the tenant."""

    async def look() -> bool:
        return await customer.serving_node() == name

    await until(look, f"{name} serves {customer.domain}", limit_seconds=MOVE_LIMIT_SECONDS)


@pytest.mark.usefixtures("carrier")
async def test_a_node_that_alone_gets_no_answers_has_its_tenants_served_elsewhere_until_it_gets_some(
    office: Office,
) -> None:
    customer = await office.customer(seats=2)
    first, second = customer.seats
    phone = await first.registered()
    running = await phone.call(DIALLED)
    assert running.status == 200
    home = office.system.nodes[await customer.serving_node()]
    spare = next(node for node in office.system.nodes.values() if node is not home)
    async with turned_away(office.system, home.name):
        await is_served_by(customer, spare.name)
        await asyncio.to_thread(office.system.wait_node, home.name, "cut_off")
        assert await phone.register() == UNAVAILABLE
        for seat in (first, second):
            moved = await seat.registered()
            assert moved.server == spare.sip
            call = await moved.call(DIALLED)
            assert call.status == 200
            await call.hangup()
        assert not running.is_ended, "a call that runs goes on"
    await asyncio.to_thread(office.system.wait_node, home.name, "active")
    await running.hangup()
    assert await customer.serving_node() == spare.name, "it comes home when the node has been up for a while"
    legs = await customer.legs(6)
    assert sorted(leg["node"] for leg in legs) == sorted([home.name] * 2 + [spare.name] * 4)
    try:
        office.system.travel_to(clock.now() + timedelta(minutes=11))
        await is_served_by(customer, home.name)
    finally:
        office.system.travel_to(None)
    assert (await first.registered()).server == home.sip


async def test_when_no_node_gets_answers_nobody_is_moved(office: Office) -> None:
    customer = await office.customer(seats=1)
    await customer.seats[0].registered()

    async def placement() -> object:
        [found] = await office.operator.items("/v1/placements", tenant_id=customer.tenant_id)
        return found

    async def have_waited_long() -> bool:
        nodes = await office.operator.items("/v1/nodes")
        lost = [datetime.fromisoformat(node["unanswered_since"]) for node in nodes if node["unanswered_since"]]
        patience = timedelta(seconds=3 * office.system.silence_seconds)
        return len(lost) == len(nodes) and clock.now() - max(lost) > patience

    async def registers() -> bool:
        return await (await customer.seats[0].phone()).register() == 200

    before = await placement()
    async with turned_away(office.system, *office.system.nodes):
        await until(have_waited_long, "all nodes are without answers", limit_seconds=MOVE_LIMIT_SECONDS)
        assert {node["state"] for node in await office.operator.items("/v1/nodes")} == {"active"}
        assert await registers() is False
    await until(registers, "registrations are taken again", limit_seconds=BACK_LIMIT_SECONDS)
    assert {node["state"] for node in await office.operator.items("/v1/nodes")} == {"active"}
    assert await placement() == before
