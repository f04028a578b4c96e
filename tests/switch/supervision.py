"""A switchd at work at a quick pace, for the tests of what supervisors see and write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from switch.models import Node
from switch.supervisor import Pace
from switch.switchd import Switchd
from tests.switch.cluster import eventually, read_node

QUICK = Pace(
    dead_after_seconds=0.5,
    probe_interval_seconds=0.05,
    answer_timeout_seconds=0.3,
    lease_seconds=1.0,
    refresh_interval_seconds=0.05,
    first_reconnect_seconds=0.05,
)


class Running:
    """A switchd at work; `stop` ends it as SIGTERM does."""

    def __init__(self, database: Database, settings: Settings, pace: Pace) -> None:
        self._switchd = Switchd(database, settings, pace=pace)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._switchd.run(self._stop))

    @property
    def holder(self) -> str:
        """How it signs its leases."""
        return self._switchd.holder

    async def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        self._stop.set()
        await asyncio.wait_for(self._task, 15)


@asynccontextmanager
async def running(database: Database, settings: Settings, *, pace: Pace = QUICK) -> AsyncGenerator[Running]:
    """A switchd that runs until the end of the block."""
    at_work = Running(database, settings, pace)
    try:
        yield at_work
    finally:
        await at_work.stop()


async def becomes(database: Database, name: str, test: Callable[[Node], bool]) -> Node:
    """Wait until a node's row is so, and return it."""

    async def holds() -> bool:
        return test(await read_node(database, name))

    await eventually(holds)
    return await read_node(database, name)


async def jobs_woken(database: Database) -> list[tuple[str, str | None]]:
    """Every job that was woken, with the node that it is about, in this order."""
    async with database.transaction(Scope.platform()) as session:
        connection = await session.connection()
        query = "SELECT task_name, args ->> 'node' AS node FROM procrastinate_jobs ORDER BY id"
        rows = await connection.exec_driver_sql(query)
        return [(str(row.task_name), row.node) for row in rows]
