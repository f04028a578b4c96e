"""Requests of the VPN: gateways, address pools, keys."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from provisioning.rules import tunnel_keys
from tests.journeys.examples.platform import new_tenant
from tests.journeys.house import Example, House

_numbers = itertools.count(1)


async def _create_gateway(house: House) -> Example:
    body = {"name": f"vpn-{next(_numbers)}", "endpoint_host": "vpn.example.com"}
    return Example(house.world.operator, "/v1/tunnel-gateways", body)


async def _made_gateway(house: House) -> str:
    made = (await (await _create_gateway(house)).send()).json()
    return f"/v1/tunnel-gateways/{made['tunnel_gateway_id']}"


async def _revoke_gateway(house: House) -> Example:
    return Example(house.world.operator, f"{await _made_gateway(house)}/revocation")


async def _renew_credential(house: House) -> Example:
    return Example(house.world.operator, f"{await _made_gateway(house)}/credential")


async def _add_network(house: House) -> Example:
    body = {"tenant_id": await new_tenant(house), "network": f"10.100.{next(_numbers)}.0/24"}
    return Example(house.world.operator, "/v1/tunnel-networks", body)


async def _supply_key(house: House) -> Example:
    body = {"public_key": tunnel_keys.new_pair().public}
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/tunnel/key", body)


async def _revoke_key(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/tunnel/revocation")


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "AddTunnelNetwork": _add_network,
    "CreateTunnelGateway": _create_gateway,
    "RenewTunnelGatewayCredential": _renew_credential,
    "RevokeTunnelGateway": _revoke_gateway,
    "RevokeSeatTunnelKey": _revoke_key,
    "SupplySeatTunnelKey": _supply_key,
}
"""By operation id."""
