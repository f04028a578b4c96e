"""The stand-in on a socket of its own."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import urlsplit

from billing.cards.stand_in.account import Account
from billing.cards.stand_in.deliveries import Deliveries
from billing.cards.stand_in.requests import Answer, Desk, Request

BODY_LIMIT_BYTES = 1_000_000
READ_TIMEOUT_SECONDS = 30.0


class StandIn:
    """A Stripe on `url`: `account` is what happens there, `deliveries` what it tells the webhook, `desk` its API."""

    def __init__(self, *, secret_key: str, webhook_secret: str, webhook_url: str) -> None:
        self.deliveries = Deliveries(webhook_url, secret=webhook_secret)
        self.account = Account(self.deliveries.tell)
        self.desk = Desk(self.account, secret_key=secret_key)
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, `url` says which."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.url = f"http://{host}:{self._server.sockets[0].getsockname()[1]}"
        self.account.page_url = self.url
        self.deliveries.start()

    async def stop(self) -> None:
        """End; its state is gone with it."""
        await self.deliveries.stop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                answer = self.desk.answer(await _read(reader))
            if answer is not None:
                writer.write(_written(answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError, ValueError):
            return  # the caller left, or speaks no HTTP
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest) if name}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= BODY_LIMIT_BYTES:
        raise ValueError("the body is too long")
    parts = urlsplit(target)
    return Request(method, parts.path, parts.query, headers, await reader.readexactly(length))


def _written(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.media_type}",
        f"Content-Length: {len(answer.body)}",
        *(f"{name.title()}: {value}" for name, value in answer.headers.items()),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
