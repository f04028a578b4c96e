"""What a node is that is heard of again, apart from the rest of draining because the lease of nodes asks for it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from switch.draining.models import NodeDrain
from switch.draining.states import NODE_STATES, Phase


async def state_when_heard(session: AsyncSession, node_id: str) -> str:
    """`active`, unless a drain of the node is under way or holds."""
    query = select(NodeDrain.phase).where(NodeDrain.node_id == node_id)
    phase = (await session.execute(query)).scalar_one_or_none()
    return "active" if phase is None else NODE_STATES[Phase(phase)]
