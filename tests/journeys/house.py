"""A house where everything exists once for one tenant, and the form of a request that changes something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import text

from billing.cards.stand_in.server import StandIn
from tests.switch.esl.scripted_node import ScriptedNode
from tests.world import Customer, Desk, World

NOT_DATA = ("access_token",)
"""Tables that signing in changes, whatever the request."""

_TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
"""
"""A table without a page has never had a row."""


@dataclass(frozen=True)
class Example:
    """A POST that succeeds: who sends it, where to, and its JSON body (None: it has none) or its bytes."""

    desk: Desk
    path: str
    body: dict[str, Any] | None = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])

    async def send(self, *, by: Desk | None = None, key: str | None = None, **more: Any) -> httpx.Response:
        """Send it, with an Idempotency-Key or with `more` fields in its body."""
        headers = self.headers | ({"idempotency-key": key} if key else {})
        arguments: dict[str, Any] = {}
        if self.content is not None:
            arguments["content"] = self.content
        elif self.body is not None:
            arguments["json"] = self.body | more
        return await (by or self.desk).send("POST", self.path, headers=headers, **arguments)


@dataclass
class House:
    """`theirs` has one of everything; `ours` is its neighbour and looks over the fence."""

    world: World
    stand_in: StandIn
    event_socket: ScriptedNode
    """Of a node that does whatever it is told."""
    ours: Customer
    theirs: Customer
    ids: dict[str, str]
    """By the names that path parameters have."""
    _last: tuple[str, dict[str, str]] | None = field(default=None, init=False)
    """Where the server's log of changes ended when the contents were read, and what they were."""

    async def description(self) -> dict[str, Any]:
        """What the API says of itself."""
        return (await self.world.api.http.get("/schema/openapi.json")).json()

    async def routes(self, method: str) -> list[tuple[str, dict[str, Any]]]:
        """Every path under /v1 with this method, and its operation."""
        paths: dict[str, dict[str, Any]] = (await self.description())["paths"]
        return [
            (path, operations[method])
            for path, operations in sorted(paths.items())
            if path.startswith("/v1/") and method in operations and not _is_stream(operations[method])
        ]

    def filled(self, path: str) -> str:
        """A path with the ids of `theirs` in it."""
        return path.format_map(self.ids)

    async def contents(self) -> dict[str, str]:
        """A digest of the rows of every table that has any: two that are equal mean that nothing has changed.

        A partitioned table has its rows in its partitions. Where the server has logged no change since the last time,
        there is nothing to read again.
        """
        async with self.world.api.database.engine.connect() as connection:
            log_ends = str(await connection.scalar(text("SELECT pg_current_wal_insert_lsn()")))
            if self._last is not None and self._last[0] == log_ends:
                return self._last[1]
            tables = sorted(set((await connection.execute(text(_TABLES))).scalars()) - {*NOT_DATA})
            digests = " UNION ALL ".join(
                f"SELECT '{table}' AS name, md5(string_agg(t::text, E'\\n' ORDER BY t::text)) AS digest "  # noqa: S608
                f'FROM "{table}" AS t'
                for table in tables
            )
            rows = await connection.exec_driver_sql(digests)
            self._last = log_ends, {row.name: row.digest for row in rows if row.digest is not None}
            return self._last[1]


def _is_stream(operation: dict[str, Any]) -> bool:
    """Whether an answer has no end; such a route has tests of its own."""
    return "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
