"""Where webhooks may go: public addresses over HTTPS only, so that nobody reaches the house's own network through us.

A name is resolved once for each attempt, every address it has is judged, and the connection is made to an address
that was judged: a name that changes in between (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from infra.kit.addresses import Address, parse_address
from tenancy.webhooks.errors import TargetRefused

URL_LIMIT_CHARACTERS = 2_000
LOOKUPS_AT_ONCE = 32
_HTTPS_PORT, _HTTP_PORT = 443, 80
_INSIDE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "test", "invalid")
"""Last labels that no public name has (RFC 6761, RFC 8375 and what networks use by habit)."""
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(each)
    for each in (
        "192.0.0.0/24",  # RFC 6890: protocol assignments
        "192.88.99.0/24",  # RFC 7526: relays of 6to4
        "::/96",  # RFC 4291: IPv4 inside, as of old
        "::ffff:0:0:0/96",  # RFC 2765: IPv4 translated
        "100::/64",  # RFC 6666: discarded
        "2001:db8::/32",
        "3fff::/20",  # RFC 9637: documentation
        "5f00::/16",  # RFC 9602: segment routing inside a network
        "fec0::/10",  # RFC 3879: sites, as of old
    )
)
"""What `ipaddress` of one Python version or another takes for public."""
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
_TRANSLATED_LOCALLY = ipaddress.ip_network("64:ff9b:1::/48")

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host name; raises `OSError` where there are none."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL in its parts; `path` begins with a slash and has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _HTTPS_PORT if self.scheme == "https" else _HTTP_PORT
        return host if self.port == usual else f"{host}:{self.port}"


def read(url: str, *, inside_allowed: bool) -> Target:
    """The parts of a URL. `inside_allowed` (development): http and private addresses too. Raises `TargetRefused`."""
    parts = _split(url)
    if parts.scheme != "https" and not (inside_allowed and parts.scheme == "http"):
        raise TargetRefused("The URL begins with https://.", field="url")
    if parts.username is not None or parts.password is not None:
        raise TargetRefused("The URL holds no user and password: check our signature instead.", field="url")
    if parts.fragment or "#" in url:
        raise TargetRefused("The URL has no fragment (#…).", field="url")
    host = (parts.hostname or "").rstrip(".").lower()
    if not host:
        raise TargetRefused("The URL names a host.", field="url")
    if not inside_allowed:
        _check_host(host)
    port = parts.port or (_HTTPS_PORT if parts.scheme == "https" else _HTTP_PORT)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def _split(url: str) -> SplitResult:
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > URL_LIMIT_CHARACTERS:
        raise TargetRefused(
            f"A URL has at most {URL_LIMIT_CHARACTERS} printable ASCII characters (names in punycode).", field="url"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # is read, and refused, only when it is asked for
    except ValueError:
        raise TargetRefused("This is not a URL such as https://example.com/webhooks.", field="url") from None
    return parts


def _check_host(host: str) -> None:
    address = parse_address(host)
    if address is not None:
        if not is_public(address):
            raise TargetRefused(f"{host} is not a public address.", field="url")
        return
    labels = host.split(".")
    if len(labels) < 2 or labels[-1] in _INSIDE_NAMES or labels[-1].isdigit() or labels[-1].startswith("0x"):
        raise TargetRefused(f"{host} is not a public host name.", field="url")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; one that carries an IPv4 address is judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.teredo is not None or address in _TRANSLATED_LOCALLY or address.scope_id is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class Resolver:
    """Finds the address to connect to. Looks names up in threads of its own: a name server that hangs stops only
    other webhooks, and at most `LOOKUPS_AT_ONCE` of them."""

    def __init__(self, *, inside_allowed: bool, lookup: Lookup | None = None) -> None:
        self.inside_allowed = inside_allowed
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="webhook-lookup")
        self._lookup = lookup or self._ask_system

    async def address_of(self, target: Target) -> str:
        """One address of the target. Raises `TargetRefused` when any of them is not public, `OSError` for none."""
        literal = parse_address(target.host)
        found = [str(literal)] if literal is not None else await self._lookup(target.host, target.port)
        if not found:
            raise OSError(f"{target.host} has no address")
        if not self.inside_allowed:
            for text in found:
                address = parse_address(text)
                if address is None or not is_public(address):
                    raise TargetRefused(f"{target.host} leads to what is not a public address.", field="url")
        return found[0]

    def close(self) -> None:
        """Look nothing up any more; lookups that hang are left to themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_system(self, host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(each[4][0]) for each in found))

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
