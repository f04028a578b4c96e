"""The load client: keep-alive HTTP/1.1 over a few connections, in a process of its own.

Requests are encoded beforehand, and answers are looked at no further than needed, so that what is measured is the
server. Each connection sends its next request when the answer to the last one is there.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import re
import time  # durations are measured on the monotonic clock, which all processes of a machine share
import uuid
from array import array
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

FRESH_UUID = b"00000000-0000-4000-8000-00000000bec4"
"""Wherever it stands in a request, every sending has a UUID of its own instead."""

OVERTIME_SECONDS = 15.0
"""How long the last answers may take after the end of a load."""

NOT_FOUND = b'status="not found"'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_OK = b"200"


class LoadBroken(Exception):
    """The measurement is worthless: requests failed, or connections were lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send where: over and over for `seconds`, or (`once`) each request one time."""

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float
    once: bool = False


@dataclass(slots=True)
class Outcome:
    """What came back, one entry an answer: which request, when it was sent and answered (monotonic seconds), and
    whether it was accepted (200, and no document that says "not found")."""

    began_at: float = 0.0
    ended_at: float = 0.0
    failed: int = 0
    indexes: array[int] = field(default_factory=lambda: array("l"))
    sent_at: array[float] = field(default_factory=lambda: array("d"))
    answered_at: array[float] = field(default_factory=lambda: array("d"))
    accepted: array[int] = field(default_factory=lambda: array("b"))

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.indexes) / (self.ended_at - self.began_at)

    def latency_milliseconds(self, share: float) -> float:
        """The time within which this share of the answers came (0.99: the 99th percentile)."""
        sorted_seconds = sorted(after - before for before, after in zip(self.sent_at, self.answered_at, strict=True))
        return 1000 * sorted_seconds[min(len(sorted_seconds) - 1, int(share * len(sorted_seconds)))]

    def check(self, *, all_accepted: bool = True) -> Outcome:
        """Itself; raises `LoadBroken` when requests failed or (`all_accepted`) were not accepted."""
        if self.failed or not self.indexes:
            raise LoadBroken(f"{self.failed} requests failed, {len(self.indexes)} were answered.")
        if all_accepted and not all(self.accepted):
            raise LoadBroken(f"{len(self.accepted) - sum(self.accepted)} of {len(self.accepted)} were not accepted.")
        return self


def post(path: str, body: bytes, *, content_type: str, authorization: str | None = None) -> bytes:
    """An encoded POST; a fresh UUID keeps its length."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: */*",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class LoadClient:
    """Drives loads in its process, one after another."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def start(self, load: Load) -> Future[Outcome]:
        """Begin a load; its outcome comes with the future."""
        return self._pool.submit(drive, load)

    def run(self, load: Load) -> Outcome:
        """Drive a load to its end."""
        return self.start(load).result(timeout=load.seconds + 2 * OVERTIME_SECONDS)


@contextmanager
def load_client() -> Generator[LoadClient]:
    """A load client; its process ends with the block."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(time.monotonic).result()
        yield LoadClient(pool)


def drive(load: Load) -> Outcome:
    """Send, and gather what comes back."""
    return asyncio.run(_drive(load))


async def _drive(load: Load) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    numbers = iter(range(len(load.requests))) if load.once else itertools.count()
    parts = [request.split(FRESH_UUID) for request in load.requests]
    deadline = loop.time() + load.seconds
    outcome.began_at = time.monotonic()
    lines = [_Line(parts, numbers, outcome, deadline) for _ in range(load.connections)]
    async with asyncio.timeout(load.seconds + OVERTIME_SECONDS):
        for line in lines:
            await loop.create_connection(lambda line=line: line, "127.0.0.1", load.port)
        await asyncio.gather(*(line.ended for line in lines))
    outcome.ended_at = time.monotonic()
    return outcome


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, requests: Sequence[Sequence[bytes]], numbers: Iterator[int], outcome: Outcome, deadline: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests = requests
        self._numbers = numbers
        self._outcome = outcome
        self._deadline = deadline
        self._buffer = b""
        self._index = 0
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self._outcome.failed += 1
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer = data if not self._buffer else self._buffer + data
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head_end)
        size = 0 if length is None else int(length.group(1))
        if len(self._buffer) < head_end + len(_HEAD_END) + size:
            return
        self._answered(self._buffer)
        self._buffer = b""
        self._send()

    def _answered(self, answer: bytes) -> None:
        if answer[9:12] != _OK:
            self._outcome.failed += 1
            return
        self._outcome.indexes.append(self._index)
        self._outcome.sent_at.append(self._sent_at)
        self._outcome.answered_at.append(time.monotonic())
        self._outcome.accepted.append(NOT_FOUND not in answer)

    def _send(self) -> None:
        assert self._transport is not None
        number = next(self._numbers, None) if self._loop.time() < self._deadline else None
        if number is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._index = number % len(self._requests)
        parts = self._requests[self._index]
        request = parts[0] if len(parts) == 1 else str(uuid.uuid4()).encode().join(parts)
        self._sent_at = time.monotonic()
        self._transport.write(request)
