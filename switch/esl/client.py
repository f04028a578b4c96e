"""A client for FreeSWITCH's event socket (mod_event_socket): commands, background jobs, an ordered event stream."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from switch.esl.errors import (
    EslAccessDenied,
    EslArgumentRefused,
    EslAuthenticationRefused,
    EslCommandRefused,
    EslConnectionLost,
    EslError,
    EslProtocolError,
    EslTimeout,
    EslTooManyCommands,
)
from switch.esl.event_queue import MAX_QUEUED_EVENT_BYTES, MAX_QUEUED_EVENTS, EventQueue
from switch.esl.frames import EVENT_JSON, EVENT_PLAIN, Event, Frame, FrameParser, parse_event

DEFAULT_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 2.0
MAX_UNSENT_BYTES = 1024 * 1024
MAX_ANSWER_WAIT_SECONDS = 120.0
"""Answers come in order, so one that is out this long has stopped all commands: the connection is given up."""

MAX_PENDING_COMMANDS = 1_000
MAX_COMMAND_CHARACTERS = 32_768
_READ_BYTES = 65_536
_REFUSALS = ("-ERR", "-USAGE")
_FORBIDDEN = frozenset("\r\n\0")
_BACKGROUND_JOB = "BACKGROUND_JOB"
_BACKGROUND_JOB_BYTES = _BACKGROUND_JOB.encode()

_log = logging.getLogger(__name__)


def _checked(text: str, what: str) -> str:
    """The text, if it can go on one line of the protocol; the error never repeats it (it may be the
    password).
    """
    if _FORBIDDEN.intersection(text):
        raise EslArgumentRefused(f"{what} contains a line break or NUL; remove it")
    if len(text) > MAX_COMMAND_CHARACTERS:
        raise EslArgumentRefused(f"{what} has {len(text)} characters, at most {MAX_COMMAND_CHARACTERS} may be")
    if not text.strip():
        raise EslArgumentRefused(f"{what} is empty")
    return text


class EslConnection:
    """One authenticated connection. Made by `open`; usable as an asynchronous context manager.

    Answers come in the order of the commands, and a slow `api` holds up those behind it: use `bgapi` for slow
    ones. `dropped_events` counts events that found the queue full: whoever reads them must then
    resynchronise.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: tuple[str, int],
        max_queued_events: int,
        max_queued_event_bytes: int = MAX_QUEUED_EVENT_BYTES,
    ) -> None:
        self.address = address
        self.malformed_events = 0
        self._reader = reader
        self._writer = writer
        self._parser = FrameParser()
        self._ready: deque[Frame] = deque()
        self._replies: deque[tuple[asyncio.Future[Frame], float]] = deque()
        self._jobs: dict[str, asyncio.Future[str]] = {}
        self._queue = EventQueue(max_queued_events, max_queued_event_bytes)
        self._queue_changed = asyncio.Event()
        self._subscribed: set[str] = set()
        self._ended: EslError | None = None
        self._closed_by_us = False
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<EslConnection {self.address[0]}:{self.address[1]} {state}>"

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        password: str,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        max_queued_events: int = MAX_QUEUED_EVENTS,
        max_queued_event_bytes: int = MAX_QUEUED_EVENT_BYTES,
    ) -> Self:
        """Connect and authenticate, all within `timeout_seconds`.

        Raises EslTimeout, EslConnectionLost (nobody listens), EslAccessDenied, EslAuthenticationRefused,
        EslProtocolError (something else listens there), EslArgumentRefused (an unusable password).
        """
        _checked(password, "the event-socket password")
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                reader, writer = await asyncio.open_connection(host, port)
                connection = cls(reader, writer, (host, port), max_queued_events, max_queued_event_bytes)
                await connection._authenticate(password)
        except TimeoutError:
            _abort(writer)
            raise EslTimeout(f"connecting to {host}:{port}", timeout_seconds) from None
        except OSError as error:
            _abort(writer)
            if isinstance(error, EslError):
                raise
            reason = error.strerror or type(error).__name__
            raise EslConnectionLost(f"cannot connect to {host}:{port}: {reason}") from error
        except BaseException:
            _abort(writer)
            raise
        connection._reading = asyncio.create_task(connection._read(), name=f"esl {host}:{port}")
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return self._ended is None

    @property
    def queued_events(self) -> int:
        """How many events wait to be read."""
        return len(self._queue)

    @property
    def queued_event_bytes(self) -> int:
        """How many bytes they have."""
        return self._queue.size_bytes

    @property
    def dropped_events(self) -> int:
        """How many events found the queue full, or were discarded."""
        return self._queue.dropped

    async def api(self, command: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> str:
        """Run an API command and return its whole output.

        Raises EslCommandRefused for -ERR and -USAGE, EslTimeout, EslConnectionLost, EslArgumentRefused.
        """
        line = f"api {_checked(command, 'the command')}"
        frame = await self._command(line, timeout_seconds=timeout_seconds)
        output = frame.text if frame.content_type == "api/response" else frame.reply_text
        return _accepted(command, output)

    async def bgapi(self, command: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> str:
        """Run an API command in the background of FreeSWITCH and wait for its BACKGROUND_JOB; errors as `api`."""
        _checked(command, "the command")
        job_id = str(uuid.uuid4())
        job: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_seconds):
                if _BACKGROUND_JOB not in self._subscribed:
                    await self._subscribe([_BACKGROUND_JOB], timeout_seconds=timeout_seconds)
                self._check_open()
                if len(self._jobs) >= MAX_PENDING_COMMANDS:
                    raise EslTooManyCommands(MAX_PENDING_COMMANDS)
                self._jobs[job_id] = job
                reply = await self._command(f"bgapi {command}", f"Job-UUID: {job_id}", timeout_seconds=timeout_seconds)
                _accepted(command, reply.reply_text)
                output = await job
        except TimeoutError as error:
            if isinstance(error, EslTimeout):
                raise
            raise EslTimeout(f"bgapi {command}", timeout_seconds) from None
        finally:
            self._jobs.pop(job_id, None)
            job.cancel()
        return _accepted(command, output)

    async def subscribe(self, *events: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Ask for events by name, besides earlier ones; one with `::` (`sofia::register`) is a CUSTOM subclass."""
        if not events:
            raise EslArgumentRefused("name at least one event to subscribe to, e.g. 'HEARTBEAT'")
        for name in events:
            if any(character.isspace() for character in _checked(name, "the event name")):
                raise EslArgumentRefused(f"event name {name!r} contains a space; give each name by itself")
        await self._subscribe(list(events), timeout_seconds=timeout_seconds)

    async def events(self) -> AsyncIterator[Event]:
        """The subscribed events in the order FreeSWITCH sent them, for one reader.

        Ends when `close` was called; raises EslConnectionLost after the last queued event when the connection
        broke.
        """
        while (event := await self.next_event()) is not None:
            yield event

    async def next_event(self) -> Event | None:
        """The next event; None when `close` was called. Giving up the wait loses no event. Errors as
        `events`.
        """
        event: Event | None = None
        while event is None:
            while not self._queue:
                if self._ended is not None:
                    if self._closed_by_us:
                        return None
                    raise self._lost()
                self._queue_changed.clear()
                await self._queue_changed.wait()
            event = self._parsed(self._queue.take())
        return event

    def discard_queued_events(self) -> None:
        """Throw away the events that wait and count them as dropped."""
        self._queue.discard()

    async def close(self) -> None:
        """Say goodbye and close; every waiter gets EslConnectionLost. May be called twice."""
        self._closed_by_us = self._closed_by_us or self.is_open
        if self.is_open:
            self._writer.write(b"exit\n\n")
        self._end(EslConnectionLost("this side closed the event-socket connection"))
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._writer.wait_closed()
        except OSError as error:
            _log.debug("closing the event socket: %s", error)
            self._writer.transport.abort()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _authenticate(self, password: str) -> None:
        greeting = await self._next_frame()
        if greeting.content_type == "text/rude-rejection":
            raise EslAccessDenied(*self.address)
        if greeting.content_type != "auth/request":
            raise EslProtocolError(
                f"{self.address[0]}:{self.address[1]} greets with {greeting.content_type[:40]!r} "
                "instead of auth/request; is this FreeSWITCH's event socket?"
            )
        self._writer.write(f"auth {password}\n\n".encode())
        reply = await self._next_frame()
        if reply.content_type != "command/reply" or not reply.reply_text.startswith("+OK"):
            raise EslAuthenticationRefused(*self.address)

    async def _next_frame(self) -> Frame:
        while not self._ready:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise EslConnectionLost(f"{self.address[0]}:{self.address[1]} closed the connection")
            self._ready.extend(self._parser.feed(data))
        return self._ready.popleft()

    async def _read(self) -> None:
        try:
            while True:
                self._dispatch(await self._next_frame())
        except EslError as error:
            self._end(error)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._end(EslConnectionLost(f"connection to {self.address[0]}:{self.address[1]} lost: {reason}"))
        finally:
            self._end(EslConnectionLost("the event-socket reader was stopped"))
            self._writer.close()

    def _dispatch(self, frame: Frame) -> None:
        kind = frame.content_type
        if kind in (EVENT_PLAIN, EVENT_JSON):
            self._receive_event(frame)
        elif kind in ("command/reply", "api/response"):
            if not self._replies:
                raise EslProtocolError("an answer came that nobody had asked for")
            waiter, _ = self._replies.popleft()
            if not waiter.done():
                waiter.set_result(frame)
        elif kind == "text/disconnect-notice":
            goodbye = frame.text.strip()[:100]
            raise EslConnectionLost(f"{self.address[0]}:{self.address[1]} said goodbye: {goodbye}")
        elif kind == "text/rude-rejection":
            raise EslAccessDenied(*self.address)
        else:
            _log.debug("frame of type %r ignored", kind[:40])

    def _receive_event(self, frame: Frame) -> None:
        if _BACKGROUND_JOB_BYTES in frame.body and self._is_job_done(frame):
            return
        if self._queue.put(frame):
            self._queue_changed.set()

    def _is_job_done(self, frame: Frame) -> bool:
        """Whether this is the end of a job of ours, which is handed to whoever waits for it and to nobody else."""
        event = self._parsed(frame)
        if event is None:
            return True
        job = self._jobs.get(event.get("Job-UUID")) if event.name == _BACKGROUND_JOB else None
        if job is None:
            return False
        if not job.done():
            job.set_result(event.body)
        return True

    def _parsed(self, frame: Frame) -> Event | None:
        """The event, or None where it makes no sense, which is counted."""
        try:
            return parse_event(frame)
        except EslProtocolError as error:
            # The frame's own length held, so the stream is still in step: only this event is lost.
            self.malformed_events += 1
            _log.warning("event dropped: %s", error)
            return None

    async def _subscribe(self, events: list[str], *, timeout_seconds: float) -> None:
        plain = [name for name in events if "::" not in name]
        custom = [name for name in events if "::" in name]
        # CUSTOM takes every name behind it as a subclass, so it comes last.
        names = " ".join([*plain, "CUSTOM", *custom] if custom else plain)
        reply = await self._command(f"event plain {names}", timeout_seconds=timeout_seconds)
        _accepted(f"event plain {names}", reply.reply_text)
        self._subscribed.update(events)

    async def _command(self, *lines: str, timeout_seconds: float) -> Frame:
        """Send one command and wait for its answer; a late answer is thrown away in its turn."""
        self._check_open()
        loop = asyncio.get_running_loop()
        self._check_answering(loop.time())
        is_unread = self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES
        if is_unread or len(self._replies) >= MAX_PENDING_COMMANDS:
            raise EslTooManyCommands(len(self._replies))
        waiter: asyncio.Future[Frame] = loop.create_future()
        self._replies.append((waiter, loop.time()))
        self._writer.write(("\n".join(lines) + "\n\n").encode("utf-8", errors="replace"))
        try:
            async with asyncio.timeout(timeout_seconds):
                return await waiter
        except TimeoutError:
            raise EslTimeout(lines[0], timeout_seconds) from None

    def _check_answering(self, now_seconds: float) -> None:
        """Give the connection up when its oldest command, which nobody waits for any more, blocks all others."""
        if not self._replies:
            return
        waiter, sent_at_seconds = self._replies[0]
        if waiter.done() and now_seconds - sent_at_seconds > MAX_ANSWER_WAIT_SECONDS:
            silence = f"unanswered for {MAX_ANSWER_WAIT_SECONDS:g} s"
            self._end(EslConnectionLost(f"{self.address[0]}:{self.address[1]} has left a command {silence}"))
            self._writer.transport.abort()
            self._check_open()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._lost()

    def _lost(self) -> EslConnectionLost:
        """A fresh error for each waiter (tracebacks must not pile up on one object)."""
        ended = self._ended or EslConnectionLost("the event-socket connection is closed")
        error = EslConnectionLost(str(ended))
        error.__cause__ = ended
        return error

    def _end(self, error: EslError) -> None:
        """The connection is over: wake everybody. Only the first reason is kept."""
        if self._ended is not None:
            return
        self._ended = error
        waiters = [waiter for waiter, _ in self._replies]
        for waiter in (*waiters, *self._jobs.values()):
            if not waiter.done():
                waiter.set_exception(self._lost())
        self._replies.clear()
        self._queue_changed.set()


def _accepted(command: str, output: str) -> str:
    """The output, unless it begins with FreeSWITCH's marks of refusal."""
    if output.startswith(_REFUSALS):
        raise EslCommandRefused(command, output.strip())
    return output


def _abort(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None:
        writer.transport.abort()
