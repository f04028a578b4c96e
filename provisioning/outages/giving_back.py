"""A person says that the work on a node is done before its turn is over."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from billing.outages import windows
from infra.kit import audit
from infra.kit.database import PLATFORM
from provisioning.outages import conducting
from provisioning.outages.errors import WindowNodeNotOut, WindowNodeUnknown
from provisioning.outages.models import WindowNode
from provisioning.rules.turns import Place


async def finish(session: AsyncSession, window_id: str, node: str) -> WindowNode:
    """Have a node of a window given back with the next look, within seconds; again changes nothing.

    Raises `WindowNotFound`, `WindowNodeUnknown`, `WindowNodeNotOut` for one that waits or is settled.
    """
    await windows.find(session, window_id, for_update=True)
    places = await conducting.nodes_of(session, window_id, for_update=True)
    place = next((each for each in places if each.node == node), None)
    if place is None:
        raise WindowNodeUnknown(f"The window {window_id} has no node {node} under way.", field="node")
    if place.state not in (Place.DRAINING, Place.OUT, Place.RETURNING):
        raise WindowNodeNotOut(f"The node {node} is {place.state} in this window.", field="node")
    if not place.is_done:
        place.is_done = True
        await session.flush()
        await audit.record(session, PLATFORM, "maintenance_window.node_done", window_id, node=node)
    return place
