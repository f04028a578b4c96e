"""A few PostgreSQL connections of their own for the hot paths, beside the pool of the units of work.

The switch asks thousands of times a second; a statement on such a connection costs one round trip and no ORM.
Every statement is its own transaction (autocommit), so it sees everything committed before it began.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import make_url

from infra.kit import logs
from infra.kit.database import PLATFORM_ROLE
from infra.kit.problems import Unavailable

log = logs.get(__name__)
Result = TypeVar("Result")
PlainConnection = AsyncConnection[tuple[Any, ...]]

CONNECT_TIMEOUT_SECONDS = 2
"""psycopg takes no less; a database that is away refuses at once, only a silent network takes this long."""


class DirectConnections:
    """Lends connections under the platform's role; makes them when needed and anew when they have died.

    `limit` of them are kept at most for later use. The server ends a statement after `statement_timeout_seconds`.
    `planner`: settings of PostgreSQL for these sessions, `name=value`.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        limit: int,
        statement_timeout_seconds: float,
        planner: tuple[str, ...] = (),
    ) -> None:
        self._conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        milliseconds = int(statement_timeout_seconds * 1000)
        settings = (
            f"role={PLATFORM_ROLE}",
            "timezone=UTC",
            f"statement_timeout={milliseconds}",
            f"lock_timeout={milliseconds}",
            *planner,
        )
        self._options = " ".join(f"-c {setting}" for setting in settings)
        self._name = name
        self._limit = limit
        self._idle: list[PlainConnection] = []
        self._closed = False

    async def run(self, work: Callable[[PlainConnection], Awaitable[Result]]) -> Result:
        """What `work` returns on a connection of its own; `Unavailable` when the database is away.

        `work` runs a second time when the connection turns out to have died since its last use, so it may happen
        twice: its statements must be harmless when repeated.
        """
        connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                return await self._work_on(connection, work)
            except psycopg.OperationalError as error:
                if not connection.broken:
                    raise _unavailable(error) from error
                log.info("direct_connection.lost", name=self._name, reason=type(error).__name__)
                await self._drop_idle()  # they were made at the same time and have most likely died with it
        try:
            return await self._work_on(await self._connect(), work)
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close the idle connections now and the lent ones when they come back."""
        self._closed = True
        await self._drop_idle()

    async def _work_on(
        self, connection: PlainConnection, work: Callable[[PlainConnection], Awaitable[Result]]
    ) -> Result:
        try:
            return await work(connection)
        finally:
            reusable = connection.info.transaction_status is TransactionStatus.IDLE  # neither dead nor half-way
            if reusable and not self._closed and len(self._idle) < self._limit:
                self._idle.append(connection)
            else:
                await connection.close()

    async def _connect(self) -> PlainConnection:
        return await AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=0,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            options=self._options,
            application_name=f"seatline {self._name}",
        )

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


def _unavailable(error: BaseException) -> Unavailable:
    log.warning("direct_connection.database_away", reason=type(error).__name__)
    return Unavailable("The database does not answer. Try again shortly.")
