"""Ends a live leg on somebody's word."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit
from infra.kit.database import Database, Scope
from switch import nodes
from switch.commands import NodeControl, Verdict
from switch.live.errors import EmergencyCallStays, LiveCallUnknown, NodeDidNotAnswer
from switch.live.models import LiveLeg

HANG_UP_CAUSE = "NORMAL_CLEARING"
"""As if a party had hung up; who did it stands in the audit trail."""


async def hang_up(
    session: AsyncSession, database: Database, control: NodeControl, leg_id: str, *, tenant_id: str | None
) -> LiveLeg:
    """End a leg that runs now, and with it the call it is connected in; emergency calls stay.

    `tenant_id` narrows it to one tenant's. Raises `LiveCallUnknown` (also when it ended meanwhile),
    `EmergencyCallStays`, `NodeDidNotAnswer`: then it may have ended, and asking again does no harm.
    """
    query = select(LiveLeg).where(LiveLeg.leg_id == leg_id)
    if tenant_id is not None:
        query = query.where(LiveLeg.tenant_id == tenant_id)
    leg = (await session.execute(query.limit(1))).scalars().first()
    if leg is None:
        raise LiveCallUnknown(f"No leg {leg_id} runs now; GET /v1/calls has those that ended.", field="leg_id")
    if leg.direction == "emergency":
        raise EmergencyCallStays("This is an emergency call; only its parties end it.", field="leg_id")
    # Nodes and their secrets are the platform's; a tenant's own role does not see them.
    async with database.transaction(Scope.platform()) as platform:
        node = await nodes.get_by_name(platform, leg.node)
    outcome = await control.hang_up(node, leg.leg_id, HANG_UP_CAUSE)
    if outcome.verdict is Verdict.REFUSED:
        raise LiveCallUnknown(f"The leg {leg_id} has just ended by itself.", field="leg_id")
    if not outcome.is_done:
        raise NodeDidNotAnswer(f"The node {leg.node} did not confirm it; look again, then repeat the request.")
    await audit.record(session, leg.tenant_id, "call.hung_up", leg.leg_id, node=leg.node)
    return leg
