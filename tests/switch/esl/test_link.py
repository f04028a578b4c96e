"""The link that reconnects: waits are told to it, so nothing here takes time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from switch.esl.client import EslConnection
from switch.esl.errors import EslConnectionLost, EslError
from switch.esl.frames import Event
from switch.esl.link import Backoff, EslLink, LinkSettings, LinkState
from tests.switch.esl.scripted_node import PASSWORD, ScriptedNode, event_plain


class Owner:
    """Notes what the link tells, and lets the test wait for it."""

    def __init__(self) -> None:
        self.connected = 0
        self.events: list[Event] = []
        self.losses: list[EslError] = []
        self.waits: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail_next = False
        self._news = asyncio.Condition()

    async def on_connected(self, connection: EslConnection) -> None:
        if self.fail_next:
            self.fail_next = False
            raise ValueError("a mistake of the owner's")
        await connection.api("show registrations", timeout_seconds=5)
        self.connected += 1
        await self._tell()

    async def on_event(self, event: Event) -> None:
        self.events.append(event)
        await self._tell()
        await self.gate.wait()

    async def on_lost(self, error: EslError) -> None:
        self.losses.append(error)
        await self._tell()

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def until(self, *, connected: int = 0, events: int = 0, losses: int = 0) -> None:
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(
                lambda: self.connected >= connected and len(self.events) >= events and len(self.losses) >= losses
            )

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def linked(
    node: ScriptedNode, owner: Owner, *, silence_limit_seconds: float = 60.0, max_queued_events: int = 100
) -> AsyncGenerator[EslLink]:
    settings = LinkSettings(
        "127.0.0.1",
        node.port,
        PASSWORD,
        events=("sofia::register",),
        silence_limit_seconds=silence_limit_seconds,
        max_queued_events=max_queued_events,
    )
    link = EslLink(
        settings,
        on_connected=owner.on_connected,
        on_event=owner.on_event,
        on_lost=owner.on_lost,
        wait=owner.wait,
        chance=lambda: 0.0,
    )
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert link.state is LinkState.STOPPED


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    async with ScriptedNode() as scripted:
        yield scripted


async def test_a_link_connects_reads_the_state_and_hands_events_on(node: ScriptedNode) -> None:
    owner = Owner()
    async with linked(node, owner) as link:
        await owner.until(connected=1)
        node.send(event_plain("CUSTOM", Event_Subclass="sofia::register"))
        await owner.until(events=1)
        assert owner.events[0].subclass == "sofia::register"
        assert link.state is LinkState.CONNECTED
        assert await link.connection.api("version", timeout_seconds=5)
        assert PASSWORD not in f"{link!r} {link.settings!r}"


async def test_after_a_crash_the_link_subscribes_and_resynchronises_anew(node: ScriptedNode) -> None:
    owner = Owner()
    async with linked(node, owner) as link:
        await owner.until(connected=1)
        node.drop()
        await owner.until(connected=2, losses=1)
        await node.saw("event plain HEARTBEAT CUSTOM sofia::register", times=2)
        assert link.connects >= 1
        assert isinstance(owner.losses[0], EslConnectionLost)


async def test_waits_grow_while_the_node_is_away_and_start_over_afterwards(node: ScriptedNode) -> None:
    owner = Owner()
    async with linked(node, owner) as link:
        await owner.until(connected=1)
        await node.stop()
        await owner.until(losses=10)
        assert owner.waits[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        with pytest.raises(EslConnectionLost, match="keeps trying"):
            _ = link.connection
        async with node:
            await owner.until(connected=2)
            before = len(owner.waits)
            node.drop()
            await owner.until(connected=3)
            assert owner.waits[before] == 0.5


async def test_a_node_that_falls_silent_is_dropped_and_tried_again(node: ScriptedNode) -> None:
    owner = Owner()
    async with linked(node, owner, silence_limit_seconds=0.01):
        await owner.until(connected=2, losses=1)
        assert "HEARTBEAT" in str(owner.losses[0])


async def test_after_lost_events_the_owner_reads_the_state_again(node: ScriptedNode) -> None:
    owner = Owner()
    owner.gate.clear()
    async with linked(node, owner, max_queued_events=5) as link:
        await owner.until(connected=1)
        for _ in range(20):
            node.send(event_plain("HEARTBEAT"))
        await owner.until(events=1)
        assert await link.connection.api("sync", timeout_seconds=5)
        owner.gate.set()
        await owner.until(connected=2)
        assert link.dropped_events >= 14
        assert node.connections == 1


async def test_a_mistake_of_the_owners_costs_an_attempt_not_the_link(node: ScriptedNode) -> None:
    owner = Owner()
    owner.fail_next = True
    async with linked(node, owner) as link:
        await owner.until(connected=1, losses=1)
        assert link.failed_callbacks == 1


def test_jitter_only_shortens_waits() -> None:
    backoff = Backoff(first_seconds=1.0, longest_seconds=30.0, jitter=0.5)
    assert backoff.wait_seconds(1, 1.0) == 0.5
    assert backoff.wait_seconds(3, 0.5) == 3.0
    assert backoff.wait_seconds(10_000, 0.0) == 30.0
