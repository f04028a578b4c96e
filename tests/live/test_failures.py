"""What fails now and then: the API is away while calls end, a node dies, a node is started again."""

from __future__ import annotations

import asyncio
import collections

import pytest

from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Office
from tests.live.system import LiveNode
from tests.live.waiting import until

ANSWER_LIMIT_SECONDS = 10.0
GIVEN_UP_LIMIT_SECONDS = 30.0
MOVE_LIMIT_SECONDS = 20.0
DIALLED = "13800138000"


@pytest.mark.parametrize("calls", [3])
async def test_no_record_is_lost_or_doubled_when_the_api_is_away_while_calls_end(
    office: Office, carrier: Carrier, calls: int
) -> None:
    customer = await office.customer(seats=calls)
    phones = [await seat.registered() for seat in customer.seats]
    running = [await phone.call(DIALLED) for phone in phones]
    assert [call.status for call in running] == [200] * calls
    node = office.system.nodes[await customer.serving_node()]
    before = set(node.failed_records())

    await asyncio.to_thread(office.system.api.stop)
    for call in running:
        await call.hangup()

    async def given_up() -> bool:
        return len(set(node.failed_records()) - before) == 2 * calls

    await until(given_up, "the node has kept what it could not deliver", limit_seconds=GIVEN_UP_LIMIT_SECONDS)
    office.system.api.start()
    await asyncio.to_thread(office.system.wait_api)
    # Every record lies there twice: among those that could not be delivered, and among all.
    await asyncio.to_thread(office.system.seatline, "cdr-import", str(node.spool))
    legs = await customer.legs(2 * calls)
    assert collections.Counter(leg["leg"] for leg in legs) == {"caller": calls, "gateway": calls}
    assert len({leg["leg_id"] for leg in legs}) == 2 * calls
    assert len(await customer.charges(calls)) == calls
    assert node.failed_records() == []


async def test_a_tenant_of_a_node_that_died_is_served_by_its_spare_and_the_node_comes_back(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    await customer.seats[0].registered()
    home = office.system.nodes[await customer.serving_node()]
    spare = next(node for node in office.system.nodes.values() if node is not home)
    home.process.kill()
    try:
        await is_served_by(customer, spare)
        phone = await customer.seats[0].registered()
        assert phone.server == spare.sip
        call = await phone.call(DIALLED)
        assert call.status == 200
        await call.hangup()
        assert {leg["node"] for leg in await customer.legs(2)} == {spare.name}
        await asyncio.to_thread(office.system.wait_node, home.name, "dead")
    finally:
        home.process.start()
        await asyncio.to_thread(office.system.wait_node, home.name, "active")
    checks = await office.customer(seats=1)
    assert await (await checks.seats[0].registered()).register() == 200


async def test_a_node_that_is_stopped_and_started_again_serves_again(office: Office) -> None:
    customer = await office.customer(seats=1)
    node = office.system.nodes[await customer.serving_node()]
    await asyncio.to_thread(node.process.stop)
    node.process.start()

    async def registers() -> bool:
        return await (await customer.seats[0].phone()).register() == 200

    await asyncio.to_thread(office.system.wait_node, node.name, "active")
    await until(registers, "the phone is registered again", limit_seconds=MOVE_LIMIT_SECONDS)


async def is_served_by(customer: Customer, node: LiveNode) -> None:
    """Wait until this node serves the tenant."""

    async def look() -> bool:
        return await customer.serving_node() == node.name

    await until(look, f"{node.name} serves {customer.domain}", limit_seconds=MOVE_LIMIT_SECONDS)
