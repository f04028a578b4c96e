"""Where a tenant lives: its home node, its spare, and the node that serves it now. Nodes are named by their names.

Which node is chosen is decided above (provisioning); here the choice is kept. The switch asks for the serving node at
every registration and call, so a move holds from its commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.problems import InvalidInput
from switch.errors import AlreadyPlaced, NotPlaced, PlacementChanged
from switch.models import Placement


async def find(session: AsyncSession, tenant_id: str, *, for_update: bool = False) -> Placement | None:
    """A tenant's placement, or None while it has none."""
    query = select(Placement).where(Placement.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one_or_none()


async def get(session: AsyncSession, tenant_id: str, *, for_update: bool = False) -> Placement:
    """A tenant's placement; raises `NotPlaced`."""
    placement = await find(session, tenant_id, for_update=for_update)
    if placement is None:
        raise NotPlaced(f"The tenant {tenant_id} lives on no node yet.", field="tenant_id")
    return placement


async def assign(session: AsyncSession, tenant_id: str, *, home_node: str, spare_node: str | None) -> Placement:
    """Give a tenant its home, where it is served from now on, and its spare. Raises `AlreadyPlaced`."""
    if spare_node == home_node:
        raise InvalidInput("The spare is another node than the home.", field="spare_node")
    assigned = await session.execute(
        insert(Placement)
        .values(
            tenant_id=tenant_id,
            home_node=home_node,
            spare_node=spare_node,
            serving_node=home_node,
            generation=1,
            changed_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(Placement)
    )
    placement = assigned.scalar_one_or_none()
    if placement is None:
        raise AlreadyPlaced(f"The tenant {tenant_id} lives on a node already; move it instead.", field="tenant_id")
    await audit.record(session, tenant_id, "tenant.placed", tenant_id, home=home_node, spare=spare_node)
    return placement


async def move(
    session: AsyncSession, tenant_id: str, to_node: str, *, reason: str, generation: int | None = None
) -> Placement:
    """Let another node serve a tenant from this commit on; home and spare stay as they are.

    `generation` is the placement's one that the decision was made on: when it has changed since, `PlacementChanged`.
    Moving to the node that serves already changes nothing.
    """
    placement = await get(session, tenant_id, for_update=True)
    if generation is not None and placement.generation != generation:
        raise PlacementChanged(f"The tenant {tenant_id} was moved meanwhile; read its placement again.")
    if placement.serving_node == to_node:
        return placement
    before = placement.serving_node
    placement.serving_node = to_node
    placement.generation += 1
    placement.changed_at = clock.now()
    await audit.record(session, tenant_id, "tenant.moved", tenant_id, origin=before, destination=to_node, reason=reason)
    return placement


async def settle(session: AsyncSession, tenant_id: str, *, home_node: str, spare_node: str | None) -> Placement:
    """Change where a tenant belongs (home and spare) without moving it."""
    if spare_node == home_node:
        raise InvalidInput("The spare is another node than the home.", field="spare_node")
    placement = await get(session, tenant_id, for_update=True)
    if (placement.home_node, placement.spare_node) != (home_node, spare_node):
        placement.home_node, placement.spare_node = home_node, spare_node
        placement.generation += 1
        placement.changed_at = clock.now()
        await audit.record(session, tenant_id, "tenant.settled", tenant_id, home=home_node, spare=spare_node)
    return placement


async def tenants_on(session: AsyncSession, node: str) -> list[Placement]:
    """The placements that this node serves now, by tenant."""
    query = select(Placement).where(Placement.serving_node == node).order_by(Placement.tenant_id)
    return list((await session.execute(query)).scalars())


async def count_served(session: AsyncSession, nodes: Sequence[str]) -> dict[str, int]:
    """How many tenants each of these nodes serves now."""
    query = (
        select(Placement.serving_node, func.count())
        .where(Placement.serving_node.in_(nodes))
        .group_by(Placement.serving_node)
    )
    served = {str(row[0]): int(row[1]) for row in await session.execute(query)}
    return {node: served.get(node, 0) for node in nodes}
