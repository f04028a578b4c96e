"""The part of a node's supervisor that has the relay guard judge what the node tells of and what runs there.

It works beside the link: a node that answers slowly holds up neither its events nor the reading of its state. Nothing
that has to be judged is forgotten: what the node did not answer for is judged again, and everything that runs is looked
at after every connection, whenever events were dropped, and every `compare_interval_seconds`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from infra.kit import logs
from switch.esl.client import EslConnection
from switch.esl.errors import EslConnectionLost, EslError
from switch.esl.frames import Event
from switch.esl.link import EslLink
from switch.relay_guard import CHANNEL_ANSWER, CHANNEL_BRIDGE, Legs, RelayGuard

EVENTS = (CHANNEL_BRIDGE, CHANNEL_ANSWER)
"""What the link has to subscribe to."""

COMPARE_INTERVAL_SECONDS = 15.0
MAX_WAITING = 2_000
"""Calls that wait to be judged; where there are more, all that run are looked at instead."""

JUDGED_AT_ONCE = 8
"""So that a distant node is not asked one by one. A node that is slow is: then no answer waits behind others."""

log = logs.get(__name__)


class RelayWatch:
    """Has the calls of one node judged; `run` works while a lease lasts."""

    def __init__(
        self,
        node: str,
        *,
        answer_timeout_seconds: float,
        retry_interval_seconds: float,
        compare_interval_seconds: float = COMPARE_INTERVAL_SECONDS,
    ) -> None:
        self._node = node
        self._guard = RelayGuard(node, answer_timeout_seconds)
        self._retry_interval_seconds = retry_interval_seconds
        self._compare_interval_seconds = compare_interval_seconds
        self._news = asyncio.Event()
        self._waiting: dict[Legs, None] = {}
        self._must_compare = True
        self._compared_seconds = 0.0
        self._is_slow = False

    def note(self, event: Event) -> None:
        """Take in an event of the link, if it is one of `EVENTS`. Never waits."""
        legs = self._guard.concerns(event) if event.name in EVENTS else None
        if legs is not None:
            self._put(legs)
            self._news.set()

    def connected(self) -> None:
        """There is a new connection, or events were dropped: whatever runs has to be judged."""
        self._must_compare = True
        self._news.set()

    async def run(self, link: EslLink) -> None:
        """Judge until cancelled. A node that is away is waited for."""
        self._must_compare = True
        while True:
            wait_seconds = self._compare_interval_seconds
            try:
                await self.look(link.connection)
            except EslConnectionLost:
                self._must_compare = True
            except EslError as error:
                reason = f"{type(error).__name__}: {error}"[:300]
                log.warning("relay_watch.interrupted", node=self._node, reason=reason, waiting=len(self._waiting))
            if self._waiting or self._must_compare:
                wait_seconds = self._retry_interval_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._news.wait()
            self._news.clear()

    async def look(self, connection: EslConnection) -> None:
        """Judge what waits, and whatever runs where it is time to; what was not answered for waits on.

        Raises `EslError` when something was not judged.
        """
        is_due = time.monotonic() - self._compared_seconds >= self._compare_interval_seconds
        if self._must_compare or is_due:
            self._must_compare = True
            found = await self._guard.doubtful(connection)
            self._must_compare = False
            self._compared_seconds = time.monotonic()
            for legs in found:
                self._put(legs)
        at_once = 1 if self._is_slow else JUDGED_AT_ONCE
        waiting, self._waiting = list(self._waiting), {}
        self._is_slow = False
        for first in range(0, len(waiting), at_once):
            bunch = waiting[first : first + at_once]
            results = await asyncio.gather(*(self._judge(legs, connection) for legs in bunch))
            failed = {legs: failure for legs, failure in zip(bunch, results, strict=True) if failure is not None}
            if failed:
                self._is_slow = True
                for legs in (*waiting[first + at_once :], *failed):  # those last, so that they hold up no others
                    self._put(legs)
                raise next(iter(failed.values()))

    async def _judge(self, legs: Legs, connection: EslConnection) -> EslError | None:
        try:
            await self._guard.judge(legs, connection)
        except EslError as error:
            return error
        return None

    def _put(self, legs: Legs) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting[legs] = None
        else:
            self._must_compare = True
