"""The SIP edge that seats may reach: the nodes with their media ports, and the Kamailios in front of them."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import AddressValueError, IPv4Address

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.http import View
from provisioning.tunnels.errors import EdgeNotResolved
from switch.edge.models import SipEdge
from switch.models import Node
from switch.node_sign_in import STATE_LEFT

RESOLVE_TIMEOUT_SECONDS = 2.0
log = logs.get(__name__)


class EdgeView(View):
    """A server of the SIP edge: its address or name, its ports of SIP and of media (UDP, first and last)."""

    host: str
    udp_ports: list[int]
    tcp_ports: list[int]
    media: tuple[int, int] | None


async def servers(session: AsyncSession) -> list[EdgeView]:
    """Every server of the edge, in a fixed order."""
    nodes = select(Node).where(Node.state != STATE_LEFT).order_by(Node.sip_host, Node.sip_port)
    found = [
        EdgeView(
            host=node.sip_host,
            udp_ports=[node.sip_port],
            tcp_ports=_tcp(node.sip_port, node.sip_tls_port),
            media=(node.rtp_start_port, node.rtp_end_port),
        )
        for node in (await session.execute(nodes)).scalars()
    ]
    edges = select(SipEdge).order_by(SipEdge.host, SipEdge.sip_port)
    return found + [
        EdgeView(
            host=each.host,
            udp_ports=[each.sip_port],
            tcp_ports=_tcp(each.sip_port, each.sip_tls_port),
            media=None,
        )
        for each in (await session.execute(edges)).scalars()
    ]


class Reachable:
    """The IPv4 addresses of the edge, looked up once and only when first wanted: for one request, however many seats it
    hands out."""

    def __init__(self) -> None:
        self._addresses: list[str] | None = None

    async def addresses(self, session: AsyncSession) -> list[str]:
        """The addresses in order; none while there is no server. Raises `EdgeNotResolved`: a configuration without one
        of the servers would fail on the day when that one serves."""
        if self._addresses is None:
            hosts = sorted({server.host for server in await servers(session) if ":" not in server.host})
            found = dict(zip(hosts, await asyncio.gather(*(resolved(host) for host in hosts)), strict=True))
            lost = [host for host, addresses in found.items() if not addresses]
            if lost:
                raise EdgeNotResolved(lost)
            self._addresses = sorted({each for of_host in found.values() for each in of_host}, key=IPv4Address)
        return self._addresses


async def resolved(host: str) -> list[str]:
    """The IPv4 addresses of a host: its own where it is one, none for IPv6, else what the resolver says."""
    try:
        return [str(IPv4Address(host))]
    except AddressValueError:
        if ":" in host:
            return []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
            answers = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError) as error:
        log.warning("tunnel_edge.not_resolved", host=host, reason=str(error) or type(error).__name__)
        return []
    return sorted({str(answer[4][0]) for answer in answers})


def _tcp(port: int, tls_port: int | None) -> list[int]:
    return [port] if tls_port is None else [port, tls_port]
