"""The relay guard at a node that answers slowly: what had to be judged is judged as soon as the node answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.kit.database import Database
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import relay_watch
from switch.esl.client import EslConnection
from switch.esl.errors import EslTimeout
from switch.relay_guard import CHANNEL_BRIDGE, RelayGuard
from switch.relay_watch import RelayWatch
from switch.simulator.node import SimulatedNode
from switch.sip.call import Call
from switch.sip.carrier import Carrier
from switch.sip.policy import answers
from tests.switch.cluster import add_node, opened_office, ports_of
from tests.switch.simulator.office import ESL_PASSWORD, Office, write_configuration
from tests.switch.supervision import becomes, running

LIMIT_SECONDS = 10.0
OUT = "sofia/gateway/carrier/13800138000"


class Reluctant(EslConnection):
    """Answers no question about a leg while `is_silent` says so."""

    asked: int = 0
    is_silent: Callable[[str], bool] | None = None

    async def api(self, command: str, *, timeout_seconds: float = 10) -> str:
        """The answer, where there is one."""
        if command.startswith("uuid_getvar"):
            self.asked += 1
            if self.is_silent is not None and self.is_silent(command):
                raise EslTimeout(command, timeout_seconds)
        return await super().api(command, timeout_seconds=timeout_seconds)


class Place:
    """A node with a carrier; calls to 2000 come in and go out again, past our own dialplan."""

    def __init__(self, office: Office, node: SimulatedNode, carrier: Carrier) -> None:
        self.node = node
        self._office = office
        self._carrier = carrier

    async def relayed(self, *, may: bool = False) -> Call:
        """A call from outside to outside."""
        variables = "seatline_leg=gateway" + (",seatline_may_relay=true" if may else "")
        self._office.dialplan["2000"] = [("set", "seatline_leg=gateway"), ("bridge", f"{{{variables}}}{OUT}")]
        call = await self._carrier.call("2000", switch=self.node.sip_address("external"), caller_number="13900139000")
        assert call.status == 200
        return call


@asynccontextmanager
async def opened_place(directory: Path) -> AsyncGenerator[Place]:
    """A place whose node nobody supervises yet."""
    async with opened_office() as office, Carrier("127.0.0.1", 0, policy=answers()) as carrier:
        await carrier.start()
        write_configuration(directory, office=office.url, carrier=f"127.0.0.1:{carrier.address[1]}")
        node = SimulatedNode.from_configuration(directory)
        await node.start()
        try:
            yield Place(office, node, carrier)
        finally:
            await node.stop()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place]:
    """A place whose node nobody supervises yet."""
    async with opened_place(tmp_path / "node") as opened:
        yield opened


@pytest.fixture
async def connection(place: Place) -> AsyncGenerator[Reluctant]:
    """A connection to its node."""
    async with await Reluctant.open(*place.node.event_socket_address, ESL_PASSWORD) as opened:
        await opened.subscribe(CHANNEL_BRIDGE)
        yield opened


def watch_of(compare_interval_seconds: float = 1_000) -> RelayWatch:
    """A watch that compares when it is told to."""
    return RelayWatch(
        "node-1",
        answer_timeout_seconds=5,
        retry_interval_seconds=0.05,
        compare_interval_seconds=compare_interval_seconds,
    )


async def noted(watch: RelayWatch, connection: EslConnection, *, bridges: int = 1) -> None:
    """Hand on what the node tells, until so many bridges were told."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while bridges:
            event = await connection.next_event()
            assert event is not None
            watch.note(event)
            bridges -= event.name == CHANNEL_BRIDGE


async def test_a_bridge_that_the_node_did_not_answer_for_is_judged_again(place: Place, connection: Reluctant) -> None:
    watch = watch_of()
    await watch.look(connection)
    call = await place.relayed()
    await noted(watch, connection)
    connection.is_silent = lambda _: True
    with pytest.raises(EslTimeout):
        await watch.look(connection)
    assert call.is_live
    connection.is_silent = None
    await watch.look(connection)
    assert await call.wait_ended(LIMIT_SECONDS) == "them"


async def test_one_call_that_cannot_be_judged_holds_up_no_other(place: Place, connection: Reluctant) -> None:
    watch = watch_of()
    calls = [await place.relayed() for _ in range(3)]
    stuck = next(leg.uuid for leg in place.node.core.channels.values())
    connection.is_silent = lambda command: stuck in command
    for _ in calls:
        with pytest.raises(EslTimeout):
            await watch.look(connection)
    assert [call.is_live for call in calls] == [True, False, False]
    connection.is_silent = None
    await watch.look(connection)
    assert await calls[0].wait_ended(LIMIT_SECONDS) == "them"


async def test_of_what_was_found_in_order_the_node_is_not_asked_again(place: Place, connection: Reluctant) -> None:
    watch = watch_of(compare_interval_seconds=0)
    calls = [await place.relayed(may=True) for _ in range(3)]
    await watch.look(connection)
    asked = connection.asked
    assert asked > 0
    await watch.look(connection)
    assert (connection.asked, all(call.is_live for call in calls)) == (asked, True)


async def test_where_too_many_wait_all_that_run_are_looked_at(
    place: Place, connection: Reluctant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_watch, "MAX_WAITING", 1)
    watch = watch_of()
    await watch.look(connection)
    calls = [await place.relayed() for _ in range(3)]
    await noted(watch, connection, bridges=3)
    async with asyncio.timeout(LIMIT_SECONDS):
        while any(call.is_live for call in calls):
            await watch.look(connection)


async def test_a_supervisor_parts_outside_parties_although_an_answer_stayed_out(
    database: Database, settings: Settings, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, unanswered = RelayGuard.judge, [1]

    async def slow(guard: RelayGuard, legs: tuple[str, ...], connection: EslConnection) -> None:
        if unanswered:
            unanswered.clear()
            raise EslTimeout("uuid_getvar", 0.3)
        await judge(guard, legs, connection)

    monkeypatch.setattr(RelayGuard, "judge", slow)
    await add_node(database, Seal(settings.secret_key), "fs-1", **ports_of(place.node))
    async with running(database, settings):
        await becomes(database, "fs-1", lambda node: node.heartbeat_at is not None)
        call = await place.relayed()
        assert await call.wait_ended(LIMIT_SECONDS) == "them"
    assert not unanswered
