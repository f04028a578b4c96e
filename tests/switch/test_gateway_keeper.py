"""A node is told of every change to its gateways, and what it says of them is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import gateways, node_lease
from switch.esl.errors import EslConnectionLost
from switch.esl.frames import Event
from switch.gateway_keeper import GatewayKeeper, Listed, Wanted, outdated_gateways, read_gateways
from switch.models import GatewayState, Node
from switch.node_lease import Lease
from tests.switch.cluster import add_node, eventually

ENTRY = """  <gateway>
    <name>{name}</name>
    <profile>external</profile>
    <scheme>Digest</scheme>
    <realm>192.0.2.10</realm>
    <username>{username}</username>
    <password>no</password>
    <from>&lt;sip:{name}@192.0.2.10:5060&gt;</from>
    <contact>&lt;sip:gw+{name}@192.0.2.1:5080;transport=udp;gw={name}&gt;</contact>
    <exten></exten>
    <to>sip:{name}@192.0.2.10</to>
    <proxy>{proxy}</proxy>
    <pingfreq>{ping}</pingfreq>
    <state>{state}</state>
    <status>{status}</status>
  </gateway>
"""


def listing(*entries: str) -> str:
    return '<?xml version="1.0" encoding="ISO-8859-1"?>\n<gateways>\n' + "".join(entries) + "</gateways>\n"


def entry(name: str, *, port: int = 5060, ping: int = 0, state: str = "NOREG", status: str = "UP") -> str:
    proxy = f"sip:192.0.2.10:{port}"
    return ENTRY.format(name=name, username=name, proxy=proxy, ping=ping, state=state, status=status)


@dataclass
class ToldNode:
    """An event socket that behaves as mod_sofia does: a rescan adds what is new and leaves what is there."""

    configured: dict[str, str] = field(default_factory=dict[str, str])
    """What the API would answer: entries by name."""
    running: dict[str, str] = field(default_factory=dict[str, str])
    commands: list[str] = field(default_factory=list[str])
    is_away: bool = False

    @property
    def connection(self) -> ToldNode:
        if self.is_away:
            raise EslConnectionLost("away")
        return self

    async def bgapi(self, command: str, *, timeout_seconds: float) -> str:
        self.commands.append(command)
        match command.split():
            case ["sofia", "xmlstatus", "gateway"]:
                return listing(*self.running.values())
            case [*_, "killgw", name]:
                self.running.pop(name, None)
            case [*_, "rescan"]:
                self.running = {**self.configured, **self.running}
            case _:
                assert command == "reloadacl"
        return "+OK\n"


@pytest.fixture
def seal(settings: Settings) -> Seal:
    """The installation's seal."""
    return Seal(settings.secret_key)


@asynccontextmanager
async def kept(database: Database, seal: Seal, node: ToldNode) -> AsyncGenerator[GatewayKeeper]:
    """A keeper at work over this node."""
    row = await add_node(database, seal, "fs-1")
    async with database.transaction(Scope.platform()) as session:
        lease = await node_lease.claim(session, row.node_id, "here", lease_seconds=60)
    assert isinstance(lease, Lease)
    keeper = GatewayKeeper(database, "fs-1", look_interval_seconds=0.02, compare_interval_seconds=0.1)
    running = asyncio.create_task(keeper.run(lease, node))  # pyright: ignore[reportArgumentType]
    try:
        yield keeper
    finally:
        running.cancel()
        await asyncio.wait([running])


async def made(database: Database, seal: Seal, name: str, **details: Any) -> str:
    async with database.transaction(Scope.platform()) as session:
        given_details = {"name": name, "host": "192.0.2.10", **details}
        return (await gateways.create_gateway(session, seal, **given_details)).gateway_id


async def changed(database: Database, seal: Seal, gateway_id: str, **changes: Any) -> None:
    async with database.transaction(Scope.platform()) as session:
        await gateways.change_gateway(session, seal, gateway_id, changes)


async def becomes(database: Database, gateway_id: str, test: Callable[[GatewayState], bool]) -> None:
    async def holds() -> bool:
        async with database.transaction(Scope.platform()) as session:
            found = (await gateways.states_of(session, [gateway_id]))[gateway_id]
        return bool(found) and test(found[0])

    await eventually(holds)


async def test_a_new_gateway_is_told_both_ways_and_a_changed_one_takes_its_place(
    database: Database, seal: Seal
) -> None:
    node = ToldNode()
    async with kept(database, seal, node):
        node.configured["carrier"] = entry("carrier")
        gateway_id = await made(database, seal, "carrier")
        await becomes(database, gateway_id, lambda state: state.is_up and state.registration == "NOREG")
        assert node.commands.index("reloadacl") < node.commands.index("sofia profile external rescan")
        assert not [command for command in node.commands if "killgw" in command]

        node.configured["carrier"] = entry("carrier", port=5070)
        await changed(database, seal, gateway_id, port=5070)
        await becomes(database, gateway_id, lambda state: state.generation == 2)
        assert "sofia profile external killgw carrier" in node.commands
        assert "5070" in node.running["carrier"]

        told = len([command for command in node.commands if "rescan" in command])
        await changed(database, seal, gateway_id, priority=3, capacity_calls=9)
        await becomes(database, gateway_id, lambda state: state.generation == 2)
        assert len([command for command in node.commands if "rescan" in command]) == told, "the node need not know"

        node.configured.clear()
        async with database.transaction(Scope.platform()) as session:
            await gateways.delete_gateway(session, gateway_id)

        async def is_gone() -> bool:
            return node.running == {}

        await eventually(is_gone)


async def test_a_password_that_changed_reaches_the_node_though_its_list_does_not_show_it(
    database: Database, seal: Seal
) -> None:
    node = ToldNode()
    node.configured["carrier"] = entry("carrier")
    async with kept(database, seal, node):
        gateway_id = await made(database, seal, "carrier", username="carrier", password="old")
        await becomes(database, gateway_id, lambda state: state.generation == 1)
        await changed(database, seal, gateway_id, password="new")
        await becomes(database, gateway_id, lambda state: state.generation == 2)
        assert node.commands.count("sofia profile external killgw carrier") == 1


async def test_a_gateway_that_falls_is_down_with_its_problem_and_up_again(database: Database, seal: Seal) -> None:
    node = ToldNode()
    node.configured["carrier"] = entry("carrier", ping=5)
    async with kept(database, seal, node) as keeper:
        gateway_id = await made(database, seal, "carrier", check_seconds=5)
        await becomes(database, gateway_id, lambda state: state.is_up)
        node.running["carrier"] = entry("carrier", ping=5, status="DOWN")
        headers = {"Event-Name": "CUSTOM", "Event-Subclass": "sofia::gateway_state", "Gateway": "carrier"}
        keeper.note(Event({**headers, "Status": "503", "Phrase": "Service\x07 Unavailable"}))
        await becomes(
            database,
            gateway_id,
            lambda state: not state.is_up and state.problem == "503 Service Unavailable",
        )
        node.running["carrier"] = entry("carrier", ping=5)
        await becomes(database, gateway_id, lambda state: state.is_up and state.problem is None)


def state_event(state: str, **words: str) -> Event:
    """What mod_sofia says when the state of the gateway `carrier` changes."""
    about = {"Event-Name": "CUSTOM", "Event-Subclass": "sofia::gateway_state", "Gateway": "carrier"}
    return Event({**about, "State": state, **words})


async def test_one_that_cannot_sign_in_shows_why_and_is_told_once_not_at_every_attempt(
    database: Database, seal: Seal
) -> None:
    node = ToldNode()

    async def shows(state: str, status: str, problem: str | None) -> int:
        """How often it was told, once the node shows this."""
        node.running["carrier"] = node.configured["carrier"] = entry("carrier", state=state, status=status)
        wanted = (state, status == "UP", problem)
        await becomes(database, gateway_id, lambda row: (row.registration, row.is_up, row.problem) == wanted)
        return [each["event"] for each in logged].count("gateway.down")

    node.configured["carrier"] = entry("carrier", state="TRYING", status="DOWN")
    async with kept(database, seal, node) as keeper:
        with structlog.testing.capture_logs() as logged:
            gateway_id = await made(database, seal, "carrier", username="carrier", password="p", registers=True)
            assert await shows("TRYING", "DOWN", None) == 0, "its carrier has not answered yet"
            for _ in range(2):
                keeper.note(state_event("FAILED", Status="403", Phrase="Forbidden"))
                keeper.note(state_event("FAIL_WAIT"))
                assert await shows("FAIL_WAIT", "DOWN", "403 Forbidden") == 1
                keeper.note(state_event("TRYING"))
                assert await shows("TRYING", "DOWN", "403 Forbidden") == 1
            keeper.note(state_event("REGISTER", Status="200", Phrase="OK"))
            assert await shows("REGED", "UP", None) == 1
            keeper.note(state_event("TIMEOUT"))
            keeper.note(state_event("FAILED"))
            assert await shows("FAILED", "DOWN", "no answer") == 2


async def test_after_a_reconnection_the_node_is_told_again_and_one_that_is_away_is_waited_for(
    database: Database, seal: Seal
) -> None:
    node = ToldNode(is_away=True)
    node.configured["carrier"] = entry("carrier")
    async with kept(database, seal, node) as keeper:
        gateway_id = await made(database, seal, "carrier")
        node.is_away = False
        await becomes(database, gateway_id, lambda state: state.is_up)
        # It was restarted without the API and runs from old files.
        node.running = {"carrier": entry("carrier", port=9), "forgotten": entry("forgotten")}
        keeper.connected()

        async def is_as_it_should_be() -> bool:
            return node.running == node.configured

        await eventually(is_as_it_should_be)


async def test_a_supervisor_that_lost_its_lease_writes_nothing(database: Database, seal: Seal) -> None:
    node = ToldNode()
    node.configured["carrier"] = entry("carrier")
    async with kept(database, seal, node):
        async with database.transaction(Scope.platform()) as session:
            row = (await session.execute(select(Node).where(Node.name == "fs-1"))).scalar_one()
            row.fencing += 1
        gateway_id = await made(database, seal, "carrier")

        async def is_told() -> bool:
            return node.running == node.configured

        await eventually(is_told)
        async with database.transaction(Scope.platform()) as session:
            assert (await gateways.states_of(session, [gateway_id]))[gateway_id] == []


def test_the_list_of_gateways_is_read_and_what_was_taken_away_does_not_hide_what_took_its_place() -> None:
    text = listing(entry("a", status="DOWN"), entry("a", port=9), entry("b", state="REGED"))
    assert read_gateways(text) == {
        "a": Listed("a", ("sip:192.0.2.10:5060", "a", "0"), is_up=False, registration="NOREG"),
        "b": Listed("b", ("sip:192.0.2.10:5060", "b", "0"), is_up=True, registration="REGED"),
    }
    assert read_gateways(listing()) == {}
    assert read_gateways("-ERR no reply\n") is None
    assert read_gateways(listing(entry("x").replace("external", "internal"))) == {}


@given(st.text(max_size=300))
def test_a_hostile_list_is_read_without_harm(text: str) -> None:
    found = read_gateways(f"<gateways><gateway>{text}</gateway></gateways>")
    assert found is not None
    assert len(found) <= 1


def test_what_a_node_has_otherwise_than_it_should_is_taken_away() -> None:
    shown = ("sip:192.0.2.10:5060", "a", "0")
    wanted = [Wanted("gw_a", "a", 3, shown)]
    same, moved = Listed("a", shown, True, "NOREG"), Listed("a", ("sip:192.0.2.10:9", "a", "0"), True, "NOREG")
    assert outdated_gateways({"a": same}, wanted, {"gw_a": 3}) == []
    assert outdated_gateways({"a": same}, wanted, {}) == [], "what is not known is judged by what it shows"
    assert outdated_gateways({"a": same}, wanted, {"gw_a": 2}) == ["a"]
    assert outdated_gateways({"a": moved}, wanted, {"gw_a": 3}) == ["a"]
    assert outdated_gateways({"b": same}, wanted, {}) == ["b"]
    deleted_meanwhile = [Wanted("gw_old", "a", 1, shown)]
    assert outdated_gateways({"a": same}, wanted, {}, told=deleted_meanwhile) == ["a"]
