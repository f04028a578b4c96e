"""A line to a node's event socket that a test can cut in the middle of an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import psycopg
from sqlalchemy.engine import make_url

from tests.live.system import LOOPBACK, LiveSystem

READ_BYTES = 65_536


class CutLine:
    """Passes on what both sides say, until `cut_within_event` ends it after half of what the node says next."""

    def __init__(self, node_port: int) -> None:
        self._node_port = node_port
        self._is_to_cut = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.connections = 0
        self.cuts = 0

    async def open(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    def cut_within_event(self) -> None:
        """The next thing that the node says arrives by half; then the line is dead."""
        self._is_to_cut = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            node_reader, node_writer = await asyncio.open_connection(LOOPBACK, self._node_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(node_writer)
        ends = (writer, node_writer)
        for work in (self._pass_on(reader, node_writer, ends), self._pass_events(node_reader, writer, ends)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                writer.write(data)
        for each in ends:
            each.transport.abort()

    async def _pass_events(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if self._is_to_cut and b"text/event-plain" in data:
                    self._is_to_cut = False
                    self.cuts += 1
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    break
                writer.write(data)
        for each in ends:
            each.transport.abort()


@asynccontextmanager
async def cuttable(system: LiveSystem, node: str) -> AsyncGenerator[CutLine]:
    """Let the supervisor reach a node over such a line; at the end it reaches it directly again."""
    url = make_url(system.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await connection.execute("SELECT esl_port FROM node WHERE name = %s", (node,))
        row = await found.fetchone()
        assert row is not None
        line = CutLine(int(row[0]))
        port = await line.open()
        try:
            await connection.execute("UPDATE node SET esl_port = %s WHERE name = %s", (port, node))
            yield line
        finally:
            await connection.execute("UPDATE node SET esl_port = %s WHERE name = %s", (row[0], node))
            await line.close()
