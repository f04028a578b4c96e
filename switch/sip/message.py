"""SIP messages: parse and format (RFC 3261 sections 7, 20 and 25), with limits against hostile input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from switch.sip.errors import SipSyntaxError
from switch.sip.status import reason_phrase
from switch.sip.uri import NameAddress, Via, split_list, tag_of

MAX_MESSAGE_BYTES = 65_507
"""What one UDP datagram over IPv4 can carry."""
MAX_HEADER_LINES = 256
MAX_HEADER_LINE_CHARACTERS = 8_192

VERSION = "SIP/2.0"

_COMPACT_NAMES = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
}
_FORBIDDEN_IN_VALUE = ("\r", "\n", "\0")
_TOKEN_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~",
)


def is_token(text: str) -> bool:
    """Whether the text is a `token` of RFC 3261 section 25.1 (a method or header name)."""
    return bool(text) and _TOKEN_CHARACTERS.issuperset(text)


class Headers:
    """Ordered header fields; names compare without case, and compact forms equal their long names."""

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = []
        for name, value in items:
            self.add(name, value)

    @staticmethod
    def _checked(name: str, value: str) -> tuple[str, str]:
        if not is_token(name):
            raise SipSyntaxError(f"header name {name!r} is not a token; use letters, digits and '-'")
        if any(character in value for character in _FORBIDDEN_IN_VALUE):
            raise SipSyntaxError(f"the value of header {name} contains a line break or NUL; remove it")
        return _COMPACT_NAMES.get(name.lower(), name), value.strip()

    def add(self, name: str, value: str) -> None:
        """Append a field after those already there."""
        self._items.append(self._checked(name, value))

    def prepend(self, name: str, value: str) -> None:
        """Put a field before all others (a Via on top)."""
        self._items.insert(0, self._checked(name, value))

    def set(self, name: str, value: str) -> None:
        """Replace every field of this name by one; it takes the place of the first."""
        canonical, checked = self._checked(name, value)
        key = canonical.lower()
        for position, (existing, _) in enumerate(self._items):
            if existing.lower() == key:
                self.remove(canonical)
                self._items.insert(position, (canonical, checked))
                return
        self._items.append((canonical, checked))

    def remove(self, name: str) -> None:
        """Drop every field of this name; nothing happens when there is none."""
        key = _COMPACT_NAMES.get(name.lower(), name).lower()
        self._items = [item for item in self._items if item[0].lower() != key]

    def get(self, name: str) -> str | None:
        """The first field's value as written, or None."""
        key = _COMPACT_NAMES.get(name.lower(), name).lower()
        return next((value for existing, value in self._items if existing.lower() == key), None)

    def all(self, name: str) -> list[str]:
        """Every value of this name in order; comma-separated lists (Via, Route, Contact) are taken apart."""
        key = _COMPACT_NAMES.get(name.lower(), name).lower()
        found: list[str] = []
        for existing, value in self._items:
            if existing.lower() == key:
                found.extend(split_list(value) if key in _LIST_HEADERS else [value])
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(tuple(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers(self._items)

    def __repr__(self) -> str:
        return f"Headers({[name for name, _ in self._items]!r})"


_LIST_HEADERS = frozenset({"via", "route", "record-route", "contact", "allow", "supported", "require"})


@dataclass(slots=True)
class Message:
    """What requests and responses share. `headers` need no Content-Length: `encode` writes it."""

    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def start_line(self) -> str:
        """The first line, without its line break."""
        raise NotImplementedError

    def header(self, name: str) -> str:
        """The first value of a header that must be there; SipSyntaxError otherwise."""
        value = self.headers.get(name)
        if value is None:
            raise SipSyntaxError(f"the {self.start_line()!r} message has no {name} header, which is mandatory")
        return value

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.header("Call-ID")

    @property
    def sequence(self) -> tuple[int, str]:
        """CSeq as (number, method)."""
        value = self.header("CSeq")
        number, _, method = value.partition(" ")
        if not (number.isascii() and number.isdecimal()) or int(number) >= 2**32 or not is_token(method.strip()):
            raise SipSyntaxError(f"CSeq {value!r} is not a number below 2^32 followed by a method")
        return int(number), method.strip()

    @property
    def from_address(self) -> NameAddress:
        """The From header, taken apart."""
        return NameAddress.parse(self.header("From"))

    @property
    def to_address(self) -> NameAddress:
        """The To header, taken apart."""
        return NameAddress.parse(self.header("To"))

    @property
    def top_via(self) -> Via:
        """The topmost Via."""
        values = self.headers.all("Via")
        if not values:
            raise SipSyntaxError(f"the {self.start_line()!r} message has no Via header, which is mandatory")
        return Via.parse(values[0])

    def set_body(self, content_type: str, body: bytes) -> None:
        """Put a body and its type in."""
        self.headers.set("Content-Type", content_type)
        self.body = body

    def encode(self) -> bytes:
        """The bytes for the wire; Content-Length is computed here."""
        lines = [self.start_line()]
        lines.extend(f"{name}: {value}" for name, value in self.headers if name.lower() != "content-length")
        lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + self.body


@dataclass(slots=True)
class Request(Message):
    """A request. `uri` is the Request-URI as written on the wire."""

    method: str = "OPTIONS"
    uri: str = "sip:invalid"

    def start_line(self) -> str:
        """`METHOD uri SIP/2.0`."""
        if not is_token(self.method) or any(character.isspace() or ord(character) < 32 for character in self.uri):
            raise SipSyntaxError(f"request line {self.method!r} {self.uri!r} is not `METHOD uri`")
        return f"{self.method} {self.uri} {VERSION}"


@dataclass(slots=True)
class Response(Message):
    """A response; `reason` is what follows the status on the first line."""

    status: int = 200
    reason: str = ""

    def start_line(self) -> str:
        """`SIP/2.0 status reason`."""
        if any(character in self.reason for character in _FORBIDDEN_IN_VALUE):
            raise SipSyntaxError("the reason phrase contains a line break or NUL; remove it")
        return f"{VERSION} {self.status} {self.reason or reason_phrase(self.status)}"

    @classmethod
    def to_request(cls, request: Request, status: int, reason: str = "", *, to_tag: str = "") -> Response:
        """A response (RFC 3261 8.2.6.2): Via, From, Call-ID, CSeq and To copied, `to_tag` put on To."""
        headers = Headers((name, value) for name, value in request.headers if name.lower() == "via")
        headers.add("From", request.header("From"))
        to_value = request.header("To")
        if to_tag and not tag_of(to_value):
            to_value = f"{to_value};tag={to_tag}"
        headers.add("To", to_value)
        headers.add("Call-ID", request.call_id)
        headers.add("CSeq", request.header("CSeq"))
        return cls(headers=headers, status=status, reason=reason or reason_phrase(status))


def _unfolded(block: str) -> list[str]:
    """Header lines with continuation lines (RFC 3261 7.3.1) joined to the line they continue."""
    lines: list[str] = []
    for line in block.split("\n"):
        text = line.removesuffix("\r")
        if lines and text[:1] in (" ", "\t"):
            lines[-1] += " " + text.strip()
        else:
            lines.append(text)
        if len(lines) > MAX_HEADER_LINES + 1:
            raise SipSyntaxError(f"more than {MAX_HEADER_LINES} header lines")
        if len(lines[-1]) > MAX_HEADER_LINE_CHARACTERS:
            raise SipSyntaxError(f"a header line is longer than {MAX_HEADER_LINE_CHARACTERS} characters")
    return lines


def _start(line: str) -> Request | Response:
    first, _, rest = line.partition(" ")
    if first == VERSION:
        status, _, reason = rest.partition(" ")
        if len(status) != 3 or not (status.isascii() and status.isdecimal()) or not 100 <= int(status) <= 699:
            raise SipSyntaxError(f"status {status!r} is not three digits from 100 to 699")
        return Response(status=int(status), reason=reason)
    uri, _, version = rest.partition(" ")
    if version != VERSION or not is_token(first) or not uri:
        raise SipSyntaxError(
            f"the first line {line[:80]!r} is neither `METHOD uri SIP/2.0` nor `SIP/2.0 status reason`"
        )
    return Request(method=first, uri=uri)


def parse(datagram: bytes) -> Request | Response:
    """Take one UDP datagram apart.

    Text that is not UTF-8 is kept with replacement characters; bytes after Content-Length are dropped
    (RFC 3261 18.3). Raises SipSyntaxError for anything that is not one whole SIP message.
    """
    if len(datagram) > MAX_MESSAGE_BYTES:
        raise SipSyntaxError(f"a message of {len(datagram)} bytes is longer than {MAX_MESSAGE_BYTES}")
    head, separator, body = datagram.partition(b"\r\n\r\n")
    if not separator:
        head, separator, body = datagram.partition(b"\n\n")
    if not separator:
        raise SipSyntaxError("no empty line ends the headers")
    lines = _unfolded(head.decode("utf-8", errors="replace"))
    message = _start(lines[0])
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise SipSyntaxError(f"header line {line[:80]!r} has no colon")
        message.headers.add(name.strip(), value)
    length = message.headers.get("Content-Length")
    if length is not None:
        if not (length.isascii() and length.isdecimal()) or len(length) > 6 or int(length) > len(body):
            raise SipSyntaxError(f"Content-Length {length[:20]!r} does not fit a body of {len(body)} bytes")
        body = body[: int(length)]
    message.body = body
    return message
