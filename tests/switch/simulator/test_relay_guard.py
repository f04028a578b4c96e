"""The guard against calls in which two parties from outside talk to each other (clause C18)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from switch.esl.client import EslConnection
from switch.esl.frames import Event
from switch.relay_guard import CHANNEL_BRIDGE, RelayGuard
from switch.sip.call import Call
from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD

TIMEOUT_SECONDS = 5.0
OUT = "sofia/gateway/carrier/13800138000"


@pytest.fixture
async def connection(world: World) -> AsyncGenerator[EslConnection]:
    connection = await EslConnection.open(*world.node.event_socket_address, ESL_PASSWORD)
    await connection.subscribe(CHANNEL_BRIDGE)
    yield connection
    await connection.close()


@pytest.fixture
def guard() -> RelayGuard:
    return RelayGuard("node-1", TIMEOUT_SECONDS)


async def relayed(world: World, *, may: bool = False) -> Call:
    """A call from outside that leaves to outside, past our own dialplan."""
    world.office.dialplan["2000"] = [("bridge", ("{seatline_may_relay=true}" if may else "") + OUT)]
    call = await world.carrier.call("2000", switch=world.node.sip_address("external"), caller_number="13900139000")
    assert call.status == 200
    return call


async def bridge_event(connection: EslConnection) -> Event:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while (event := await connection.next_event()) is not None:
            if event.name == CHANNEL_BRIDGE:
                return event
    raise AssertionError("the connection ended")


async def test_a_bridge_of_two_outside_parties_is_ended_with_its_reason(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    call = await relayed(world)
    await guard.look_at(await bridge_event(connection), connection)
    assert await call.wait_ended(TIMEOUT_SECONDS) == "them"
    records = await world.office.wait_records(2)
    assert {record["seatline_refusal"] for record in records} == {"relaying_not_allowed"}
    assert "OUTGOING_CALL_BARRED" in {record["hangup_cause"] for record in records}


async def test_a_bridge_that_nobody_told_of_is_found_among_the_calls(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    call = await relayed(world)
    await guard.look_at_all(connection)
    assert await call.wait_ended(TIMEOUT_SECONDS) == "them"
    await guard.look_at_all(connection)


async def test_a_call_that_may_be_forwarded_and_one_of_a_seat_are_left_alone(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    caller = await world.registered("1001")
    await world.registered("1002")
    world.office.dialplan |= {"013800138000": [("bridge", OUT)], "1002": [("bridge", f"user/1002@{DOMAIN}")]}
    calls = [await relayed(world, may=True), await caller.call("013800138000"), await caller.call("1002")]
    for _ in calls:
        await guard.look_at(await bridge_event(connection), connection)
    await guard.look_at_all(connection)
    assert all(call.is_live for call in calls)


async def test_a_call_that_has_ended_meanwhile_is_no_trouble(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    call = await relayed(world)
    event = await bridge_event(connection)
    await call.hangup()
    await world.office.wait_records(2)
    assert await world.node.core.wait_empty(TIMEOUT_SECONDS)
    await guard.look_at(event, connection)
    await guard.look_at_all(connection)


@pytest.mark.parametrize("names", [("", ""), ("sofia/external/1", ""), ("sofia/internal/1", "sofia/external/2")])
async def test_an_event_that_names_no_two_outside_parties_asks_the_node_nothing(
    world: World, connection: EslConnection, guard: RelayGuard, names: tuple[str, str]
) -> None:
    await connection.close()
    headers = {"Channel-Name": names[0], "Other-Leg-Channel-Name": names[1], "Bridge-A-Unique-ID": "a"}
    await guard.look_at(Event(headers), connection)
