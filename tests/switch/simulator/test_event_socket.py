"""The event socket of a simulated node, spoken to by the product's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from switch.esl.client import EslConnection
from switch.esl.errors import EslAuthenticationRefused, EslCommandRefused, EslConnectionLost
from switch.esl.frames import Event
from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD


@pytest.fixture
async def socket(world: World) -> AsyncGenerator[EslConnection]:
    """An open connection."""
    connection = await EslConnection.open(*world.node.event_socket_address, ESL_PASSWORD)
    yield connection
    await connection.close()


async def events_until(socket: EslConnection, name: str) -> list[Event]:
    """Events in order up to and with the first of this name."""
    events: list[Event] = []
    async for event in socket.events():
        events.append(event)
        if name in {event.name, event.subclass}:
            break
    return events


async def test_a_wrong_password_is_refused(world: World) -> None:
    with pytest.raises(EslAuthenticationRefused):
        await EslConnection.open(*world.node.event_socket_address, "guess")


async def test_commands_answer_as_freeswitch_does(socket: EslConnection) -> None:
    assert (await socket.api("version")).startswith("FreeSWITCH Version 1.11")
    assert "session(s) since startup" in await socket.api("status")
    assert await socket.api("show calls count") == "\n0 total.\n"
    assert await socket.api("global_getvar domain") == DOMAIN
    assert await socket.api("xml_flush_cache") == "+OK cleared 0 entries\n"
    assert await socket.api("reloadxml") == "+OK [Success]\n"
    assert "RUNNING (0)" in await socket.api("sofia status")
    assert await socket.bgapi("version short") == "1.11.2-release\n"
    with pytest.raises(EslCommandRefused):
        await socket.api("nonsense")
    with pytest.raises(EslCommandRefused):
        await socket.api("uuid_kill 0000")


async def test_users_are_looked_up_in_the_directory(world: World, socket: EslConnection) -> None:
    world.office.add_user("1001", seatline_seat="seat_1")
    assert await socket.api(f"user_exists id 1001 {DOMAIN}") == "true"
    assert await socket.api(f"user_exists id 1999 {DOMAIN}") == "false"
    assert await socket.api(f"user_data 1001@{DOMAIN} var seatline_seat") == "seat_1"


async def test_registering_and_flushing_are_announced(world: World, socket: EslConnection) -> None:
    await socket.subscribe("sofia::register", "sofia::expire")
    await world.registered("1001")
    registered = (await events_until(socket, "sofia::register"))[-1]
    assert (registered.get("from-user"), registered.get("realm")) == ("1001", DOMAIN)
    await socket.api(f"sofia profile internal flush_inbound_reg 1001@{DOMAIN}")
    expired = (await events_until(socket, "sofia::expire"))[-1]
    assert (expired.get("user"), expired.get("host")) == ("1001", DOMAIN)


async def test_a_call_is_told_in_order_on_both_legs(world: World, socket: EslConnection) -> None:
    names = ("CREATE", "ANSWER", "BRIDGE", "HANGUP", "HANGUP_COMPLETE", "DESTROY")
    await socket.subscribe(*(f"CHANNEL_{name}" for name in names))
    caller = await world.registered("1001")
    await world.registered("1002")
    world.office.dialplan["1002"] = [("set", "hangup_after_bridge=true"), ("bridge", f"user/1002@{DOMAIN}")]
    call = await caller.call("1002")
    listed = json.loads(await socket.api("show channels as json"))
    assert listed["row_count"] == 2
    await socket.api(f"uuid_kill {listed['rows'][0]['uuid']}")
    await call.wait_ended(5)
    told: dict[str, list[str]] = {}
    while [names[-1] for names in told.values()] != ["CHANNEL_DESTROY"] * 2:
        event = await socket.next_event()
        assert event is not None
        told.setdefault(event.get("Unique-ID"), []).append(event.name)
    first, second = told.values()
    assert first == [f"CHANNEL_{name}" for name in names]
    assert second == [f"CHANNEL_{name}" for name in names if name != "BRIDGE"]


async def test_a_filter_lets_only_its_events_pass(world: World, socket: EslConnection) -> None:
    connection = await EslConnection.open(*world.node.event_socket_address, ESL_PASSWORD)
    await connection.subscribe("sofia::register")
    await connection.close()
    await world.registered("1001")
    assert socket.queued_events == 0


async def test_the_heart_beats(world: World, socket: EslConnection) -> None:
    await socket.subscribe("HEARTBEAT")
    world.node.beat()
    beat = (await events_until(socket, "HEARTBEAT"))[-1]
    assert beat.get("Event-Info") == "System Ready"
    assert beat.get("Session-Count") == "0"


async def test_a_killed_node_is_gone_at_once(world: World, socket: EslConnection) -> None:
    await socket.subscribe("HEARTBEAT")
    world.node.kill()
    with pytest.raises(EslConnectionLost):
        await socket.next_event()
    with pytest.raises(EslConnectionLost):
        await EslConnection.open(*socket.address, ESL_PASSWORD)


async def test_a_node_that_stops_says_so(world: World, socket: EslConnection) -> None:
    await socket.subscribe("SHUTDOWN")
    await world.node.stop()
    assert (await events_until(socket, "SHUTDOWN"))[-1].get("Event-Info") == "System Shutting Down"
    with pytest.raises(EslConnectionLost):
        await socket.next_event()
