"""Frames of FreeSWITCH's event socket: an incremental parser with limits, and the events inside.

A frame is a block of `Name: value` lines, an empty line, and a body if `Content-Length` says so
(mod_event_socket.c). In a `text/event-plain` body the event's own headers are URL-encoded lines and may carry
a further body; in a `text/event-json` body they are one JSON object with the further body as `_body`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from switch.esl.errors import EslProtocolError

MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_EVENT_HEADERS = 10_000
MAX_JSON_EVENT_BYTES = 1024 * 1024
"""We subscribe to plain events; a JSON one costs many times its bytes in memory, so few are taken."""

EVENT_PLAIN = "text/event-plain"
EVENT_JSON = "text/event-json"

_BLANK_LINE = re.compile(rb"\n\r?\n")
_EVENT_VALUE_SAFE = "/!$'()*,"
"""What FreeSWITCH leaves as it is beside letters, digits and `-._~` (SWITCH_URL_UNSAFE in switch_utils.h)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. Header names are kept as written; `get` finds them without regard to case."""

    headers: Mapping[str, str]
    body: bytes = b""

    def get(self, name: str, default: str = "") -> str:
        """A header's value, not URL-decoded."""
        key = name.lower()
        return next((value for existing, value in self.headers.items() if existing.lower() == key), default)

    @property
    def content_type(self) -> str:
        """`Content-Type`, '' when there is none."""
        return self.get("Content-Type")

    @property
    def reply_text(self) -> str:
        """`Reply-Text` of a command/reply, e.g. `+OK accepted`."""
        return self.get("Reply-Text")

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become replacement characters."""
        return self.body.decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `headers` are decoded; of a repeated name the first one counts."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str = ""

    @property
    def name(self) -> str:
        """`Event-Name`, e.g. `CHANNEL_ANSWER` or `CUSTOM`."""
        return self.headers.get("Event-Name", "")

    @property
    def subclass(self) -> str:
        """`Event-Subclass` of a CUSTOM event, e.g. `sofia::register`; '' otherwise."""
        return self.headers.get("Event-Subclass", "")

    def get(self, name: str, default: str = "") -> str:
        """A header's decoded value."""
        return self.headers.get(name, default)


def _header_lines(block: bytes, *, url_encoded: bool) -> dict[str, str]:
    if block.count(b"\n") >= MAX_EVENT_HEADERS:
        raise EslProtocolError(f"more than {MAX_EVENT_HEADERS} header lines in one frame")
    headers: dict[str, str] = {}
    for line in block.decode("utf-8", errors="replace").split("\n"):
        name, colon, value = line.rstrip("\r").partition(":")
        if not colon:
            continue
        value = value.removeprefix(" ")
        headers.setdefault(name.strip(), unquote(value, errors="replace") if url_encoded else value.strip())
    return headers


def _content_length(headers: Mapping[str, str], max_body_bytes: int) -> int:
    text = next((value for name, value in headers.items() if name.lower() == "content-length"), "0").strip()
    if not (text.isascii() and text.isdecimal()):
        raise EslProtocolError(f"Content-Length {text[:20]!r} is not a number")
    if len(text) > 12 or int(text) > max_body_bytes:
        raise EslProtocolError(f"a body of {text[:20]} bytes is longer than the {max_body_bytes} allowed")
    return int(text)


class FrameParser:
    """Turns bytes, however cut, into frames; never keeps more than one header block and one body."""

    def __init__(self, *, max_header_bytes: int = MAX_HEADER_BYTES, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._searched_to = 0
        self._headers: dict[str, str] | None = None
        self._body_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished frame is kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes and return the frames they complete, in order.

        Raises EslProtocolError when a limit is exceeded or a length makes no sense; the stream is then of no
        more use.
        """
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if self._headers is None and not self._take_headers():
            return None
        if len(self._buffer) < self._body_bytes:
            return None
        frame = Frame(self._headers or {}, bytes(self._buffer[: self._body_bytes]))
        del self._buffer[: self._body_bytes]
        self._headers = None
        self._body_bytes = self._searched_to = 0
        return frame

    def _take_headers(self) -> bool:
        """Cut the header block off the buffer; False when it has not all arrived."""
        blank = 0
        while blank < len(self._buffer) and self._buffer[blank] in b"\r\n":
            blank += 1
        if blank:
            del self._buffer[:blank]
            self._searched_to = 0
        found = _BLANK_LINE.search(self._buffer, max(0, self._searched_to - 2))
        end, after = found.span() if found else (-1, -1)
        if end > self._max_header_bytes or (end < 0 and len(self._buffer) > self._max_header_bytes):
            raise EslProtocolError(f"a header block is longer than {self._max_header_bytes} bytes")
        if end < 0:
            self._searched_to = len(self._buffer)
            return False
        headers = _header_lines(bytes(self._buffer[:end]), url_encoded=False)
        self._body_bytes = _content_length(headers, self._max_body_bytes)
        del self._buffer[:after]
        self._headers = headers
        return True


def parse_event(frame: Frame) -> Event:
    """The event in a `text/event-plain` or `text/event-json` frame. Raises EslProtocolError for anything
    else.
    """
    if frame.content_type == EVENT_PLAIN:
        return _plain_event(frame.body)
    if frame.content_type == EVENT_JSON:
        return _json_event(frame.body)
    raise EslProtocolError(f"a frame of type {frame.content_type[:40]!r} holds no event")


def _plain_event(content: bytes) -> Event:
    block, _, rest = content.partition(b"\n\n")
    headers = _header_lines(block, url_encoded=True)
    length = min(_content_length(headers, MAX_BODY_BYTES), len(rest))
    return Event(headers, rest[:length].decode("utf-8", errors="replace"))


def _clean(text: str) -> str:
    """Without lone surrogates, which JSON can spell but UTF-8 cannot."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _json_event(content: bytes) -> Event:
    if len(content) > MAX_JSON_EVENT_BYTES:
        raise EslProtocolError(f"a text/event-json body is longer than {MAX_JSON_EVENT_BYTES} bytes")
    try:
        fields: object = json.loads(content.decode("utf-8", errors="replace"))
        if not isinstance(fields, dict):
            raise EslProtocolError("a text/event-json body is not a JSON object")
        if len(fields) > MAX_EVENT_HEADERS:
            raise EslProtocolError(f"more than {MAX_EVENT_HEADERS} headers in one event")
        headers = {_clean(str(name)): _clean(_json_value(value)) for name, value in fields.items()}
    except (ValueError, RecursionError) as error:
        # Nesting that was just shallow enough to be read can be too deep to be written again.
        raise EslProtocolError("a text/event-json body is not JSON, or nested too deeply") from error
    return Event(headers, headers.pop("_body", ""))


def _json_value(value: object) -> str:
    if isinstance(value, list):
        # FreeSWITCH writes a repeated header as a list here and in this form in plain events.
        return "ARRAY::" + "|:".join(str(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def format_frame(headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A frame for the wire; Content-Length is added for a body. Raises EslProtocolError for a line break in a
    header.
    """
    lines = list(headers.items())
    if body:
        lines.append(("Content-Length", str(len(body))))
    for name, value in lines:
        if any(character in name or character in value for character in "\r\n\0"):
            raise EslProtocolError(f"header {name!r} contains a line break or NUL")
    return "".join(f"{name}: {value}\n" for name, value in lines).encode() + b"\n" + body


def format_event(event: Event, *, as_json: bool = False) -> bytes:
    """An event as the frame FreeSWITCH sends for `event plain` (or `event json`)."""
    content = event.body.encode("utf-8", errors="replace")
    if as_json:
        fields = dict(event.headers)
        if content:
            fields |= {"Content-Length": str(len(content)), "_body": event.body}
        body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", errors="replace")
        return _event_frame(EVENT_JSON, body)
    lines = [
        f"{name}: {quote(value, safe=_EVENT_VALUE_SAFE, errors='replace')}\n"
        for name, value in event.headers.items()
        if name != "Content-Length"
    ]
    if content:
        lines.append(f"Content-Length: {len(content)}\n")
    return _event_frame(EVENT_PLAIN, "".join(lines).encode("utf-8", errors="replace") + b"\n" + content)


def _event_frame(content_type: str, body: bytes) -> bytes:
    """FreeSWITCH writes an event's length before its type."""
    return f"Content-Length: {len(body)}\nContent-Type: {content_type}\n\n".encode() + body
