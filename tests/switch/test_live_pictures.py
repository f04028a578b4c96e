"""Many consoles and long lists: what streams are told is read once for all of them, and written out once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any

import pytest
from litestar.response import ServerSentEventMessage
from sqlalchemy import delete, event, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Database, Scope
from infra.kit.principal import Principal
from infra.kit.problems import Unavailable
from switch.live import pictures as limits
from switch.live.feed import LiveFeed
from switch.live.models import LiveLeg, LiveNode
from switch.live.stream import follow
from tenancy.roles import permissions_of
from tests.api import Api
from tests.switch.builders import running_leg
from tests.switch.test_live_api import add, hear, note_node

ROLE = "tenant_viewer"
CONSOLES = 12


@contextmanager
def reads(database: Database) -> Generator[list[str]]:
    """The statements that read the running legs."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT") and "FROM live_leg" in statement:
            seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


def console(
    api: Api, feed: LiveFeed, tenant_id: str, number: int = 1, *, heartbeat_seconds: float = 10.0
) -> AsyncGenerator[ServerSentEventMessage]:
    """A stream of a viewer whose token does not end."""
    principal = Principal(
        client_id=f"console-{number}", tenant_id=tenant_id, role=ROLE, permissions=permissions_of(ROLE)
    )

    async def authenticated(_: AsyncSession) -> Principal:
        return principal

    return follow(
        api.database, feed, principal, authenticated, tenant_id=tenant_id, heartbeat_seconds=heartbeat_seconds
    )


@asynccontextmanager
async def listening(api: Api, *, look_interval_seconds: float = 0.02) -> AsyncGenerator[LiveFeed]:
    """The feed of a process."""
    feed = LiveFeed(api.database, look_interval_seconds=look_interval_seconds)
    try:
        yield feed
    finally:
        await feed.close()


async def told(stream: AsyncGenerator[ServerSentEventMessage], name: str) -> Any:
    """What the next message of this name says."""
    while True:
        said, content = await hear(stream)
        if said == name:
            return content


async def test_the_consoles_of_a_tenant_share_one_reading_of_each_change(api: Api) -> None:
    tenant = await api.tenant()
    await note_node(api)
    await add(api, running_leg(tenant, "fs-1", "leg-1"))
    async with listening(api) as feed, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(aclosing(console(api, feed, tenant, number))) for number in range(CONSOLES)
        ]
        with reads(api.database) as seen:
            snapshots = await asyncio.gather(*(told(stream, "snapshot") for stream in streams))
            assert {len(snapshot["calls"]) for snapshot in snapshots} == {1}
            hearing = [asyncio.create_task(told(stream, "change")) for stream in streams]
            await add(api, running_leg(tenant, "fs-1", "leg-2"))
            changes = await asyncio.gather(*hearing)
        assert {leg["leg_id"] for change in changes for leg in change["calls"]["changed"]} == {"leg-2"}
        # Before the feed's first look, after it, and at the change.
        assert len(seen) <= 3


async def test_what_many_streams_say_is_written_out_once(api: Api) -> None:
    tenant = await api.tenant()
    await add(api, running_leg(tenant, "fs-1", "leg-1"))
    async with listening(api) as feed, feed.pictures.following(Scope.tenant(tenant), tenant) as shared:
        picture = await shared.current()
        assert picture.snapshot() is picture.snapshot()
        assert picture.snapshot().encode() is picture.snapshot().encode()
        assert picture.snapshot().encode().startswith(b"event: snapshot\r\ndata: {")
        assert picture.change_since(picture) is None


async def test_a_stream_that_lags_behind_hears_everything_since_it_last_listened(api: Api) -> None:
    tenant = await api.tenant()
    await note_node(api)
    await add(api, running_leg(tenant, "fs-1", "leg-1"))
    async with (
        listening(api) as feed,
        aclosing(console(api, feed, tenant, 1)) as quick,
        aclosing(console(api, feed, tenant, 2)) as slow,
    ):
        for stream in (quick, slow):
            assert [leg["leg_id"] for leg in (await told(stream, "snapshot"))["calls"]] == ["leg-1"]
        for leg_id in ("leg-2", "leg-3"):
            await add(api, running_leg(tenant, "fs-1", leg_id))
            assert [leg["leg_id"] for leg in (await told(quick, "change"))["calls"]["changed"]] == [leg_id]
        assert [leg["leg_id"] for leg in (await told(slow, "change"))["calls"]["changed"]] == ["leg-2", "leg-3"]


async def test_a_stream_to_which_nothing_happens_has_its_heartbeat_however_much_happens_elsewhere(api: Api) -> None:
    quiet, busy = await api.tenant(), await api.tenant()
    await note_node(api)

    async def bustle() -> None:
        for number in range(10_000):
            await add(api, running_leg(busy, "fs-1", f"leg-{number}"))

    async with listening(api) as feed, aclosing(console(api, feed, quiet, heartbeat_seconds=0.3)) as stream:
        assert (await told(stream, "snapshot"))["calls"] == []
        bustling = asyncio.create_task(bustle())
        assert [await hear(stream), await hear(stream)] == [("comment", "heartbeat")] * 2
        bustling.cancel()
        await asyncio.wait({bustling})


async def test_a_node_that_leaves_is_noticed_though_the_others_make_up_for_its_revisions(api: Api) -> None:
    tenant = await api.tenant()
    await note_node(api)
    await add(api, running_leg(tenant, "fs-2", "leg-1"))
    async with api.database.transaction(Scope.platform()) as session:
        node = await session.get_one(LiveNode, "fs-1")
        counts = {column.name: getattr(node, column.name) for column in LiveNode.__table__.columns}
        session.add(LiveNode(**counts | {"node": "fs-2", "revision": 1}))
    async with listening(api) as feed, aclosing(console(api, feed, tenant)) as stream:
        assert len((await told(stream, "snapshot"))["calls"]) == 1
        assert await feed.wait(0, limit_seconds=5) == 1  # it has looked at the nodes
        async with api.database.transaction(Scope.platform()) as session:
            await session.execute(delete(LiveLeg).where(LiveLeg.node == "fs-2"))
            await session.execute(delete(LiveNode).where(LiveNode.node == "fs-2"))
            await session.execute(update(LiveNode).values(revision=LiveNode.revision + 1))
        assert [leg["leg_id"] for leg in (await told(stream, "change"))["calls"]["ended"]] == ["leg-1"]


async def test_a_stream_that_goes_in_the_middle_of_a_reading_leaves_it_to_the_others(api: Api) -> None:
    tenant = await api.tenant()
    await add(api, running_leg(tenant, "fs-1", "leg-1"))
    async with listening(api) as feed, feed.pictures.following(Scope.tenant(tenant), tenant) as shared:
        first, second = (asyncio.create_task(shared.current()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert len((await second).calls) == 1
        assert first.cancelled()


async def test_streams_that_wait_for_a_database_that_is_away_try_together(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    @asynccontextmanager
    async def away(_: Scope) -> AsyncGenerator[AsyncSession]:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        raise Unavailable("The database does not answer.")
        yield  # pyright: ignore[reportUnreachable]

    async with listening(api) as feed, feed.pictures.following(Scope.platform(), None) as shared:
        monkeypatch.setattr(api.database, "transaction", away)
        answers = await asyncio.gather(*(shared.current() for _ in range(5)), return_exceptions=True)
        monkeypatch.undo()
        assert {type(answer) for answer in answers} == {Unavailable}
        assert attempts == 1
        assert (await shared.current()).calls == {}


async def test_a_list_that_is_too_long_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 2)
    tenant = await api.tenant()
    await add(api, *(running_leg(tenant, "fs-1", f"leg-{number}") for number in range(3)))
    async with listening(api) as feed, aclosing(console(api, feed, tenant)) as stream:
        snapshot = await told(stream, "snapshot")
    assert ([leg["leg_id"] for leg in snapshot["calls"]], snapshot["is_cut"]) == (["leg-0", "leg-1"], True)
