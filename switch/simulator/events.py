"""Events and who listens to them: what FreeSWITCH's event system gives to the event socket.

Source: `switch_event.c` (`switch_event_serialize`, `switch_event_serialize_json`), recorded sessions of
1.11.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from infra.kit import clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEFT_ALONE = "!$'()*,/~"
"""What `switch_url_encode` does not escape besides letters, digits, `_`, `.` and `-`."""


def url_encode(text: str) -> str:
    """FreeSWITCH's own percent-encoding, which leaves commas and slashes alone."""
    return quote(text, safe=_LEFT_ALONE)


def now_microseconds() -> int:
    """Microseconds since 1970, the unit of every `...-Timestamp` and `..._uepoch`."""
    return (clock.now() - _EPOCH) // timedelta(microseconds=1)


def local_stamp(microseconds: int) -> str:
    """`2026-11-21 20:55:05` in the node's time zone (UTC here)."""
    return _moment(microseconds).strftime("%Y-%m-%d %H:%M:%S")


def gmt_stamp(microseconds: int) -> str:
    """`Sat, 21 Nov 2026 20:55:05 GMT`."""
    return _moment(microseconds).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True)
class Event:
    """One event: its name, the subclass of a CUSTOM one, ordered headers and an optional body."""

    name: str
    headers: dict[str, str]
    subclass: str = ""
    body: str = ""

    def to_plain(self) -> bytes:
        """The payload of a `text/event-plain` message: percent-encoded values, then the body."""
        lines = [f"{name}: {url_encode(value)}\n" for name, value in self.headers.items()]
        body = self.body.encode()
        if body:
            lines.append(f"Content-Length: {len(body)}\n")
        return "".join([*lines, "\n"]).encode() + body

    def to_json(self) -> bytes:
        """The payload of a `text/event-json` message."""
        content = dict(self.headers)
        if self.body:
            content["Content-Length"] = str(len(self.body.encode()))
            content["_body"] = self.body
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class NodeIdentity:
    """What every event, form and call record of a node says about the node."""

    core_uuid: str
    hostname: str
    switch_name: str
    ipv4: str = "127.0.0.1"
    ipv6: str = "::1"
    sequence: int = 0

    def event_headers(self, *, file: str, function: str, line: int) -> dict[str, str]:
        """The headers that stand first in every event, with the next sequence number."""
        self.sequence += 1
        stamp = now_microseconds()
        return {
            "Core-UUID": self.core_uuid,
            "FreeSWITCH-Hostname": self.hostname,
            "FreeSWITCH-Switchname": self.switch_name,
            "FreeSWITCH-IPv4": self.ipv4,
            "FreeSWITCH-IPv6": self.ipv6,
            "Event-Date-Local": local_stamp(stamp),
            "Event-Date-GMT": gmt_stamp(stamp),
            "Event-Date-Timestamp": str(stamp),
            "Event-Calling-File": file,
            "Event-Calling-Function": function,
            "Event-Calling-Line-Number": str(line),
            "Event-Sequence": str(self.sequence),
        }


Listener = Callable[[Event], None]

_ORIGINS: dict[str, tuple[str, str, int]] = {
    "HEARTBEAT": ("switch_core.c", "send_heartbeat", 95),
    "BACKGROUND_JOB": ("mod_event_socket.c", "api_exec", 1580),
    "CHANNEL_CREATE": ("switch_core_state_machine.c", "switch_core_session_run", 626),
    "CHANNEL_ANSWER": ("switch_channel.c", "switch_channel_perform_mark_answered", 3848),
    "CHANNEL_BRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1689),
    "CHANNEL_HANGUP": ("switch_channel.c", "switch_channel_perform_hangup", 3390),
    "CHANNEL_HANGUP_COMPLETE": ("switch_core_state_machine.c", "switch_core_session_reporting_state", 955),
    "CHANNEL_DESTROY": ("switch_core_session.c", "switch_core_session_perform_destroy", 1561),
    "SHUTDOWN": ("switch_core.c", "switch_core_destroy", 3033),
}


@dataclass
class EventBus:
    """Gives each event to every listener, in the order of happening."""

    identity: NodeIdentity
    _listeners: list[Listener] = field(default_factory=list[Listener])

    def listen(self, listener: Listener) -> None:
        """Add a listener; it must not block and must not raise."""
        self._listeners.append(listener)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens: an event that nobody hears need not be made."""
        return bool(self._listeners)

    def forget(self, listener: Listener) -> None:
        """Take a listener away; harmless when it is not there."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def fire(self, name: str, headers: Iterable[tuple[str, str]] = (), *, subclass: str = "", body: str = "") -> None:
        """Make an event of the node's own headers and these, and give it to everyone."""
        file, function, line = _ORIGINS.get(name, ("sofia_reg.c", "sofia_reg_handle_register_token", 2059))
        head = {"Event-Subclass": subclass} if subclass else {}
        head["Event-Name"] = name
        head.update(self.identity.event_headers(file=file, function=function, line=line))
        head.update(headers)
        event = Event(name, head, subclass, body)
        for listener in tuple(self._listeners):
            listener(event)
