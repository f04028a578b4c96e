"""HTTP for VPN gateways, address pools and the seats' WireGuard accounts."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Scope, enter_scope
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from provisioning import seats
from provisioning.api import NOT_STORED
from provisioning.models import Seat
from provisioning.tunnels import accounts, desired, gateways, pools
from provisioning.tunnels.models import TunnelGateway, TunnelNetwork
from provisioning.tunnels.schemas import (
    NewTunnelGateway,
    NewTunnelNetwork,
    TunnelGatewayMade,
    TunnelGatewayView,
    TunnelKey,
    TunnelNetworkView,
    TunnelView,
    gateway_made,
    gateway_view,
    network_view,
    tunnel_view,
)

GATEWAY_TAGS = ["VPN gateways"]
TAGS = ["VPN"]
GATEWAYS = "/v1/tunnel-gateways"


@post(
    GATEWAYS,
    permission="tunnel_gateways:write",
    tags=GATEWAY_TAGS,
    operation_id="CreateTunnelGateway",
    response_headers=NOT_STORED,
)
async def create_gateway(data: JSONBody[NewTunnelGateway], session: NamedDependency[AsyncSession]) -> TunnelGatewayMade:
    """A VPN gateway and the secret that `seatline gateway` signs in with, shown this once."""
    gateway, secret = await gateways.create(
        session, name=data.name, endpoint_host=data.endpoint_host, endpoint_port=data.endpoint_port
    )
    return gateway_made(gateway, secret)


@get(GATEWAYS, permission="tunnel_gateways:read", tags=GATEWAY_TAGS, operation_id="ListTunnelGateways")
async def list_gateways(
    *, session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[TunnelGatewayView]:
    """VPN gateways, newest first."""
    rows, following = await fetch_page(
        session, select(TunnelGateway), keys=(TunnelGateway.tunnel_gateway_id,), limit=limit, after=after
    )
    return Page(items=[gateway_view(row) for row in rows], next=following)


@post(
    f"{GATEWAYS}/{{tunnel_gateway_id:str}}/revocation",
    permission="tunnel_gateways:write",
    tags=GATEWAY_TAGS,
    operation_id="RevokeTunnelGateway",
    status_code=HTTP_200_OK,
)
async def revoke_gateway(tunnel_gateway_id: FromPath[str], session: NamedDependency[AsyncSession]) -> TunnelGatewayView:
    """Refuse a gateway's credential from now on; its program then closes every tunnel and ends."""
    return gateway_view(await gateways.revoke(session, tunnel_gateway_id))


@post(
    f"{GATEWAYS}/{{tunnel_gateway_id:str}}/credential",
    permission="tunnel_gateways:write",
    tags=GATEWAY_TAGS,
    operation_id="RenewTunnelGatewayCredential",
    status_code=HTTP_200_OK,
    response_headers=NOT_STORED,
)
async def renew_gateway_credential(
    tunnel_gateway_id: FromPath[str], session: NamedDependency[AsyncSession]
) -> TunnelGatewayMade:
    """A new secret, shown this once; the old one is refused from now on. Also after a revocation or a rebuild."""
    gateway, secret = await gateways.renew_credential(session, tunnel_gateway_id)
    return gateway_made(gateway, secret)


@post("/v1/tunnel-networks", permission="tunnel_gateways:write", tags=TAGS, operation_id="AddTunnelNetwork")
async def add_network(data: JSONBody[NewTunnelNetwork], session: NamedDependency[AsyncSession]) -> TunnelNetworkView:
    """Add a network to a tenant's pool of VPN addresses."""
    return network_view(await pools.add_network(session, data.tenant_id, data.network))


@get("/v1/tunnel-networks", permission="tunnels:read", tags=TAGS, operation_id="ListTunnelNetworks")
async def list_networks(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[TunnelNetworkView]:
    """The networks of the tenants' pools."""
    query = principal.narrowed(select(TunnelNetwork), TunnelNetwork.tenant_id, tenant_id)
    rows, following = await fetch_page(
        session, query, keys=(TunnelNetwork.tenant_id, TunnelNetwork.network), limit=limit, after=after
    )
    return Page(items=[network_view(row) for row in rows], next=following)


@get("/v1/seats/{seat_id:str}/tunnel", permission="tunnels:read", tags=TAGS, operation_id="GetSeatTunnel")
async def get_tunnel(
    seat_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> TunnelView:
    """A seat's WireGuard account: address, public key, last handshake."""
    return await _view(session, await seats.get_seat(session, seat_id, principal.tenant_id))


@post(
    "/v1/seats/{seat_id:str}/tunnel/key",
    permission="tunnels:write",
    tags=TAGS,
    operation_id="SupplySeatTunnelKey",
    status_code=HTTP_200_OK,
)
async def supply_key(
    seat_id: FromPath[str],
    data: JSONBody[TunnelKey],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> TunnelView:
    """Use a key pair of the tenant's own for a seat: only the public key is told. The earlier key ends now."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await _as_platform(session)
    await accounts.supply_key(session, seat, data.public_key)
    return await _view(session, seat)


@post(
    "/v1/seats/{seat_id:str}/tunnel/revocation",
    permission="tunnels:write",
    tags=TAGS,
    operation_id="RevokeSeatTunnelKey",
    status_code=HTTP_200_OK,
)
async def revoke_key(
    seat_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> TunnelView:
    """End a seat's key, whoever made it: its tunnel closes now, and opens with the next hand-out or supplied key. The
    key never comes back; its SIP account stays as it is."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await _as_platform(session)
    await accounts.drop_keys(session, seat.tenant_id, [seat.seat_id])
    return await _view(session, seat)


async def _view(session: AsyncSession, seat: Seat) -> TunnelView:
    account = await accounts.find(session, seat)
    is_open = account is not None and await desired.is_let_in(session, account)
    return tunnel_view(seat.tenant_id, seat.seat_id, account, is_open=is_open)


async def _as_platform(session: AsyncSession) -> None:
    """Go on under the platform's role: no key of any tenant may come twice. The caller's right was checked before."""
    await enter_scope(session, Scope.platform())


ROUTES = [
    create_gateway,
    list_gateways,
    revoke_gateway,
    renew_gateway_credential,
    add_network,
    list_networks,
    get_tunnel,
    supply_key,
    revoke_key,
]
