"""A link to one node that heals itself: reconnects with growing waits, subscribes anew, notices silence."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from switch.esl.client import DEFAULT_TIMEOUT_SECONDS, EslConnection
from switch.esl.errors import EslConnectionLost, EslError
from switch.esl.event_queue import MAX_QUEUED_EVENTS
from switch.esl.fencing import FencedConnection
from switch.esl.frames import Event

HEARTBEAT = "HEARTBEAT"

_Subject = TypeVar("_Subject")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: they double from the first to the longest, each cut by up to `jitter` of
    itself.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    jitter: float = 0.5

    def wait_seconds(self, failures: int, chance: float) -> float:
        """The wait after this many failures in a row (1 or more); `chance` is from 0 to 1."""
        full = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return full * (1.0 - self.jitter * chance)


class LinkState(Enum):
    """What a link is doing."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where to connect and how patient to be. By default FreeSWITCH sends a HEARTBEAT every 20 s."""

    host: str
    port: int
    password: str = field(repr=False)
    events: tuple[str, ...] = ()
    connect_timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    resynchronisation_timeout_seconds: float = 60.0
    silence_limit_seconds: float = 65.0
    max_queued_events: int = MAX_QUEUED_EVENTS
    backoff: Backoff = field(default_factory=Backoff)


OnConnected = Callable[[EslConnection], Awaitable[None]]
OnEvent = Callable[[Event], Awaitable[None]]
OnLost = Callable[[EslError], Awaitable[None]]


async def _ignore(_: object) -> None:
    """The callback of those who do not want one."""


class EslLink:
    """Keeps one connection to a node alive while `run` runs.

    After every (re)connect, and after events had to be dropped, `on_connected` is awaited: there the owner
    reads the node's state back (events sent meanwhile wait in the queue). Then `on_event` is awaited for each
    event in order. `on_lost` tells that a connection, or an attempt at one, failed. A callback that fails is
    logged and, for `on_connected`, counts as a failed attempt. `may_tell` says whether the node may be told
    anything now (`FencedConnection`). `wait` and `chance` exist so that tests need neither time nor luck.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        on_connected: OnConnected = _ignore,
        on_event: OnEvent = _ignore,
        on_lost: OnLost = _ignore,
        may_tell: Callable[[], bool] | None = None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.state = LinkState.STOPPED
        self.connects = 0
        self.failures_in_a_row = 0
        self.failed_callbacks = 0
        self.dropped_events = 0
        self.last_error: EslError | None = None
        self._on_connected = on_connected
        self._on_event = on_event
        self._on_lost = on_lost
        self._may_tell = may_tell
        self._wait = wait
        self._chance = chance
        self._connection: EslConnection | None = None

    def __repr__(self) -> str:
        return f"<EslLink {self.settings.host}:{self.settings.port} {self.state.value}>"

    @property
    def connection(self) -> EslConnection:
        """The connection for commands. Raises EslConnectionLost while there is none."""
        if self._connection is None or not self._connection.is_open:
            raise EslConnectionLost(
                f"no event-socket connection to {self.settings.host}:{self.settings.port} at the moment "
                f"({self.last_error or self.state.value}); the link keeps trying"
            )
        return self._connection

    async def run(self) -> None:
        """Connect, serve, reconnect, until this task is cancelled."""
        try:
            while True:
                error = await self._serve_once()
                self.last_error = error
                self.failures_in_a_row += 1
                await self._tell(self._on_lost, error, "on_lost")
                self.state = LinkState.WAITING
                wait_seconds = self.settings.backoff.wait_seconds(self.failures_in_a_row, self._chance())
                _log.info("%r: %s; next attempt in %.1f s", self, error, wait_seconds)
                await self._wait(wait_seconds)
        finally:
            self.state = LinkState.STOPPED

    async def _serve_once(self) -> EslError:
        """One connection's life; returns why it ended."""
        settings = self.settings
        self.state = LinkState.CONNECTING
        connection: FencedConnection | None = None
        try:
            connection = await FencedConnection.open(
                settings.host,
                settings.port,
                settings.password,
                timeout_seconds=settings.connect_timeout_seconds,
                max_queued_events=settings.max_queued_events,
            )
            connection.may_tell = self._may_tell
            events = dict.fromkeys((HEARTBEAT, *settings.events))
            await connection.subscribe(*events, timeout_seconds=settings.connect_timeout_seconds)
            self._connection = connection
            await self._resynchronise(connection)
            self.state = LinkState.CONNECTED
            self.connects += 1
            self.failures_in_a_row = 0
            await self._pump(connection)
        except EslError as error:
            return error
        finally:
            self._connection = None
            if connection is not None:
                await connection.close()
        return EslConnectionLost("the connection was closed on this side")

    async def _resynchronise(self, connection: EslConnection) -> None:
        limit_seconds = self.settings.resynchronisation_timeout_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                await self._on_connected(connection)
        except EslError:
            raise
        except TimeoutError:
            raise EslConnectionLost(f"reading the node's state took longer than {limit_seconds:g} s") from None
        except Exception as error:
            self.failed_callbacks += 1
            _log.exception("%r: on_connected failed", self)
            raise EslConnectionLost(f"reading the node's state failed: {type(error).__name__}") from error

    async def _pump(self, connection: EslConnection) -> None:
        """Hand events on until the connection breaks or falls silent."""
        settings = self.settings
        seen_dropped = 0
        while True:
            try:
                async with asyncio.timeout(settings.silence_limit_seconds):
                    event = await connection.next_event()
            except EslError:
                raise
            except TimeoutError:
                raise EslConnectionLost(
                    f"the node sent no event, not even a HEARTBEAT, for {settings.silence_limit_seconds:g} s"
                ) from None
            if event is None:
                return
            await self._tell(self._on_event, event, "on_event")
            if connection.dropped_events > seen_dropped:
                # What still waits is older than the state that is about to be read: drop it too, counted.
                connection.discard_queued_events()
                self.dropped_events += connection.dropped_events - seen_dropped
                seen_dropped = connection.dropped_events
                _log.warning("%r: %d events dropped so far, resynchronising", self, self.dropped_events)
                await self._resynchronise(connection)

    async def _tell(self, callback: Callable[[_Subject], Awaitable[None]], subject: _Subject, name: str) -> None:
        """Run a callback; its failure must not take the link down, so it is logged and counted."""
        try:
            await callback(subject)
        except Exception:
            self.failed_callbacks += 1
            _log.exception("%r: %s failed", self, name)
