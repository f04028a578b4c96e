"""Sends webhooks: a loop beside the jobs of every worker, so that waiting for slow targets takes no job's place.

No target holds up another: each endpoint has few messages under way, those that failed or were slow share a small
part of all places, and each attempt ends after seconds. Several workers share the work by locks that they skip.
"""

from __future__ import annotations

import asyncio
import time

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Unavailable
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from tenancy.webhooks import claims, signing
from tenancy.webhooks.claims import Candidate, Claimed
from tenancy.webhooks.posting import Poster
from tenancy.webhooks.targets import Resolver

log = logs.get(__name__)
LOOK_EVERY_SECONDS = 1.0
PLACES = 64
"""Messages under way at once in one process."""
SLOW_PLACES = 24
"""Of these, for endpoints whose last attempt failed or was slow."""
NOTES_AT_ONCE = 3
"""Connections to the database that outcomes are written with."""
STOP_SECONDS = 2.0
LEFT_ALONE_SECONDS = 300.0
"""After a defect of ours with one endpoint."""


def poster_for(settings: Settings) -> Poster:
    """The poster of an installation: outside development it reaches public addresses only."""
    return Poster(Resolver(inside_allowed=settings.environment == "development"))


class Sender:
    """The sending of one process."""

    def __init__(
        self, database: Database, seal: Seal, poster: Poster, *, places: int = PLACES, slow_places: int = SLOW_PLACES
    ) -> None:
        self._database = database
        self._seal = seal
        self._poster = poster
        self._places = places
        self._slow_places = slow_places
        self._under_way: dict[asyncio.Task[None], Claimed] = {}
        self._noting = asyncio.Semaphore(NOTES_AT_ONCE)
        self._ended = asyncio.Event()
        self._left_alone: dict[Candidate, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until `stop`; a database that is away is waited for. What is then under way is sent again
        by whoever comes next, when its claim has run out."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._ended.clear()
                begun = 0
                try:
                    begun = await self.begin_due()
                except (Unavailable, OSError) as error:
                    log.warning("webhooks.database_away", error=str(error))
                if not begun:
                    await self._wait(stopping)
        finally:
            stopping.cancel()
            await self._stop()

    async def send_due(self) -> None:
        """Send everything that is due now and wait for the answers."""
        while True:
            was_idle = not self._under_way  # an endpoint whose outcome is just being noted is passed over
            begun = await self.begin_due()
            if not begun and was_idle:
                return
            if self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def begin_due(self) -> int:
        """Begin to send what is due and has a place; returns how many messages."""
        begun = 0
        for slow in (False, True):
            now, limit = clock.now(), self._free(slow=slow)
            async with self._database.transaction(Scope.platform()) as session:
                waiting = await claims.candidates(session, now, slow=slow, limit=limit)
            for candidate in waiting:
                begun += await self._begin(candidate, slow=slow)
        return begun

    def _free(self, *, slow: bool) -> int:
        """How many more messages may be begun: slow endpoints never take the places of the others."""
        free = self._places - len(self._under_way)
        if not slow:
            return free
        return min(free, self._slow_places - sum(each.is_slow for each in self._under_way.values()))

    async def _begin(self, candidate: Candidate, *, slow: bool) -> int:
        limit = self._free(slow=slow)
        if limit <= 0 or self._left_alone.get(candidate, 0.0) > time.monotonic():
            return 0
        try:
            async with self._database.transaction(Scope.platform()) as session:
                claimed = await claims.claim(session, candidate, self._seal, limit=limit)
        except (Unavailable, OSError):
            raise
        except Exception:  # a defect with one endpoint is not to stop the others
            log.exception("webhook.not_claimed", tenant_id=candidate.tenant_id, endpoint_id=candidate.endpoint_id)
            self._left_alone[candidate] = time.monotonic() + LEFT_ALONE_SECONDS
            return 0
        for each in claimed:
            task = asyncio.create_task(self._send(each))
            self._under_way[task] = each
            task.add_done_callback(self._end)
        return len(claimed)

    def _end(self, task: asyncio.Task[None]) -> None:
        claimed = self._under_way.pop(task)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook.failed", tenant_id=claimed.tenant_id, delivery_id=claimed.delivery_id, exc_info=error)

    async def _send(self, claimed: Claimed) -> None:
        begun_at = clock.now()
        headers = signing.headers(claimed.secrets, claimed.event_id, int(begun_at.timestamp()), claimed.body)
        posted = await self._poster.post(claimed.url, headers, claimed.body)
        try:
            async with self._noting, self._database.transaction(Scope.platform()) as session:
                await claims.note(session, claimed, begun_at, posted)
        except (Unavailable, OSError) as error:  # the claim runs out and it is sent once more
            log.warning("webhooks.database_away", error=str(error))

    async def _wait(self, stopping: asyncio.Task[bool]) -> None:
        """Until it is time to look again, a place is free, or the end."""
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({ended, stopping}, timeout=LOOK_EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()

    async def _stop(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


async def run_sender(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Send webhooks until `stop`."""
    poster = poster_for(settings)
    try:
        await Sender(database, Seal(settings.secret_key), poster).run(stop)
    finally:
        await poster.close()
