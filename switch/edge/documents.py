"""What an edge and a name server are told of the placement, as files. Pure.

The edge's own logic is one file that never changes (infra/deploy/kamailio/kamailio.cfg); here is what differs.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from infra.kit.addresses import parse_address
from switch.sip.uri import format_host

SETTINGS_FILE = "settings.cfg"
NODES_FILE = "dispatcher.list"
MAP_DIRECTORY = "map"
MAP_FILE = "sip_domain"
CONTROL_SOCKET = "control.sock"
TLS_FILE = "tls.cfg"

EDGE_PRIORITY = 5
HOME_PRIORITY = 10
SPARE_PRIORITY = 20
"""Of SRV records; the lowest is tried first. An edge knows who serves, so it comes before the nodes themselves."""

SRV_SECONDS = 60
"""How long name servers may keep a record: as long as a moved tenant may stay unaware of it."""

MAX_SET = 2**31 - 1
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


class NameRefused(ValueError):
    """A name cannot stand in a file of an edge or a zone."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} cannot stand in such a file; expected a host name or address")


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node listens for phones; `sip_tls_port` None: not over TLS."""

    name: str
    host: str
    sip_port: int
    sip_tls_port: int | None = None

    @property
    def uri(self) -> str:
        """As an edge reaches it."""
        return f"sip:{format_host(self.host)}:{self.sip_port};transport=udp"


@dataclass(frozen=True, slots=True)
class ServedDomain:
    """A tenant's domain and the names of its nodes: the one that serves it now, then the others."""

    domain: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EdgeAddress:
    """Where an edge is reached."""

    name: str
    host: str
    sip_port: int
    sip_tls_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """What one edge's process depends on. `directory` is where its files lie on its machine, absolute.

    `listen_on`: the address that it binds; `advertised`: what phones and nodes call it, where that is another.
    """

    edge: EdgeAddress
    listen_on: str
    directory: PurePath
    advertised: str | None = None
    tls_certificate: PurePath | None = None
    tls_key: PurePath | None = None
    requests_per_second: int = 200
    ping_seconds: int = 2
    log_level: int = 1
    udp_children: int = 4
    tcp_children: int = 4
    tcp_connections: int = 20_000


def is_host(text: str) -> bool:
    """Whether a text can stand in these files as a host: a name or an IP address."""
    try:
        _host(text)
    except NameRefused:
        return False
    return True


def set_numbers(names: Iterable[str]) -> dict[str, int]:
    """The number by which the edge knows each node: from its name alone, so that a file may be older than another.

    Two names with one number are told apart by counting on, in the order of the names.
    """
    numbers: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(names):
        number = zlib.crc32(name.encode()) % MAX_SET + 1
        while number in taken:
            number = number % MAX_SET + 1
        taken.add(number)
        numbers[name] = number
    return numbers


def nodes_file(nodes: Sequence[NodeAddress]) -> str:
    """Kamailio's dispatcher list: one set a node."""
    numbers = set_numbers(node.name for node in nodes)
    lines = [f"{numbers[node.name]} {node.uri} 0 0 node={node.name}" for node in sorted(nodes, key=lambda n: n.name)]
    return "\n".join(["# set destination flags priority attributes", *lines]) + "\n"


def map_file(domains: Iterable[ServedDomain], nodes: Sequence[NodeAddress]) -> str:
    """The table of Kamailio's `htable`: domain → sets in the order in which to try them.

    A node that is not among `nodes` is left out, a domain without any with it. Raises `NameRefused`.
    """
    numbers = set_numbers(node.name for node in nodes)
    lines = ["key_name(string) key_type(int) value_type(int) key_value(string) expires(int)"]
    for served in sorted(domains, key=lambda each: each.domain):
        sets = ",".join(str(numbers[name]) for name in served.nodes if name in numbers)
        if sets:
            lines.append(f"{_domain(served.domain)}:0:0:{sets}:0")
    return "\n".join(lines) + "\n"


def settings_file(settings: EdgeSettings) -> str:
    """What `kamailio.cfg` imports. Raises `NameRefused`."""
    at = settings.directory
    edge = settings.edge
    defined: list[tuple[str, str | int]] = [
        ("CONTROL_SOCKET", f"unix:{at / CONTROL_SOCKET}"),
        ("DISPATCHER_LIST", str(at / NODES_FILE)),
        ("MAP_URL", f"text://{at / MAP_DIRECTORY}"),
        ("REQUESTS_IN_TWO_SECONDS", settings.requests_per_second * 2),
        ("PING_SECONDS", settings.ping_seconds),
        ("LOG_LEVEL", settings.log_level),
        ("UDP_CHILDREN", settings.udp_children),
        ("TCP_CHILDREN", settings.tcp_children),
        ("TCP_CONNECTIONS", settings.tcp_connections),
    ]
    own = f"sip:{format_host(_host(settings.advertised or settings.listen_on))}:{edge.sip_port}"
    listening = [("udp", edge.sip_port), ("tcp", edge.sip_port)]
    flags: list[str] = []
    if edge.sip_tls_port is not None and settings.tls_certificate is not None:
        listening.append(("tls", edge.sip_tls_port))
        flags.append("#!define WITH_TLS")
        defined.append(("TLS_SETTINGS", str(at / TLS_FILE)))
    lines = [
        f"# Of the edge {edge.name}; written by `seatline edge-config`.",
        *flags,
        f'#!subst "/EDGE_URI/{own}/"',
        *(f"#!define {name} {_literal(value)}" for name, value in defined),
        *(_listening(settings, protocol, port) for protocol, port in listening),
    ]
    return "\n".join(lines) + "\n"


def tls_file(settings: EdgeSettings) -> str:
    """The certificate that the edge shows to phones, which show none themselves."""
    key = settings.tls_key or settings.tls_certificate
    return (
        "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n"
        f"certificate = {settings.tls_certificate}\nprivate_key = {key}\n"
    )


def srv_records(domain: str, nodes: Sequence[NodeAddress], edges: Sequence[EdgeAddress]) -> str:
    """A zone fragment by which phones of `domain` find edges, home and spare (RFC 3263).

    `nodes`: home first, then spare. An SRV record names a host, so what is known by its address only gets a name below
    the domain itself. Raises `NameRefused`.
    """
    names: dict[str, str] = {}
    records: list[tuple[str, int, int, str]] = []

    def target(name: str, host: str) -> str:
        if parse_address(host) is None:
            return _domain(host.lower()) + "."
        own = f"{_label(name)}.{_domain(domain)}."
        names[own] = host
        return own

    for edge in edges:
        records += _services(EDGE_PRIORITY, target(edge.name, edge.host), edge.sip_port, edge.sip_tls_port)
    for priority, node in zip((HOME_PRIORITY, SPARE_PRIORITY), nodes, strict=False):
        records += _services(priority, target(node.name, node.host), node.sip_port, node.sip_tls_port)
    order = {service: place for place, service in enumerate(("_sip._udp", "_sip._tcp", "_sips._tcp"))}
    records.sort(key=lambda record: (order[record[0]], record[1]))
    lines = [
        f"{service}.{_domain(domain)}. {SRV_SECONDS} IN SRV {priority} 0 {port} {host}"
        for service, priority, port, host in records
    ]
    for own, address in sorted(names.items()):
        kind = "AAAA" if ":" in address else "A"
        lines.append(f"{own} {SRV_SECONDS} IN {kind} {address}")
    return "\n".join(lines) + "\n"


def _services(priority: int, host: str, port: int, tls_port: int | None) -> list[tuple[str, int, int, str]]:
    found = [("_sip._udp", priority, port, host), ("_sip._tcp", priority, port, host)]
    if tls_port is not None:
        found.append(("_sips._tcp", priority, tls_port, host))
    return found


def _listening(settings: EdgeSettings, protocol: str, port: int) -> str:
    line = f"listen={protocol}:{format_host(_host(settings.listen_on))}:{port}"
    advertised = settings.advertised
    return line if advertised is None else f'{line} advertise "{format_host(_host(advertised))}:{port}"'


def _literal(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _host(text: str) -> str:
    return text if parse_address(text) else _domain(text.lower())


def _domain(text: str) -> str:
    if _DOMAIN.fullmatch(text) is None or ".." in text:
        raise NameRefused(text)
    return text


def _label(name: str) -> str:
    """A node's name as one label: it has letters, digits, `_` and `-`."""
    return _domain(name.lower().replace("_", "-"))
