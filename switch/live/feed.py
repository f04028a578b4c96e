"""Tells the streams of one API process that something has changed: one look at the database a second for all of them.

It looks only while somebody listens. How many may listen is limited, for the process, each tenant and each client; and
how many of them are at the database at once, since the rest of the process needs it too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from infra.kit import logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal
from switch.live.errors import TooManyStreams
from switch.live.models import LiveNode
from switch.live.pictures import Pictures

MAX_STREAMS = 200
MAX_STREAMS_A_TENANT = 50
"""However many clients and people it has: nobody takes all streams of a process."""
MAX_STREAMS_A_CLIENT = 10
MAX_READERS = 4
"""Connections that all streams of a process use at once, besides the one look."""

LOOK_INTERVAL_SECONDS = 1.0

log = logs.get(__name__)


class LiveFeed:
    """The one look of a process."""

    def __init__(self, database: Database, *, look_interval_seconds: float = LOOK_INTERVAL_SECONDS) -> None:
        self._database = database
        self._look_interval_seconds = look_interval_seconds
        self.readers = asyncio.Semaphore(MAX_READERS)
        self.pictures = Pictures(database, revision=lambda: self._revision, readers=self.readers)
        self._revision = 0
        """Grows whenever what the nodes say differs from the last look."""
        self._nodes: tuple[int, int] | None = None
        self._changed = asyncio.Event()
        self._listeners: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()
        self._looking: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many streams there are."""
        return self._listeners.total()

    def check(self, client_id: str, tenant_id: str | None = None) -> None:
        """Raise `TooManyStreams` when this client (of this tenant) may not open another stream now."""
        if self.listeners >= MAX_STREAMS:
            raise TooManyStreams(f"This server has {MAX_STREAMS} streams, as many as it serves; try again later.")
        if self._listeners[client_id] >= MAX_STREAMS_A_CLIENT:
            raise TooManyStreams(f"This client has {MAX_STREAMS_A_CLIENT} streams already; close one first.")
        if tenant_id is not None and self._tenants[tenant_id] >= MAX_STREAMS_A_TENANT:
            raise TooManyStreams(f"The tenant has {MAX_STREAMS_A_TENANT} streams already; close one first.")

    @contextmanager
    def listening(self, client_id: str, tenant_id: str | None = None) -> Generator[None]:
        """Count a stream while it lasts. Raises `TooManyStreams`."""
        self.check(client_id, tenant_id)
        self._listeners[client_id] += 1
        if tenant_id is not None:
            self._tenants[tenant_id] += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="live feed")
        try:
            yield
        finally:
            _count_down(self._listeners, client_id)
            if tenant_id is not None:
                _count_down(self._tenants, tenant_id)
            if not self._listeners:
                self._stop_looking()

    async def wait(self, seen: int, *, limit_seconds: float) -> int:
        """The revision as soon as it is another than `seen`, or as it is when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                while self._revision == seen:
                    await self._changed.wait()
        return self._revision

    async def close(self) -> None:
        """Look no more."""
        looking = self._looking
        self._stop_looking()
        if looking is not None:
            await asyncio.wait([looking])

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        while True:
            try:
                async with self._database.transaction(Scope.platform()) as session:
                    query = select(func.coalesce(func.sum(LiveNode.revision), 0), func.count())
                    revisions, count = (await session.execute(query.select_from(LiveNode))).one()
            except (Refusal, SQLAlchemyError, OSError) as error:
                log.warning("live.feed_interrupted", reason=type(error).__name__)
            else:
                if (nodes := (int(revisions), int(count))) != self._nodes:  # a node that has left makes the sum less
                    self._nodes = nodes
                    self._revision += 1
                    self._changed.set()
                    self._changed = asyncio.Event()
            await asyncio.sleep(self._look_interval_seconds)


def _count_down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
