"""A node whose legs are watched, for tests of what its supervisor notes of them."""

from __future__ import annotations

from typing import cast

from sqlalchemy import select

from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from switch.completeness import watching
from switch.completeness.models import SeenLeg
from switch.completeness.watching import LegWatch
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused
from switch.esl.frames import Event

BOOT = "11111111-2222-3333-4444-555555555555"
TENANT = new_id("ten")


class FakeNode:
    """Answers what a watch asks after connecting."""

    def __init__(self, boot_id: str = BOOT, listed: dict[str, str] | None = None) -> None:
        self.boot_id = boot_id
        self.listed = listed or {}
        """session_id by uuid."""

    async def api(self, command: str, *, timeout_seconds: float) -> str:
        """One answer."""
        assert timeout_seconds == 1
        if command == "global_getvar core_uuid":
            return self.boot_id + "\n"
        if command == "show channels as json":
            rows = ",".join(
                f'{{"uuid":"{leg}","initial_context":"{TENANT}","created_epoch":"1"}}' for leg in self.listed
            )
            return f'{{"row_count":{len(self.listed)},"rows":[{rows}]}}'
        _, leg_id, name = command.split()
        if name == "session_id" and leg_id in self.listed:
            return self.listed[leg_id]
        raise EslCommandRefused(command, "-ERR No such channel!")

    async def bgapi(self, command: str, *, timeout_seconds: float) -> str:
        """The list, which a node makes in its background."""
        assert timeout_seconds == watching.LIST_TIMEOUT_SECONDS
        return await self.api(command, timeout_seconds=1)

    @property
    def connection(self) -> EslConnection:
        """Where a connection is wanted."""
        return cast("EslConnection", self)


def event(name: str, leg_id: str, number: object = 1, **headers: str) -> Event:
    """An event about a leg."""
    return Event(
        {
            "Event-Name": name,
            "Core-UUID": BOOT,
            "Unique-ID": leg_id,
            "variable_session_id": str(number),
            "Caller-Context": TENANT,
            "Caller-Caller-ID-Number": "1001",
            "Caller-Destination-Number": "13800138000",
            **headers,
        }
    )


class GarbledNode(FakeNode):
    """Its list of channels cannot be read."""

    async def api(self, command: str, *, timeout_seconds: float) -> str:
        """One answer."""
        answer = await super().api(command, timeout_seconds=timeout_seconds)
        return answer[:-3] if command == "show channels as json" else answer


class Stopwatch:
    """Real seconds, as the test has them."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


async def watching_of(node: FakeNode, stopwatch: Stopwatch | None = None) -> LegWatch:
    """A watch that has just connected."""
    watch = LegWatch("node-1", 1, seconds=stopwatch or Stopwatch())
    await watch.begin(node.connection)
    return watch


async def taken(database: Database, watch: LegWatch) -> None:
    """Write what is new, if anything is."""
    if (news := watch.take()) is not None:
        async with database.transaction(Scope.platform()) as session:
            await watching.write(session, news)


async def keep(database: Database, watch: LegWatch) -> None:
    """Write what is new, as the supervisor does."""
    news = watch.take()
    assert news is not None
    async with database.transaction(Scope.platform()) as session:
        await watching.write(session, news)


async def seen(database: Database) -> dict[str, SeenLeg]:
    """What is kept, by leg."""
    async with database.transaction(Scope.platform()) as session:
        return {leg.leg_id: leg for leg in (await session.execute(select(SeenLeg))).scalars()}
