"""HTTP for draining nodes; progress stands in the node itself (`GET /v1/nodes/{node_id}`)."""

from __future__ import annotations

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from switch.draining import drains
from switch.draining.schemas import DrainOrder, SweepEnd
from switch.schemas import NodeView, node_view


@post(
    "/v1/nodes/{node_id:str}/drain",
    permission="nodes:write",
    tags=["Nodes"],
    operation_id="DrainNode",
    status_code=200,
)
async def drain_node(
    node_id: FromPath[str], data: JSONBody[DrainOrder], session: NamedDependency[AsyncSession]
) -> NodeView:
    """Take an active node (its id or name) out of service; for one that still waits for calls, move the deadline."""
    node = await drains.request(session, node_id, deadline=data.deadline)
    return node_view(node, await drains.find(session, node.node_id))


@post(
    "/v1/nodes/{node_id:str}/cancel-drain",
    permission="nodes:write",
    tags=["Nodes"],
    operation_id="CancelNodeDrain",
    status_code=200,
)
async def cancel_node_drain(node_id: FromPath[str], session: NamedDependency[AsyncSession]) -> NodeView:
    """Give a draining or drained node (its id or name) back to service."""
    node = await drains.cancel(session, node_id)
    return node_view(node, await drains.find(session, node.node_id))


@post(
    "/v1/nodes/{node_id:str}/end-sweep",
    permission="nodes:write",
    tags=["Nodes"],
    operation_id="EndNodeSweep",
    status_code=200,
)
async def end_node_sweep(
    node_id: FromPath[str], data: JSONBody[SweepEnd], session: NamedDependency[AsyncSession]
) -> NodeView:
    """Go on with a drain that waits for call records which will not come; they stay reported as missing."""
    node = await drains.end_sweep(session, node_id, reason=data.reason)
    return node_view(node, await drains.find(session, node.node_id))


ROUTES = [drain_node, cancel_node_drain, end_node_sweep]
