"""A VPN gateway that nobody hears of any more is a fault of the seats with tunnels there (C11, C20)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from infra.kit import clock
from tests.provisioning.outage_looks import MINUTE, Cluster, later
from tests.provisioning.tunnel_world import GatewayHost, hand_out, make_gateway
from tests.provisioning.world import World

HALF_A_MINUTE = timedelta(seconds=30)


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


@pytest.fixture
async def gateway(world: World) -> GatewayHost:
    return await make_gateway(world)


async def test_a_gateway_that_is_silent_is_a_fault_of_the_seats_with_tunnels_and_ends_when_it_asks_again(
    world: World, cluster: Cluster, gateway: GatewayHost
) -> None:
    tenant_id, _, seat_ids = await world.opened(3)
    await world.opened(1, tenant_id=await world.api.tenant("without-keys"))
    for seat_id in seat_ids[:2]:
        await hand_out(world, tenant_id, seat_id)
    later(minutes=2)
    await gateway.asks()
    heard_at = clock.now()
    await cluster.looks(1, every=HALF_A_MINUTE)
    assert await cluster.observations() == []
    await cluster.looks(4)
    [fault] = await cluster.faults()
    assert (fault["tenant_id"], fault["numbers"], fault["cause"]) == (tenant_id, [1, 2], "operator")
    assert abs(datetime.fromisoformat(fault["began_at"]) - heard_at) < HALF_A_MINUTE
    await gateway.asks()
    back_at = clock.now()
    for _ in range(14):
        await cluster.looks(1, every=HALF_A_MINUTE)
        await gateway.asks()
    [fault] = await cluster.faults()
    assert datetime.fromisoformat(fault["ended_at"]) - back_at <= MINUTE
    assert await cluster.observations() == [("tunnel_gateway_down", "ended")]


async def test_where_phones_are_still_registered_a_person_decides(
    world: World, cluster: Cluster, gateway: GatewayHost
) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    await hand_out(world, tenant_id, seat_ids[0])
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, node, ["1001"], minutes=7)
    await gateway.asks()
    await cluster.looks(5)
    [fault] = await cluster.faults()
    assert (fault["state"], fault["cause"]) == ("reported", None)
    await cluster.looks(12)  # the registration has run out: nothing carries any more
    [fault] = await cluster.faults()
    assert (fault["state"], fault["cause"]) == ("confirmed", "operator")


async def test_a_revoked_gateway_with_tunnels_is_the_operators_fault_until_another_has_them(
    world: World, cluster: Cluster, gateway: GatewayHost
) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    await hand_out(world, tenant_id, seat_ids[0])
    await gateway.asks()
    await world.operator.post(f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}/revocation")
    await cluster.looks(5)
    [fault] = await cluster.faults()
    assert (fault["cause"], fault["ended_at"]) == ("operator", None)
    other = await make_gateway(world, "vpn-2")
    await hand_out(world, tenant_id, seat_ids[0])
    for _ in range(14):
        await cluster.looks(1, every=HALF_A_MINUTE)
        await other.asks()
    [fault] = await cluster.faults()
    assert fault["ended_at"] is not None
