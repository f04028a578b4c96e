"""The accepted papers of a tenant, as the rules take them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from tenancy.papers.models import Paper
from tenancy.papers.rules import Held


async def held_by(session: AsyncSession, tenant_id: str) -> list[Held]:
    """What of a tenant's papers was accepted, valid today or not."""
    query = select(Paper).where(Paper.tenant_id == tenant_id, Paper.state == "accepted")
    return [held_of(row) for row in (await session.execute(query)).scalars()]


def held_of(paper: Paper) -> Held:
    """One that was accepted."""
    accepted_on = clock.local_date(paper.decided_at or paper.uploaded_at)
    return Held(paper.kind, paper.valid_from, paper.valid_until, accepted_on)
