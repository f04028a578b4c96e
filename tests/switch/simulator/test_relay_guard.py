"""The guard against calls in which two parties from outside talk to each other (clause C18)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from switch.esl.client import EslConnection
from switch.esl.frames import Event
from switch.relay_guard import CHANNEL_ANSWER, CHANNEL_BRIDGE, RelayGuard
from switch.sip.call import Call
from tests.live.replacing import ReachingCarrier, dialog_of, refer_to
from tests.switch.guarding import look_at, look_at_all
from tests.switch.simulator.conftest import TIMERS, World
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD

TIMEOUT_SECONDS = 5.0
OUTSIDE, OWN = "seatline_leg=gateway", "seatline_leg=caller"
OUT = "{seatline_leg=gateway}sofia/gateway/carrier/13800138000"


@pytest.fixture
async def connection(world: World) -> AsyncGenerator[EslConnection]:
    connection = await EslConnection.open(*world.node.event_socket_address, ESL_PASSWORD)
    await connection.subscribe(CHANNEL_BRIDGE, CHANNEL_ANSWER)
    yield connection
    await connection.close()


@pytest.fixture
def guard() -> RelayGuard:
    return RelayGuard("node-1", TIMEOUT_SECONDS)


async def relayed(world: World, *, may: bool = False) -> Call:
    """A call from outside that leaves to outside, past our own dialplan."""
    target = OUT.replace("}", ",seatline_may_relay=true}") if may else OUT
    world.office.dialplan["2000"] = [("set", OUTSIDE), ("bridge", target)]
    call = await world.carrier.call("2000", switch=world.node.sip_address("external"), caller_number="13900139000")
    assert call.status == 200
    return call


async def bridge_event(connection: EslConnection, name: str = CHANNEL_BRIDGE) -> Event:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while (event := await connection.next_event()) is not None:
            if event.name == name:
                return event
    raise AssertionError("the connection ended")


async def test_a_bridge_of_two_outside_parties_is_ended_with_its_reason(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    call = await relayed(world)
    await look_at(guard, await bridge_event(connection), connection)
    assert await call.wait_ended(TIMEOUT_SECONDS) == "them"
    records = await world.office.wait_records(2)
    assert {record["seatline_refusal"] for record in records} == {"relaying_not_allowed"}
    assert "OUTGOING_CALL_BARRED" in {record["hangup_cause"] for record in records}


async def test_a_bridge_that_nobody_told_of_is_found_among_the_calls(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    call = await relayed(world)
    await look_at_all(guard, connection)
    assert await call.wait_ended(TIMEOUT_SECONDS) == "them"
    await look_at_all(guard, connection)


async def test_a_call_that_may_be_forwarded_and_one_of_a_seat_are_left_alone(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    caller = await world.registered("1001")
    await world.registered("1002")
    to_seat = f"{{seatline_leg=seat}}user/1002@{DOMAIN}"
    world.office.dialplan |= {
        "013800138000": [("set", OWN), ("bridge", OUT)],
        "1002": [("set", OWN), ("bridge", to_seat)],
    }
    calls = [await relayed(world, may=True), await caller.call("013800138000"), await caller.call("1002")]
    for _ in calls:
        await look_at(guard, await bridge_event(connection), connection)
    await look_at_all(guard, connection)
    assert all(call.is_live for call in calls)


async def test_a_call_that_has_ended_meanwhile_is_no_trouble(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    call = await relayed(world)
    event = await bridge_event(connection)
    await call.hangup()
    await world.office.wait_records(2)
    assert await world.node.core.wait_empty(TIMEOUT_SECONDS)
    await look_at(guard, event, connection)
    await look_at_all(guard, connection)


@pytest.mark.parametrize("names", [("", ""), ("sofia/external/1", ""), ("sofia/internal/1", "sofia/external/2")])
async def test_an_event_that_names_no_two_outside_parties_asks_the_node_nothing(
    world: World, connection: EslConnection, guard: RelayGuard, names: tuple[str, str]
) -> None:
    await connection.close()
    headers = {"Channel-Name": names[0], "Other-Leg-Channel-Name": names[1], "Bridge-A-Unique-ID": "a"}
    await look_at(guard, Event(headers), connection)


async def calls_of_two_tenants(world: World) -> tuple[Call, Call, Call, Call]:
    """A call out of tenant One, and one within tenant Two: each as its caller and as the called one has it."""
    phones = [await world.registered(user) for user in ("1001", "1002", "1003")]
    for tenant, number, target in (("one", "013800138000", OUT), ("two", "1003", f"{{}}user/1003@{DOMAIN}")):
        told = f"seatline_tenant=ten_{tenant}"
        leg = "gateway" if tenant == "one" else "seat"
        bridged = f"{{seatline_leg={leg},{told}}}" + target.partition("}")[2]
        world.office.dialplan[number] = [("set", OWN), ("set", told), ("bridge", bridged)]
    out = await phones[0].call("013800138000")
    called = await world.carrier.next_call(TIMEOUT_SECONDS)
    within = await phones[1].call("1003")
    return out, called, within, await phones[2].next_call(TIMEOUT_SECONDS)


async def test_calls_of_two_tenants_that_are_joined_are_ended(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    out, called, within, taken = await calls_of_two_tenants(world)
    for _ in range(2):
        await look_at(guard, await bridge_event(connection), connection)
    assert await within.transfer(refer_to("013800138000", DOMAIN, out)) == 202
    assert await out.wait_ended(TIMEOUT_SECONDS) == "them"
    assert called.is_live
    await look_at(guard, await bridge_event(connection), connection)
    assert await called.wait_ended(TIMEOUT_SECONDS) == "them"
    assert await taken.wait_ended(TIMEOUT_SECONDS) == "them"
    records = await world.office.wait_records(4)
    assert [record.get("seatline_refusal") for record in records].count("replacing_not_allowed") == 2


async def test_a_join_that_nobody_told_of_is_found_among_the_legs(
    world: World, connection: EslConnection, guard: RelayGuard
) -> None:
    out, called, within, taken = await calls_of_two_tenants(world)
    await look_at_all(guard, connection)
    assert await within.transfer(refer_to("013800138000", DOMAIN, out)) == 202
    assert await out.wait_ended(TIMEOUT_SECONDS) == "them"
    await look_at_all(guard, connection)
    assert await called.wait_ended(TIMEOUT_SECONDS) == "them"
    assert await taken.wait_ended(TIMEOUT_SECONDS) == "them"


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("more", [(), (("Call-Info", "<sip:x>"),)])
async def test_a_call_that_was_answered_past_the_dialplan_is_ended(
    world: World,
    connection: EslConnection,
    guard: RelayGuard,
    more: tuple[tuple[str, str], ...],
    is_told: bool,
) -> None:
    out, called, _, _ = await calls_of_two_tenants(world)
    host, _ = world.carrier.address
    async with ReachingCarrier(host, timers=TIMERS) as other:
        other.more_headers = (("Replaces", dialog_of(out)), *more)
        call = await other.dial("2000", switch=world.node.sip_address("external"), caller_number="13900139000")
        assert await call.wait_settled(TIMEOUT_SECONDS) == 200
        if is_told:
            await until_judged(guard, connection, leaves_bridge=not more)
        else:
            await look_at_all(guard, connection)
        assert await call.wait_ended(TIMEOUT_SECONDS) == "them"
    if more:
        assert called.is_live
        assert out.is_live
    else:
        assert await called.wait_ended(TIMEOUT_SECONDS) == "them", "nobody is left alone on the line"
        assert await out.wait_ended(TIMEOUT_SECONDS) == "them"


async def until_judged(guard: RelayGuard, connection: EslConnection, *, leaves_bridge: bool) -> None:
    """Show the guard every event, up to the bridge or answer that is the reaching call's."""
    seen = {CHANNEL_BRIDGE: 0, CHANNEL_ANSWER: 0}
    last = (CHANNEL_BRIDGE, 3) if leaves_bridge else (CHANNEL_ANSWER, 5)
    while seen[last[0]] < last[1]:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            event = await connection.next_event()
        assert event is not None
        if event.name in seen:
            seen[event.name] += 1
            await look_at(guard, event, connection)
