"""A node leaves the cluster for good: it is supervised no more, and what it asks and reports is refused."""

from __future__ import annotations

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.database import PLATFORM
from switch import nodes, placements
from switch.draining import drains
from switch.errors import NodeStillNeeded
from switch.live import store
from switch.models import GatewayState, Node
from switch.node_states import NodeEvent, NodeState, may, states_for
from switch.schemas import NodeView, node_view


async def leave(session: AsyncSession, node_id: str) -> Node:
    """Take a node (its id or name) that serves nobody out of the cluster; leaving again changes nothing.

    Its tenants get new homes with the next look at placements, within a minute. What was seen of it live is shown no
    more, and its supervisor's right ends with this, so that nothing more is written of it. Its name stays taken, since
    call records carry it. Raises `NodeUnknown`, `NodeStillNeeded`.
    """
    node = await nodes.find_locked(session, node_id)
    if node.state == NodeState.LEFT:
        await _forget(session, node.name)
        return node
    if not may(node.state, NodeEvent.LEAVE):
        states = ", ".join(states_for(NodeEvent.LEAVE))
        raise NodeStillNeeded(
            f"The node {node.name} is {node.state}; a node leaves when it is {states}: drain it first."
        )
    served = (await placements.count_served(session, [node.name]))[node.name]
    if served:
        raise NodeStillNeeded(
            f"The node {node.name} still serves {served} tenants; they move when another node can take them."
        )
    before, node.state = node.state, NodeState.LEFT.value
    node.state_changed_at = clock.now()
    node.generation += 1
    node.supervisor = node.supervised_until = None
    node.fencing += 1
    await _forget(session, node.name)
    await audit.record(session, PLATFORM, "node.left", node.node_id, name=node.name, before=before)
    return node


async def _forget(session: AsyncSession, name: str) -> None:
    await store.forget_node(session, name)
    await session.execute(delete(GatewayState).where(GatewayState.node == name))


@post(
    "/v1/nodes/{node_id:str}/leave", permission="nodes:write", tags=["Nodes"], operation_id="LeaveNode", status_code=200
)
async def leave_node(node_id: FromPath[str], session: NamedDependency[AsyncSession]) -> NodeView:
    """Take a joining, drained or dead node (its id or name) that serves nobody out of the cluster, for good."""
    node = await leave(session, node_id)
    return node_view(node, await drains.find(session, node.node_id))


ROUTES = [leave_node]
