"""Supervision of nodes: signs of life, death, return, and one supervisor at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings, load
from switch import node_lease, nodes
from switch.models import Node
from switch.node_lease import Lease, Sighting
from switch.simulator.node import SimulatedNode
from switch.supervisor import Pace
from tests.switch.cluster import CLOSED_PORT, Ports, add_node, opened_office, ports_of, read_node, simulated_node
from tests.switch.simulator.office import write_configuration
from tests.switch.supervision import becomes, jobs_woken, running

HEARD = Sighting(is_heard=True, is_silent=False, version="1.11.2")
SILENT = Sighting(is_heard=False, is_silent=True, version=None)


@pytest.fixture
def seal(settings: Settings) -> Seal:
    """The installation's seal."""
    return Seal(settings.secret_key)


async def _claim(database: Database, node: Node, holder: str) -> Lease | None:
    async with database.transaction(Scope.platform()) as session:
        return await node_lease.claim(session, node.node_id, holder, lease_seconds=10)


async def _report(database: Database, lease: Lease, sighting: Sighting) -> str | None:
    async with database.transaction(Scope.platform()) as session:
        return await node_lease.report(session, lease, sighting, lease_seconds=10)


async def test_a_new_node_is_found_while_running_and_becomes_active(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    async with (
        opened_office() as office,
        simulated_node(tmp_path / "node", office) as simulated,
        running(database, settings) as switchd,
    ):
        await add_node(database, seal, "fs-1", **ports_of(simulated), state="joining")
        node = await becomes(database, "fs-1", lambda node: node.state == "active")
        assert node.heartbeat_at is not None
        assert node.version is not None
        assert node.version.startswith("1.11.")
        assert node.supervisor == switchd.holder
        assert await jobs_woken(database) == []
    stopped = await read_node(database, "fs-1")
    assert (stopped.supervisor, stopped.state) == (None, "active")


async def test_a_node_that_falls_silent_is_dead_within_seconds_and_welcome_when_it_is_back(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        ports = ports_of(simulated)
        await add_node(database, seal, "fs-1", **ports, state="joining")
        async with running(database, settings):
            await becomes(database, "fs-1", lambda node: node.state == "active")
            simulated.kill()
            await becomes(database, "fs-1", lambda node: node.state == "dead")
            assert await jobs_woken(database) == [("provisioning.evacuate_node", "fs-1")]
            async with _another_on(tmp_path / "again", office.url, ports):
                await becomes(database, "fs-1", lambda node: node.state == "active")
                assert (await jobs_woken(database))[1:] == [("provisioning.welcome_node", "fs-1")]


@asynccontextmanager
async def _another_on(directory: Path, office_url: str, ports: Ports) -> AsyncGenerator[None]:
    """A node that listens at the ports where another one was killed."""
    write_configuration(directory, office=office_url, carrier="127.0.0.1:9")
    for name, parameter, of in (
        ("event_socket", "listen-port", ("esl_port",)),
        ("sofia", "sip-port", ("sip_port", "external_sip_port")),
    ):
        file = directory / f"autoload_configs/{name}.conf.xml"
        content = file.read_text()
        for port in (ports[each] for each in of):
            content = content.replace(f'name="{parameter}" value="0"', f'name="{parameter}" value="{port}"', 1)
        file.write_text(content)
    node = SimulatedNode.from_configuration(directory)
    await node.start()
    try:
        yield
    finally:
        await node.stop()


async def test_a_node_that_was_never_there_stays_joining(database: Database, settings: Settings, seal: Seal) -> None:
    await add_node(database, seal, "fs-1", esl_port=CLOSED_PORT, state="joining")
    await add_node(database, seal, "fs-2", esl_port=CLOSED_PORT + 1, state="active")
    async with running(database, settings):
        await becomes(database, "fs-2", lambda node: node.state == "dead")
        assert (await read_node(database, "fs-1")).state == "joining"


async def test_a_node_that_listens_elsewhere_than_its_row_says_serves_nobody_until_its_row_agrees(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        elsewhere: Ports = {**ports_of(simulated), "sip_port": CLOSED_PORT}
        await add_node(database, seal, "fs-1", **elsewhere, state="joining")
        with structlog.testing.capture_logs() as logged:
            async with running(database, settings):
                first = await becomes(database, "fs-1", lambda node: node.heartbeat_at is not None)
                assert first.heartbeat_at is not None
                later = await becomes(database, "fs-1", lambda node: node.heartbeat_at != first.heartbeat_at)
                assert later.state == "joining"
                async with database.transaction(Scope.platform()) as session:
                    (await nodes.get_by_name(session, "fs-1")).sip_port = simulated.sip_address()[1]
                await becomes(database, "fs-1", lambda node: node.state == "active")
        told = [each for each in logged if each["event"] == "node.listens_elsewhere"]
        assert [(each["log_level"], each["node"]) for each in told] == [("error", "fs-1")], "once"


async def test_travelling_in_time_kills_no_node(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        await add_node(database, seal, "fs-1", **ports_of(simulated), state="joining")
        async with running(database, settings):
            await becomes(database, "fs-1", lambda node: node.state == "active")
            clock.travel_to(clock.now() + timedelta(days=40))
            after = clock.now()
            node = await becomes(
                database, "fs-1", lambda node: node.heartbeat_at is not None and node.heartbeat_at > after
            )
            assert (node.state, await jobs_woken(database)) == ("active", [])


async def test_a_second_switchd_waits_and_takes_over_when_the_first_stops(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        await add_node(database, seal, "fs-1", **ports_of(simulated), state="joining")
        async with running(database, settings) as first:
            before = await becomes(database, "fs-1", lambda node: node.supervisor == first.holder)
            async with running(database, settings) as second:
                await becomes(database, "fs-1", lambda node: node.state == "active")
                assert (await read_node(database, "fs-1")).supervisor == first.holder
                await first.stop()
                after = await becomes(database, "fs-1", lambda node: node.supervisor == second.holder)
                assert after.fencing == before.fencing + 1


async def test_a_lease_is_held_by_one_until_it_ends_and_old_writes_are_refused(database: Database, seal: Seal) -> None:
    node = await add_node(database, seal, "fs-1", state="joining")
    first = await _claim(database, node, "a")
    assert first is not None
    assert await _claim(database, node, "b") is None
    clock.travel_to(clock.now() + timedelta(seconds=11))
    second = await _claim(database, node, "b")
    assert second is not None
    assert second.fencing == first.fencing + 1
    assert await _report(database, first, HEARD) is None
    assert (await read_node(database, "fs-1")).state == "joining"
    assert await _report(database, second, HEARD) == "active"


async def test_dead_and_back_wake_the_jobs_that_follow_once(database: Database, seal: Seal) -> None:
    node = await add_node(database, seal, "fs-1", state="active")
    lease = await _claim(database, node, "a")
    assert lease is not None
    states = [await _report(database, lease, sighting) for sighting in (SILENT, SILENT, HEARD, HEARD)]
    assert states == ["dead", "dead", "active", "active"]
    assert await jobs_woken(database) == [
        ("provisioning.evacuate_node", "fs-1"),
        ("provisioning.welcome_node", "fs-1"),
    ]


async def test_a_released_lease_is_free_at_once_and_a_left_node_is_nobodys(database: Database, seal: Seal) -> None:
    node = await add_node(database, seal, "fs-1")
    lease = await _claim(database, node, "a")
    assert lease is not None
    async with database.transaction(Scope.platform()) as session:
        await node_lease.release(session, lease)
    assert await _claim(database, node, "b") is not None
    left = await add_node(database, seal, "fs-2", state="left")
    assert await _claim(database, left, "b") is None


def test_the_pace_asks_several_times_before_a_node_is_called_dead(settings: Settings) -> None:
    usual = Pace.of(settings)
    demo = Pace.of(
        load(
            {
                "SEATLINE_DATA_DIRECTORY": str(settings.data_directory),
                "SEATLINE_NODE_HEARTBEAT_TIMEOUT_SECONDS": "2",
            }
        )
    )
    for pace in (usual, demo):
        assert 3 * pace.probe_interval_seconds < pace.dead_after_seconds
        assert pace.probe_interval_seconds + pace.answer_timeout_seconds < pace.lease_seconds
