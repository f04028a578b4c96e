"""A tenant moves to another home because a person says so."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, reasons
from provisioning import placing
from provisioning.errors import NodeTakesNobody
from switch import nodes, placements
from switch.models import Node, Placement
from tenancy import tenants

REASON_LIMIT_CHARACTERS = 500


async def move(session: AsyncSession, tenant_id: str, *, home_node: str, reason: str) -> Placement:
    """Give a tenant another home (a node's id or name), which serves it from now on; its spare follows the rule.

    Calls that run end where they are, and phones come over when they register anew, as with every move. Moving to the
    home that it has brings it back there. Raises `NotPlaced`, `NodeUnknown`, `NodeTakesNobody`, `InvalidInput`, and 404
    for the tenant.
    """
    words = reasons.given(reason, limit_characters=REASON_LIMIT_CHARACTERS)
    await tenants.get(session, tenant_id)
    # As with orders: one after another, so that two of them cannot both take a node's last room.
    await session.execute(
        select(Node.node_id).where(Node.state != "left").order_by(Node.node_id).with_for_update(key_share=True)
    )
    before = await placements.get(session, tenant_id, for_update=True)
    node = await nodes.find(session, home_node)
    if node.name not in await placing.able_nodes(session):
        raise NodeTakesNobody(
            f"The node {node.name} is {node.state}; a tenant moves to an active one.", field="home_node"
        )
    origin = before.home_node
    if node.name != origin:
        spare = await placing.spare_for(session, before, home=node.name)
        await placements.settle(session, tenant_id, home_node=node.name, spare_node=spare)
    placement = await placements.move(session, tenant_id, node.name, reason=words)
    await audit.record(
        session, tenant_id, "tenant.home_changed", tenant_id, origin=origin, destination=node.name, reason=words
    )
    return placement
