"""Request and response bodies of tunnels."""

from __future__ import annotations

from datetime import datetime

import msgspec

from infra.kit.http import Body, View
from provisioning.rules import tunnel_addresses
from provisioning.tunnels.models import TunnelAccount, TunnelGateway, TunnelNetwork


class NewTunnelGateway(Body):
    """A VPN gateway; seats reach it at this host or address and UDP port."""

    name: str
    endpoint_host: str
    endpoint_port: int = 51_820


class TunnelGatewayView(View):
    """A VPN gateway. `applied_state` names what it let through when it last said so."""

    tunnel_gateway_id: str
    name: str
    endpoint_host: str
    endpoint_port: int
    public_key: str | None
    created_at: datetime
    revoked_at: datetime | None
    last_seen_at: datetime | None
    applied_state: str | None
    applied_at: datetime | None


class TunnelGatewayMade(TunnelGatewayView):
    """A gateway with its secret, which is shown this once."""

    secret: str


class NewTunnelNetwork(Body):
    """A network for a tenant's pool: whole blocks of 256 addresses, such as `10.64.4.0/22`."""

    tenant_id: str
    network: str


class TunnelNetworkView(View):
    """A network of a tenant's pool and how many seats it has addresses for."""

    tenant_id: str
    network: str
    addresses: int
    created_at: datetime


class TunnelKey(Body):
    """The public key of a pair that the tenant has made itself, as `wg pubkey` prints it."""

    public_key: str


class TunnelView(View):
    """A seat's WireGuard account. `key_origin`: made (handed out by us), supplied (the tenant's own) or null.

    `is_open`: whether the gateway is told to let it in, now.
    """

    seat_id: str
    tenant_id: str
    address: str | None
    public_key: str | None
    key_origin: str | None
    key_changed_at: datetime | None
    last_handshake_at: datetime | None
    is_open: bool


def gateway_view(gateway: TunnelGateway) -> TunnelGatewayView:
    """A gateway without its secret."""
    return msgspec.convert(_fields(gateway), TunnelGatewayView)


def gateway_made(gateway: TunnelGateway, secret: str) -> TunnelGatewayMade:
    """A gateway with the secret that was just made."""
    return msgspec.convert(_fields(gateway) | {"secret": secret}, TunnelGatewayMade)


def network_view(network: TunnelNetwork) -> TunnelNetworkView:
    """A network of a pool."""
    return TunnelNetworkView(
        tenant_id=network.tenant_id,
        network=network.network,
        addresses=tunnel_addresses.capacity([tunnel_addresses.read_network(network.network)]),
        created_at=network.created_at,
    )


def tunnel_view(tenant_id: str, seat_id: str, account: TunnelAccount | None, *, is_open: bool) -> TunnelView:
    """A seat's account; all null where it has none (yet)."""
    own = ("address", "public_key", "key_origin", "key_changed_at", "last_handshake_at")
    fields = {name: None if account is None else getattr(account, name) for name in own}
    return msgspec.convert({"tenant_id": tenant_id, "seat_id": seat_id, "is_open": is_open} | fields, TunnelView)


def _fields(gateway: TunnelGateway) -> dict[str, object]:
    return {name: getattr(gateway, name) for name in TunnelGatewayView.__struct_fields__}
