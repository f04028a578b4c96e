"""The files that WireGuard reads: a seat's configuration, and the peers of a gateway. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from switch.sip.uri import format_host

SEAT_MTU_BYTES = 1380
"""Fits PPPoE and mobile networks: 1,440 bytes on the way with WireGuard's 60 over IPv4."""

KEEPALIVE_SECONDS = 25
"""Keeps the way back open through home routers, so that calls from outside find the phone."""

OWN_KEY_LINE = "# PrivateKey = (the one whose public key you supplied)"


@dataclass(frozen=True, slots=True)
class Peer:
    """A seat as its gateway sees it."""

    public_key: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatSide:
    """What a seat's configuration says besides its key; `reachable` are addresses of the SIP edge."""

    address: str
    gateway_key: str
    gateway_host: str
    gateway_port: int
    reachable: Sequence[str]


def seat_configuration(side: SeatSide, *, private_key: str | None) -> str:
    """The file that a seat's user imports or scans; None: the user has the private key already.

    Only the SIP edge goes through the tunnel; everything else of the user's computer stays outside.
    """
    key = OWN_KEY_LINE if private_key is None else f"PrivateKey = {private_key}"
    allowed = ", ".join(f"{address}/{_bits(address)}" for address in side.reachable)
    return (
        "[Interface]\n"
        f"{key}\n"
        f"Address = {side.address}/32\n"
        f"MTU = {SEAT_MTU_BYTES}\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {side.gateway_key}\n"
        f"Endpoint = {format_host(side.gateway_host)}:{side.gateway_port}\n"
        f"AllowedIPs = {allowed}\n"
        f"PersistentKeepalive = {KEEPALIVE_SECONDS}\n"
    )


def gateway_configuration(
    private_key: str, listen_port: int, peers: Iterable[Peer], *, shut: Iterable[str] = ()
) -> str:
    """A gateway's interface and peers for `wg syncconf`, which takes off whoever is not named.

    Peers whose keys are in `shut` stay with their counters, but nothing of them passes any more. The interface's own
    key and port are said each time: without them `wg syncconf` would take them away.
    """
    interface = f"[Interface]\nPrivateKey = {private_key}\nListenPort = {listen_port}\n"
    let_in = "".join(f"[Peer]\nPublicKey = {peer.public_key}\nAllowedIPs = {peer.address}/32\n" for peer in peers)
    return interface + let_in + "".join(f"[Peer]\nPublicKey = {key}\n" for key in shut)


def _bits(address: str) -> int:
    return 128 if isinstance(ip_address(address), IPv6Address) else 32
