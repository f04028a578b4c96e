"""What the tests of tunnels act on: a VPN gateway that asks and reports as the real program does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import select

from billing.data_traffic.models import DataUsage
from infra.kit.database import Scope
from provisioning.rules import tunnel_keys
from provisioning.seats import get_seat
from provisioning.tunnels import handing
from provisioning.tunnels.handing import Setup
from tests.api import Api
from tests.provisioning.world import World


@dataclass
class GatewayHost:
    """A VPN gateway's credential and what its host made for itself."""

    api: Api
    tunnel_gateway_id: str
    name: str
    secret: str
    instance: str = "instance-of-the-first-host"
    public_key: str = field(default_factory=lambda: tunnel_keys.new_pair().public)

    async def asks(self, **more: Any) -> httpx.Response:
        """POST /gateway/peers."""
        body = {"instance": self.instance, "public_key": self.public_key} | more
        return await self.api.http.post("/gateway/peers", json=body, auth=(self.name, self.secret))

    async def peers(self) -> dict[str, str]:
        """Whom it lets in: addresses by public key."""
        answer = await self.asks()
        assert answer.status_code == 200, answer.text
        return {each["public_key"]: each["address"] for each in answer.json()["peers"]}

    async def reports(self, *readings: dict[str, Any]) -> httpx.Response:
        """POST /gateway/readings."""
        body = {"instance": self.instance, "readings": list(readings)}
        return await self.api.http.post("/gateway/readings", json=body, auth=(self.name, self.secret))


async def make_gateway(world: World, name: str = "vpn-1") -> GatewayHost:
    """A gateway that has signed in once."""
    made = await world.operator.post("/v1/tunnel-gateways", {"name": name, "endpoint_host": "vpn.example.com"})
    assert made.status_code == 201, made.text
    plain = made.json()
    host = GatewayHost(world.api, plain["tunnel_gateway_id"], name, plain["secret"])
    assert (await host.asks()).status_code == 200
    return host


async def hand_out(world: World, tenant_id: str, seat_id: str) -> Setup:
    """New keys for a seat, as a hand-out makes them."""
    async with world.api.database.transaction(Scope.platform()) as session:
        setup = await handing.make_keys(session, await get_seat(session, seat_id, tenant_id))
        assert setup is not None
        return setup


async def key_of(world: World, seat_id: str) -> str:
    """A seat's public key as the API shows it."""
    return (await world.operator.get(f"/v1/seats/{seat_id}/tunnel")).json()["public_key"]


def reading(public_key: str, received: int, sent: int = 0, *, life: str = "life-1", **more: Any) -> dict[str, Any]:
    """Counters as a gateway reports them."""
    return {"public_key": public_key, "life": life, "received": received, "sent": sent} | more


async def usage(world: World, tenant_id: str) -> list[DataUsage]:
    """The tenant's records of data traffic by day and seat."""
    async with world.api.database.transaction(Scope.platform()) as session:
        query = (
            select(DataUsage).where(DataUsage.tenant_id == tenant_id).order_by(DataUsage.day, DataUsage.billing_month)
        )
        return list((await session.execute(query)).scalars())
