"""Where a node takes SIP: what it says itself, against its row, by which phones, gateways and edges are sent there.

Addresses and ports of a node that serves nobody may be changed in its row; the node takes them when it is started anew.
Until then it listens where it did, and nobody may be sent to the new place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from switch.documents.directory import INTERNAL_PROFILE
from switch.documents.settings import NodeConfiguration
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused
from switch.models import Node
from switch.sip.uri import format_host

_QUESTION = "sofia status"

_PROFILE = re.compile(
    r"^\s*(?P<name>\S+)\s+profile\s+sips?:[^@\s]*@(?P<host>\[[^\]\s]*\]|[^\s:]+):(?P<port>\d{1,5})\s+(?P<state>\S+)"
    r"(?P<rest>.*)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Socket:
    """An IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{format_host(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node's profiles are expected: at `host`, or at what it binds instead, `listen_host`."""

    host: str
    listen_host: str | None
    ports: Mapping[str, int]

    @classmethod
    def of(cls, node: Node) -> Self:
        """By a node's row."""
        ports = {INTERNAL_PROFILE: node.sip_port, EXTERNAL_PROFILE: node.external_sip_port}
        return cls(host=node.sip_host, listen_host=node.listen_host, ports=ports)

    @classmethod
    def configured(cls, settings: NodeConfiguration) -> Self:
        """By what a node's files say."""
        ports = {INTERNAL_PROFILE: settings.sip_port, EXTERNAL_PROFILE: settings.external_sip_port}
        return cls(host=settings.sip_ip, listen_host=settings.listen_ip, ports=ports)

    def expected(self, profile: str) -> Socket:
        """Where phones or gateways are told that it is."""
        return Socket(self.host, self.ports[profile])

    def has(self, profile: str, found: Socket) -> bool:
        """Whether the profile listens where it should. A node behind another address may name either of them."""
        hosts = {ip_address(each) for each in (self.host, self.listen_host) if each is not None}
        try:
            return found.port == self.ports[profile] and ip_address(found.host) in hosts
        except ValueError:  # what it names is no address
            return False


async def ask(connection: EslConnection, timeout_seconds: float) -> str:
    """What a node says of its profiles; a refusal counts as nothing said. Raises `EslError`."""
    try:
        return await connection.api(_QUESTION, timeout_seconds=timeout_seconds)
    except EslCommandRefused:
        return ""


def read_sockets(overview: str) -> dict[str, Socket]:
    """The answer to `sofia status`: by profile where it takes SIP, leaving out TLS."""
    found: dict[str, Socket] = {}
    for row in _PROFILE.finditer(overview):
        if "(TLS)" not in row["rest"]:
            found.setdefault(row["name"], Socket(row["host"].strip("[]"), int(row["port"])))
    return found


def problem(place: Place, overview: str) -> str | None:
    """Why nobody may be sent to a node that gave this answer, with the remedy; None where it listens as expected.

    A profile that it does not name is not judged here: it may be about to start, or its own log says why it does not.
    """
    wrong = list(_elsewhere(place, read_sockets(overview)))
    if not wrong:
        return None
    return (
        f"{'; '.join(wrong)}: write its configuration again (seatline node-config) and start it from that, or change "
        "its row back (PUT /v1/nodes/{id}); then it is taken into service by itself"
    )


def _elsewhere(place: Place, sockets: Mapping[str, Socket]) -> Iterable[str]:
    for profile in place.ports:
        found = sockets.get(profile)
        if found is not None and not place.has(profile, found):
            yield f"its profile {profile} listens at {found}, but its row says {place.expected(profile)}"
