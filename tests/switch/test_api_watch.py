"""A node that gets no answers from the API says "for the moment", not "never"."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from switch.api_watch import MARK, ApiWatch
from switch.esl.client import EslConnection
from switch.simulator.node import SimulatedNode
from tests.switch.cluster import opened_office, simulated_node
from tests.switch.simulator.office import ESL_PASSWORD, Office


@dataclass
class Watched:
    """A simulated node, the office that it asks, and who watches it."""

    office: Office
    node: SimulatedNode
    connection: EslConnection
    is_drained: bool = False

    def watch(self) -> ApiWatch:
        """Another watch, as of another supervisor."""
        return ApiWatch("fs-1", is_drained=lambda: self.is_drained, answer_timeout_seconds=2.0)

    async def is_paused(self, direction: str = "inbound") -> bool:
        """Whether the node takes (or makes) no calls."""
        return (await self.connection.api(f"fsctl pause_check {direction}")).strip() == "true"


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncGenerator[Watched]:
    """A node that gets answers."""
    async with (
        opened_office() as office,
        simulated_node(tmp_path / "node", office) as node,
        await EslConnection.open(*node.event_socket_address, ESL_PASSWORD) as connection,
    ):
        yield Watched(office, node, connection)


async def test_a_node_without_answers_is_paused_after_the_second_look_and_taken_up_with_the_first_answer(
    watched: Watched,
) -> None:
    watch = watched.watch()
    await watch.look(watched.connection)
    assert not watch.holds
    watched.office.question_status = 503
    await watch.look(watched.connection)
    assert (watch.holds, await watched.is_paused()) == (False, False)
    await watch.look(watched.connection)
    assert (watch.holds, await watched.is_paused(), await watched.is_paused("outbound")) == (True, True, False)
    watched.office.question_status = 200
    await watch.look(watched.connection)
    assert (watch.holds, await watched.is_paused()) == (False, False)


async def test_another_supervisor_finds_the_pause_and_ends_it(watched: Watched) -> None:
    first, second = watched.watch(), watched.watch()
    watched.office.question_status = 503
    for _ in range(2):
        await first.look(watched.connection)
    await second.recall(watched.connection)
    assert second.holds
    watched.office.question_status = 200
    await second.look(watched.connection)
    assert not await watched.is_paused()


async def test_a_pause_that_a_person_made_is_left_alone(watched: Watched) -> None:
    await watched.connection.api("fsctl pause inbound")
    watch = watched.watch()
    await watch.recall(watched.connection)
    await watch.look(watched.connection)
    assert (watch.holds, await watched.is_paused()) == (False, True)


async def test_a_pause_that_a_person_made_outlives_an_outage_of_the_api(watched: Watched) -> None:
    await watched.connection.api("fsctl pause inbound")
    watch = watched.watch()
    watched.office.question_status = 503
    for _ in range(3):
        await watch.look(watched.connection)
    watched.office.question_status = 200
    await watch.look(watched.connection)
    assert (watch.holds, await watched.is_paused()) == (False, True)


async def test_a_node_that_is_drained_is_the_drains_to_pause_and_resume(watched: Watched) -> None:
    watch = watched.watch()
    watched.office.question_status = 503
    for _ in range(2):
        await watch.look(watched.connection)
    watched.is_drained = True
    watched.office.question_status = 200
    await watch.look(watched.connection)
    assert (watch.holds, await watched.is_paused()) == (False, True)
    assert (await watched.connection.api(f"global_getvar {MARK}")).strip() != "true"
