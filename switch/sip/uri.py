"""SIP addresses: URIs, name-addr headers and Via (RFC 3261 sections 19.1, 20.10 and 20.42)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from switch.sip.errors import SipSyntaxError

DEFAULT_PORT = 5060
_USER_UNESCAPED = "-_.!~*'()&=+$,;?/"
_FORBIDDEN = frozenset('\r\n\0 \t<>"')


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Cut at a one-character separator, but neither inside double quotes nor inside angle brackets."""
    pieces: list[str] = []
    piece: list[str] = []
    quoted = escaped = False
    depth = 0
    for character in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character == "<":
            depth += 1
        elif character == ">":
            depth = max(0, depth - 1)
        elif character == separator and depth == 0:
            pieces.append("".join(piece).strip())
            piece = []
            continue
        piece.append(character)
    pieces.append("".join(piece).strip())
    return pieces


def split_list(value: str) -> list[str]:
    """The members of a comma-separated header value; empty members are dropped."""
    return [member for member in split_outside_quotes(value, ",") if member]


def unquoted(text: str) -> str:
    """The content of a quoted-string, or the text itself when it is not one."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    content: list[str] = []
    escaped = False
    for character in text[1:-1]:
        if not escaped and character == "\\":
            escaped = True
            continue
        content.append(character)
        escaped = False
    return "".join(content)


def quoted(text: str) -> str:
    """The text as a quoted-string; line breaks are refused."""
    if any(character in text for character in "\r\n\0"):
        raise SipSyntaxError("a quoted text contains a line break or NUL; remove it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_parameters(pieces: list[str]) -> dict[str, str]:
    """`name=value` pieces as a dictionary with lower-case names; a bare name has the value ''."""
    parameters: dict[str, str] = {}
    for piece in pieces:
        name, _, value = piece.partition("=")
        if name.strip():
            parameters.setdefault(name.strip().lower(), unquoted(value.strip()))
    return parameters


def format_parameters(parameters: dict[str, str]) -> str:
    """The parameters with their leading semicolons."""
    parts: list[str] = []
    for name, value in parameters.items():
        if _FORBIDDEN.intersection(name):
            raise SipSyntaxError(f"parameter name {name!r} contains a character that is not allowed")
        if value == "":
            parts.append(f";{name}")
        elif _FORBIDDEN.intersection(value) or ";" in value or "," in value:
            parts.append(f";{name}={quoted(value)}")
        else:
            parts.append(f";{name}={value}")
    return "".join(parts)


def _host_and_port(text: str, whole: str) -> tuple[str, int | None]:
    """Host (IPv6 without brackets) and port, or None where no port is written."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise SipSyntaxError(f"address {whole[:120]!r} has an unclosed IPv6 bracket")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not host or _FORBIDDEN.intersection(host):
        raise SipSyntaxError(f"address {whole[:120]!r} has no usable host")
    if not port:
        return host, None
    if not (port.isascii() and port.isdecimal()) or len(port) > 5 or not 0 < int(port) < 65_536:
        raise SipSyntaxError(f"port {port[:20]!r} in {whole[:120]!r} is not a number from 1 to 65535")
    return host, int(port)


def format_host(host: str) -> str:
    """The host as URIs write it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def is_ip_address(host: str) -> bool:
    """Whether the host is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SipUri:
    """`sip:user@host:port;parameters`. `user` is unescaped, `port` None where none is written."""

    host: str
    user: str = ""
    port: int | None = None
    scheme: str = "sip"
    parameters: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Take a sip: or sips: URI apart; a password in it is dropped. Raises SipSyntaxError."""
        scheme, colon, rest = text.strip().partition(":")
        if not colon or scheme.lower() not in ("sip", "sips"):
            raise SipSyntaxError(f"address {text[:120]!r} does not begin with sip: or sips:")
        user, at, after = rest.rpartition("@")
        after = after.partition("?")[0]
        pieces = after.split(";")
        host, port = _host_and_port(pieces[0], text)
        name = unquote(user.partition(":")[0]) if at else ""
        return cls(host, name, port, scheme.lower(), parse_parameters(pieces[1:]))

    @property
    def address(self) -> tuple[str, int]:
        """Where to send: host and port, 5060 when none is written."""
        return self.host, self.port or DEFAULT_PORT

    def __str__(self) -> str:
        if _FORBIDDEN.intersection(self.host):
            raise SipSyntaxError(f"host {self.host!r} contains a character that is not allowed")
        user = f"{quote(self.user, safe=_USER_UNESCAPED)}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}:{user}{format_host(self.host)}{port}{format_parameters(self.parameters)}"


def tag_of(address: str) -> str:
    """The tag of a From or To value, '' when there is none; works for any URI scheme."""
    return parse_parameters(split_outside_quotes(address, ";")[1:]).get("tag", "")


@dataclass(frozen=True, slots=True)
class NameAddress:
    """A From, To or Contact value: `"display" <uri>;parameters`."""

    uri: SipUri
    display: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> NameAddress:
        """Take a name-addr or bare address apart; parameters of a bare one belong to the header."""
        pieces = split_outside_quotes(text, ";")
        before = pieces[0]
        if not before.endswith(">"):
            return cls(SipUri.parse(before), "", parse_parameters(pieces[1:]))
        opening = before.rfind("<")
        if opening < 0:
            raise SipSyntaxError(f"address {text[:120]!r} closes an angle bracket that it never opened")
        display = unquoted(before[:opening].strip())
        return cls(SipUri.parse(before[opening + 1 : -1]), display, parse_parameters(pieces[1:]))

    @property
    def tag(self) -> str:
        """The tag parameter, '' when there is none."""
        return self.parameters.get("tag", "")

    def with_tag(self, tag: str) -> NameAddress:
        """The same address with this tag."""
        return NameAddress(self.uri, self.display, {**self.parameters, "tag": tag})

    def __str__(self) -> str:
        display = f"{quoted(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_parameters(self.parameters)}"


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value: `SIP/2.0/UDP host:port;branch=...`."""

    host: str
    port: int | None = None
    transport: str = "UDP"
    parameters: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> Via:
        """Take one Via value apart. Raises SipSyntaxError."""
        pieces = split_outside_quotes(text, ";")
        protocol, _, sent_by = pieces[0].partition(" ")
        parts = [part.strip() for part in protocol.split("/")]
        if len(parts) != 3 or parts[0].upper() != "SIP" or parts[1] != "2.0":
            raise SipSyntaxError(f"Via {text[:120]!r} does not begin with SIP/2.0/transport")
        host, port = _host_and_port(sent_by.strip(), text)
        return cls(host, port, parts[2].upper(), parse_parameters(pieces[1:]))

    @property
    def branch(self) -> str:
        """The branch parameter, '' when there is none."""
        return self.parameters.get("branch", "")

    def received_from(self, host: str, port: int) -> Via:
        """The same Via with where the datagram really came from (RFC 3261 18.2.1, RFC 3581)."""
        parameters = dict(self.parameters)
        if "rport" in parameters:
            parameters["rport"] = str(port)
            parameters["received"] = host
        elif self.host != host:
            parameters["received"] = host
        return Via(self.host, self.port, self.transport, parameters)

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"SIP/2.0/{self.transport} {format_host(self.host)}{port}{format_parameters(self.parameters)}"
