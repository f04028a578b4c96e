"""Refusals about tunnels."""

from __future__ import annotations

from collections.abc import Sequence

from infra.kit.problems import Conflict, NotFound, Unauthenticated, Unavailable
from provisioning.rules.tunnel_addresses import AddressesExhausted, NetworkRefused
from provisioning.rules.tunnel_keys import KeyRefused

__all__ = [
    "AddressesExhausted",
    "EdgeNotResolved",
    "GatewayInstanceRefused",
    "GatewayNameTaken",
    "GatewayNotSignedIn",
    "GatewayUnknown",
    "KeyRefused",
    "KeyUsedBefore",
    "NetworkRefused",
    "NetworkTaken",
    "NoTunnelGateway",
    "TunnelSeatRefused",
]


class GatewayUnknown(NotFound):
    """There is no such VPN gateway."""

    code = "tunnel_gateway_not_found"


class GatewayNameTaken(Conflict):
    """Another VPN gateway has this name."""

    code = "tunnel_gateway_name_taken"


class NetworkTaken(Conflict):
    """A part of the network belongs to a tenant already."""

    code = "tunnel_network_taken"


class KeyUsedBefore(Conflict):
    """The public key is, or was, that of a seat."""

    code = "tunnel_key_used_before"


class TunnelSeatRefused(Conflict):
    """Only a seat that is open has a tunnel."""

    code = "tunnel_seat_not_open"


class NoTunnelGateway(Unavailable):
    """No VPN gateway has signed in yet, so nobody could be told where its tunnel ends."""

    code = "no_tunnel_gateway"


class EdgeNotResolved(Unavailable):
    """A server of the SIP edge has a name for which no address is found, so no tunnel could be said to reach it."""

    code = "sip_edge_not_resolved"

    def __init__(self, hosts: Sequence[str]) -> None:
        super().__init__(
            f"No IPv4 address is found for {', '.join(hosts)}, and a tunnel's configuration names the addresses of all "
            "SIP servers. Nothing was changed, and what was handed out before is still good: suspend a seat whose "
            "device is lost. Ask the operator to set the name's DNS record or the resolver right, or to take a server "
            "that is gone out of the cluster; then try again.",
            hosts=list(hosts),
        )


class GatewayNotSignedIn(Unauthenticated):
    """The gateway's name or secret is missing or wrong, or its credential was revoked."""

    code = "tunnel_gateway_not_signed_in"

    def __init__(self) -> None:
        super().__init__(
            "Sign in with HTTP Basic: the gateway's name and its secret, which was shown when it was made; a revoked "
            "gateway needs a new one.",
            scheme="Basic",
        )


class GatewayInstanceRefused(Unauthenticated):
    """The credential is right but is already used by another installation: it was copied, or the host was rebuilt."""

    code = "tunnel_gateway_instance_refused"

    def __init__(self) -> None:
        super().__init__(
            "This credential belongs to another installation of the gateway. After a rebuild of the host restore its "
            "state directory, or have the operator issue a new credential.",
            scheme="Basic",
            field="instance",
        )
