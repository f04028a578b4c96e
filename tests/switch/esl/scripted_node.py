"""An event socket that does as the test says: each command is answered from a table, and bytes go out on
demand.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

PASSWORD = "open sesame"


def command_reply(text: str) -> bytes:
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def api_response(text: str) -> bytes:
    body = text.encode()
    return b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(body), body)


def event_plain(name: str, body: str = "", **headers: str) -> bytes:
    lines = [f"Event-Name: {name}", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    content = ("\n".join(lines) + "\n\n" + body).encode()
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(content), content)


class ScriptedNode:
    """`answers` maps a command's first line to the bytes that answer it; None means silence."""

    def __init__(self) -> None:
        self.greeting = b"Content-Type: auth/request\n\n"
        self.answers: dict[str, bytes | None] = {}
        self.answer_seconds = 0.0
        """How long each answer takes, one after another."""
        self.commands: list[str] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.close()
            self.drop()
            await self._server.wait_closed()
            self._server = None

    def send(self, data: bytes) -> None:
        """To every open connection."""
        for writer in self._writers:
            writer.write(data)

    def drop(self) -> None:
        """Cut every connection as a crash does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def saw(self, command: str, *, times: int = 1) -> None:
        """Wait until a command with this first line has come."""
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: self.commands.count(command) >= times)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            writer.write(self.greeting)
            while True:
                lines = (await reader.readuntil(b"\n\n")).decode().strip().split("\n")
                if self.answer_seconds:
                    await asyncio.sleep(self.answer_seconds)
                answer = self._answer(lines)
                async with self._news:
                    self.commands.append(lines[0])
                    self._news.notify_all()
                if answer is not None:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, OSError):
            return  # the client left
        finally:
            writer.close()

    def _answer(self, lines: list[str]) -> bytes | None:
        command = lines[0]
        if command in self.answers:
            return self.answers[command]
        if command.startswith("auth "):
            return command_reply("+OK accepted" if command == f"auth {PASSWORD}" else "-ERR invalid")
        if command.startswith("event plain"):
            return command_reply("+OK event listener enabled plain")
        if command.startswith("bgapi "):
            job_id = lines[1].removeprefix("Job-UUID: ")
            reply = command_reply(f"+OK Job-UUID: {job_id}")
            return reply + event_plain("BACKGROUND_JOB", f"+OK {command[6:]} done\n", Job_UUID=job_id)
        if command.startswith("api "):
            return api_response(f"+OK {command[4:]}\n")
        return command_reply("+OK")
