"""Address pools: each tenant's own networks, and the gateway that they are behind."""

from __future__ import annotations

from ipaddress import IPv4Network

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from provisioning.models import Seat
from provisioning.rules import seat_states, tunnel_addresses
from provisioning.tunnels.errors import NetworkTaken
from provisioning.tunnels.models import TunnelBlock, TunnelGateway, TunnelNetwork, TunnelPool
from tenancy import tenants

CLAIM_ATTEMPTS = 5
"""Two tenants that get their first network at once may look at the same free blocks; the later one looks again."""


async def add_network(session: AsyncSession, tenant_id: str, network: str) -> TunnelNetwork:
    """Give a tenant a network of its own, as `10.64.4.0/22`. Raises `NetworkRefused`, `NetworkTaken`.

    Runs under the platform's role: whether a block is free is a question about every tenant.
    """
    wanted = tunnel_addresses.read_network(network)
    await tenants.get_staying(session, tenant_id)
    await _lock_pool(session, tenant_id)
    if not await _claim(session, tenant_id, wanted):
        raise NetworkTaken(f"A part of {wanted} belongs to a tenant already; choose another network.", field="network")
    return await _keep(session, tenant_id, wanted)


async def check_room(session: AsyncSession, tenant_id: str) -> None:
    """Refuse an order after which the tenant has more seats than addresses; the first order brings a pool.

    Called with the order's seats in the transaction already. Raises `AddressesExhausted`.
    """
    await _lock_pool(session, tenant_id)
    query = select(func.count()).where(
        Seat.tenant_id == tenant_id, Seat.item == "seat", Seat.state.in_(sorted(seat_states.HELD))
    )
    seats = await session.scalar(query) or 0
    networks = await networks_of(session, tenant_id)
    if not networks:
        networks = [await _first_network(session, tenant_id, seats)]
    tunnel_addresses.check_room(networks, seats)


async def networks_of(session: AsyncSession, tenant_id: str) -> list[IPv4Network]:
    """The networks of a tenant's pool."""
    query = select(TunnelNetwork.network).where(TunnelNetwork.tenant_id == tenant_id)
    return [IPv4Network(text) for text in (await session.execute(query)).scalars()]


async def hold(session: AsyncSession, tenant_id: str) -> TunnelPool:
    """The tenant's pool, locked until the transaction ends; a tenant from before the tunnels gets one now."""
    pool = await _lock_pool(session, tenant_id)
    if not await networks_of(session, tenant_id):
        await _first_network(session, tenant_id, 1)
    return pool


async def gateway_of(session: AsyncSession, pool: TunnelPool) -> TunnelGateway | None:
    """The gateway that a tenant's tunnels end at; the pool is held by the caller.

    Chosen once, the one with the fewest tenants; chosen anew when that one was revoked. None: there is none yet that
    has ever signed in.
    """
    if pool.tunnel_gateway_id is not None:
        present = await session.get(TunnelGateway, pool.tunnel_gateway_id)
        if present is not None and present.revoked_at is None:
            return present
    tenants_of = (
        select(func.count())
        .where(TunnelPool.tunnel_gateway_id == TunnelGateway.tunnel_gateway_id)
        .correlate(TunnelGateway)
        .scalar_subquery()
    )
    query = (
        select(TunnelGateway)
        .where(TunnelGateway.revoked_at.is_(None), TunnelGateway.public_key.is_not(None))
        .order_by(tenants_of, TunnelGateway.tunnel_gateway_id)
        .limit(1)
    )
    chosen = (await session.execute(query)).scalar_one_or_none()
    if chosen is not None:
        pool.tunnel_gateway_id = chosen.tunnel_gateway_id
        await session.flush()
    return chosen


async def _lock_pool(session: AsyncSession, tenant_id: str) -> TunnelPool:
    await session.execute(
        insert(TunnelPool)
        .values(tenant_id=tenant_id, tunnel_gateway_id=None, created_at=clock.now())
        .on_conflict_do_nothing()
    )
    query = (
        select(TunnelPool)
        .where(TunnelPool.tenant_id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalar_one()


async def _first_network(session: AsyncSession, tenant_id: str, seats: int) -> IPv4Network:
    prefix = tunnel_addresses.prefix_for(seats)
    for _ in range(CLAIM_ATTEMPTS):
        taken = frozenset((await session.execute(select(TunnelBlock.block))).scalars())
        network = tunnel_addresses.free_network(prefix, taken)
        if await _claim(session, tenant_id, network):
            await _keep(session, tenant_id, network)
            return network
    raise NetworkTaken("Other tenants are getting their networks at this moment; try again.", field="quantity")


async def _claim(session: AsyncSession, tenant_id: str, network: IPv4Network) -> bool:
    """Claim every block of a network, or none."""
    blocks = tunnel_addresses.blocks_of(network)
    async with session.begin_nested() as attempt:
        claimed = await session.execute(
            insert(TunnelBlock)
            .values([{"block": block, "tenant_id": tenant_id} for block in blocks])
            .on_conflict_do_nothing()
            .returning(TunnelBlock.block)
        )
        if len(claimed.scalars().all()) == len(blocks):
            return True
        await attempt.rollback()
    return False


async def _keep(session: AsyncSession, tenant_id: str, network: IPv4Network) -> TunnelNetwork:
    row = TunnelNetwork(tenant_id=tenant_id, network=str(network), created_at=clock.now())
    session.add(row)
    await session.flush()
    await audit.record(session, tenant_id, "tunnel_network.added", row.network)
    return row
