"""The application behind a real socket, so that nodes can ask it as they ask a server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from infra.app import asgi
from infra.kit.database import Database
from infra.kit.settings import Settings

_HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "expect"}


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A small HTTP server that hands every request to an ASGI application; one request a connection."""

    def __init__(self, application: Any) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://seatline.test")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head.split("\r\n")
            method, target, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest) if name}
            if headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            passed = {name: value for name, value in headers.items() if name not in _HOP_HEADERS}
            answer = await self._http.request(method, target, content=body, headers=passed)
            lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}", f"Content-Length: {len(answer.content)}"]
            lines += [f"{name}: {value}" for name, value in answer.headers.items() if name not in _HOP_HEADERS]
            writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + answer.content)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the caller left
        finally:
            writer.close()

    async def close(self) -> None:
        """Let go of the application."""
        await self._http.aclose()


@asynccontextmanager
async def served(settings: Settings, database: Database) -> AsyncGenerator[Settings]:
    """Serve the whole application; yields the settings with its `public_url`."""
    port = free_port()
    reachable = replace(settings, public_url=f"http://127.0.0.1:{port}")
    office = Served(asgi.build(reachable, database))
    server = await asyncio.start_server(office.serve, "127.0.0.1", port)
    try:
        yield reachable
    finally:
        server.close()
        await office.close()
