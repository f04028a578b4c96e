"""The event socket of a simulated node: the serving side of mod_event_socket (inbound mode).

Source: `mod_event_socket.c`, replies recorded from a running 1.11. One connection carries out its
commands one after another; `bgapi` runs beside and ends in a BACKGROUND_JOB event. What a slow reader
does not fetch is dropped beyond `MAX_UNSENT_BYTES`, as the real listener drops events when its queue is
full.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

from switch.simulator.events import Event, EventBus

MAX_COMMAND_BYTES = 65_536
MAX_UNSENT_BYTES = 64 * 1024 * 1024
MAX_BACKGROUND_JOBS = 1_000
GOODBYE = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
ACCESS_DENIED = "Access Denied, go away.\n"
SHUTTING_DOWN = "The system is being shut down.\n"

_REJECTION = f"Content-Type: text/rude-rejection\nContent-Length: {len(ACCESS_DENIED)}\n\n{ACCESS_DENIED}".encode()
_FORMATS = ("plain", "json", "xml")
_EVENT_NAME = re.compile(r"^[A-Z][A-Z0-9_]+$")

RunCommand = Callable[[str], Awaitable[str]]
"""Carries out one API command line and gives the reply text."""

_log = logging.getLogger(__name__)


class EventSocketServer:
    """Listens for event-socket clients and serves each on its own."""

    def __init__(self, bus: EventBus, *, password: str, run_command: RunCommand, admits: Callable[[str], bool]) -> None:
        self._bus = bus
        self._admits = admits
        self._password = password
        self._run_command = run_command
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()
        self._empty = asyncio.Event()

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; port 0 lets the system choose. Returns the address."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_COMMAND_BYTES)
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._admits(str(writer.get_extra_info("peername")[0])):
            writer.write(_REJECTION)
            writer.close()
            return
        session = _Session(reader, writer, self._bus, self._password, self._run_command)
        self._sessions.add(session)
        try:
            await session.run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            _log.debug("event-socket client gone: %s", type(error).__name__)
        finally:
            session.stop()
            self._sessions.discard(session)
            self._empty.set()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Say goodbye to every client and stop listening."""
        if self._server is None:
            return
        self._server.close()
        for session in tuple(self._sessions):
            session.disconnect(SHUTTING_DOWN)
        self._server = None
        while self._sessions:
            self._empty.clear()
            await self._empty.wait()

    def abort(self) -> None:
        """Drop every connection without a word, as a killed process does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in tuple(self._sessions):
            session.abort()


class _Session:
    """One client."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        bus: EventBus,
        password: str,
        run_command: RunCommand,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bus = bus
        self._password = password
        self._run_command = run_command
        self._authenticated = False
        self._format = "plain"
        self._names: set[str] = set()
        self._subclasses: set[str] = set()
        self._filters: list[tuple[str, str]] = []
        self._lost_events = 0
        self._jobs: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the client leaves."""
        self._send("Content-Type: auth/request")
        while not self._writer.is_closing():
            command = await self._read_command()
            if command is None:
                return
            lines = command.splitlines()
            if not lines:
                continue
            if not await self._carry_out(lines[0].strip(), lines[1:]):
                return
            await self._writer.drain()

    async def _read_command(self) -> str | None:
        """One command with its extra header lines; None when the client has left."""
        try:
            block = await self._reader.readuntil(b"\n\n")
        except asyncio.IncompleteReadError:
            return None
        text = block.decode(errors="replace").replace("\r", "").strip("\n")
        length = re.search(r"(?im)^content-length:\s*(\d+)\s*$", text)
        if length is not None:
            if int(length[1]) > MAX_COMMAND_BYTES:
                return None
            await self._reader.readexactly(int(length[1]))
        return text

    async def _carry_out(self, line: str, extra: list[str]) -> bool:
        """Answer one command; False ends the connection."""
        verb, _, rest = line.partition(" ")
        verb, rest = verb.lower(), rest.strip()
        if verb in {"exit", "..."}:
            self._reply("+OK bye")
            self.disconnect(GOODBYE)
            return False
        if not self._authenticated:
            return self._authenticate(verb, rest)
        if verb == "api" and rest:
            self._send("Content-Type: api/response", (await self._api(rest)).encode())
        elif verb == "bgapi" and rest:
            self._background(rest, extra)
        elif verb == "event":
            self._subscribe(rest)
        elif verb == "nixevent":
            self._names.difference_update(rest.upper().split())
            self._reply("+OK events nixed")
        elif verb == "noevents":
            self._stop_events()
            self._reply("+OK no longer listening for events")
        elif verb == "filter" and rest:
            self._filter(rest)
        elif verb == "log":
            self._reply(f"+OK log level {rest or '7'} [{rest or '7'}]")
        elif verb == "nolog":
            self._reply("+OK no longer logging")
        elif verb in {"linger", "nolinger", "myevents"}:
            self._reply("-ERR not controlling a session")
        else:
            self._reply("-ERR command not found")
        return True

    def _authenticate(self, verb: str, rest: str) -> bool:
        if verb != "auth":
            self._reply("-ERR command not found")
            return True
        if hmac.compare_digest(rest.encode(), self._password.encode()):
            self._authenticated = True
            self._reply("+OK accepted")
            return True
        self._reply("-ERR invalid")
        self.disconnect(GOODBYE)
        return False

    async def _api(self, command: str) -> str:
        return await self._run_command(command) or "-ERR no reply\n"

    def _background(self, command: str, extra: list[str]) -> None:
        wanted = next((item.partition(":")[2].strip() for item in extra if item.lower().startswith("job-uuid:")), "")
        job = wanted or str(uuid.uuid4())
        self._send(f"Content-Type: command/reply\nReply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}")
        if len(self._jobs) >= MAX_BACKGROUND_JOBS:
            self._finish_job(job, command, "-ERR too many background jobs\n")
            return
        task = asyncio.get_running_loop().create_task(self._run_job(job, command))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _run_job(self, job: str, command: str) -> None:
        self._finish_job(job, command, await self._api(command))

    def _finish_job(self, job: str, command: str, result: str) -> None:
        name, _, argument = command.partition(" ")
        headers = [("Job-UUID", job), ("Job-Command", name)]
        if argument:
            headers.append(("Job-Command-Arg", argument))
        self._bus.fire("BACKGROUND_JOB", headers, body=result)

    def _subscribe(self, rest: str) -> None:
        words = rest.replace(",", " ").split()
        wanted = "plain"
        if words and words[0].lower() in _FORMATS:
            wanted = words.pop(0).lower()
        known = 0
        custom = False
        for word in words:
            if custom:
                self._subclasses.add(word)
                known += 1
            elif _EVENT_NAME.match(word.upper()) and word.upper() in _EVENT_NAMES:
                self._names.add(word.upper())
                known += 1
                custom = word.upper() == "CUSTOM"
        if not known:
            self._reply("-ERR no keywords supplied")
            return
        self._format = wanted
        self._bus.forget(self._deliver)
        self._bus.listen(self._deliver)
        self._reply(f"+OK event listener enabled {wanted}")

    def _filter(self, rest: str) -> None:
        words = rest.split(None, 2)
        if words[0].lower() == "delete":
            name = words[1] if len(words) > 1 else "all"
            value = words[2] if len(words) > 2 else ""
            self._filters = [
                item
                for item in self._filters
                if name.lower() != "all" and (item[0] != name or (value and item[1] != value))
            ]
            self._reply(f"+OK filter deleted. [{name}][{value}]")
            return
        name, _, value = rest.partition(" ")
        self._filters.append((name, value.strip()))
        self._reply(f"+OK filter added. [{name}]=[{value.strip()}]")

    def _wants(self, event: Event) -> bool:
        if "ALL" not in self._names and event.name not in self._names:
            return False
        if event.name == "CUSTOM" and "ALL" not in self._names and event.subclass not in self._subclasses:
            return False
        if not self._filters:
            return True
        return any(event.headers.get(name, "").lower() == value.lower() for name, value in self._filters)

    def _deliver(self, event: Event) -> None:
        if not self._wants(event) or self._writer.is_closing():
            return
        transport = self._writer.transport
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._lost_events += 1
            return
        if self._lost_events:
            _log.warning("event-socket client too slow: %d events lost", self._lost_events)
            self._lost_events = 0
        payload = event.to_json() if self._format == "json" else event.to_plain()
        head = f"Content-Length: {len(payload)}\nContent-Type: text/event-{self._format}\n\n"
        self._writer.write(head.encode() + payload)

    def _reply(self, text: str) -> None:
        self._send(f"Content-Type: command/reply\nReply-Text: {text}")

    def _send(self, head: str, body: bytes = b"") -> None:
        if body:
            head += f"\nContent-Length: {len(body)}"
        self._writer.write(f"{head}\n\n".encode() + body)

    def _stop_events(self) -> None:
        self._bus.forget(self._deliver)
        self._names.clear()
        self._subclasses.clear()

    def disconnect(self, notice: str) -> None:
        """Send a last notice and close."""
        self.stop()
        self._send("Content-Type: text/disconnect-notice", notice.encode())
        self._writer.close()

    def abort(self) -> None:
        """Close without a word."""
        self.stop()
        self._writer.transport.abort()

    def stop(self) -> None:
        """Listen to nothing any more."""
        self._stop_events()
        for job in tuple(self._jobs):
            job.cancel()


_EVENT_NAMES = frozenset(
    [
        "ALL",
        "CUSTOM",
        "HEARTBEAT",
        "BACKGROUND_JOB",
        "CHANNEL_CREATE",
        "CHANNEL_DESTROY",
        "CHANNEL_STATE",
        "CHANNEL_CALLSTATE",
        "CHANNEL_ANSWER",
        "CHANNEL_HANGUP",
        "CHANNEL_HANGUP_COMPLETE",
        "CHANNEL_EXECUTE",
        "CHANNEL_EXECUTE_COMPLETE",
        "CHANNEL_HOLD",
        "CHANNEL_UNHOLD",
        "CHANNEL_BRIDGE",
        "CHANNEL_UNBRIDGE",
        "CHANNEL_PROGRESS",
        "CHANNEL_PROGRESS_MEDIA",
        "CHANNEL_OUTGOING",
        "CHANNEL_PARK",
        "CHANNEL_UNPARK",
        "CHANNEL_APPLICATION",
        "CHANNEL_ORIGINATE",
        "CHANNEL_UUID",
        "API",
        "LOG",
        "INBOUND_CHAN",
        "OUTBOUND_CHAN",
        "STARTUP",
        "SHUTDOWN",
        "PUBLISH",
        "UNPUBLISH",
        "TALK",
        "NOTALK",
        "SESSION_CRASH",
        "MODULE_LOAD",
        "MODULE_UNLOAD",
        "DTMF",
        "MESSAGE",
        "PRESENCE_IN",
        "PRESENCE_OUT",
        "PRESENCE_PROBE",
        "MESSAGE_WAITING",
        "MESSAGE_QUERY",
        "ROSTER",
        "CODEC",
        "DETECTED_SPEECH",
        "DETECTED_TONE",
        "PRIVATE_COMMAND",
        "TRAP",
        "ADD_SCHEDULE",
        "DEL_SCHEDULE",
        "EXE_SCHEDULE",
        "RE_SCHEDULE",
        "RELOADXML",
        "NOTIFY",
        "SEND_MESSAGE",
        "RECV_MESSAGE",
        "REQUEST_PARAMS",
        "CHANNEL_DATA",
        "GENERAL",
        "COMMAND",
        "SESSION_HEARTBEAT",
        "CLIENT_DISCONNECTED",
        "SERVER_DISCONNECTED",
        "SEND_INFO",
        "RECV_INFO",
        "CALL_SECURE",
        "NAT",
        "RECORD_START",
        "RECORD_STOP",
        "PLAYBACK_START",
        "PLAYBACK_STOP",
        "CALL_UPDATE",
        "FAILURE",
    ]
)
