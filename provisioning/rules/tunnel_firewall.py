"""What a seat reaches through its tunnel: the SIP edge and nothing else, as rules of nftables. Pure.

The rules hang on the tunnels' interface alone, in a table of their own that is replaced as a whole: other tables of the
host keep their say, because what they drop stays dropped and what this one drops is never let through by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from provisioning.rules.tunnel_addresses import SUPERNET

TABLE = "seatline_tunnels"
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
PING_A_SECOND = 50
"""Echo requests that may pass for all seats together, so that a user's support can see whether the edge is there."""


@dataclass(frozen=True, slots=True, order=True)
class EdgeServer:
    """A server of the SIP edge: IPv4 address, ports of SIP, first and last UDP port of media (None: it has none)."""

    address: str
    udp_ports: tuple[int, ...]
    tcp_ports: tuple[int, ...]
    media: tuple[int, int] | None = None


def ruleset(interface: str, edge: Iterable[EdgeServer]) -> str:
    """The whole input for `nft -f -`; loading it replaces the table at once, with no moment in between.

    An empty edge shuts everything. Addresses are checked here again, because the text is executed as root.
    """
    allowed: list[str] = []
    for server in sorted(set(edge)):
        address = str(IPv4Address(server.address))
        udp = [str(port) for port in sorted(set(server.udp_ports))]
        if server.media is not None:
            udp.append(f"{server.media[0]:d}-{server.media[1]:d}")
        if udp:
            allowed.append(f"ip daddr {address} udp dport {{ {', '.join(udp)} }} accept")
        if server.tcp_ports:
            tcp = ", ".join(str(port) for port in sorted(set(server.tcp_ports)))
            allowed.append(f"ip daddr {address} tcp dport {{ {tcp} }} accept")
        allowed.append(f"ip daddr {address} icmp type echo-request limit rate {PING_A_SECOND}/second accept")
    from_seats = "\n".join(f"        {line}" for line in dict.fromkeys(allowed))
    name = _quoted(interface)
    return f"""\
add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    chain from_seats {{
        ip saddr != {SUPERNET} drop
{from_seats}
        drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname {name} oifname {name} drop
        iifname {name} jump from_seats
        oifname {name} ct state established,related accept
        oifname {name} jump to_seats
    }}
    chain to_seats {{
{_from_edge(edge)}
        drop
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname {name} drop
    }}
}}
"""


def _from_edge(edge: Iterable[EdgeServer]) -> str:
    """A call to a seat begins at the edge, from the ports it has."""
    lines: list[str] = []
    for server in sorted(set(edge)):
        address = str(IPv4Address(server.address))
        udp = [str(port) for port in sorted(set(server.udp_ports))]
        if server.media is not None:
            udp.append(f"{server.media[0]:d}-{server.media[1]:d}")
        if udp:
            lines.append(f"        ip saddr {address} udp sport {{ {', '.join(udp)} }} accept")
    return "\n".join(dict.fromkeys(lines))


def _quoted(interface: str) -> str:
    if not _INTERFACE.match(interface):
        raise ValueError(f"{interface!r} is not the name of an interface.")
    return f'"{interface}"'
