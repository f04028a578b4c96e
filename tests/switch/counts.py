"""What the supervisors of nodes in service write again and again, for tests without any: their sessions are counted."""

from __future__ import annotations

from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Database, Scope
from switch.completeness import counting
from switch.completeness.counting import SessionCount
from switch.models import Node

IN_SERVICE = ("active", "cut_off", "draining")


async def count_nodes(database: Database) -> None:
    """Every node in service that has ever been heard is counted now; it has begun no call."""
    now = clock.now()
    async with database.transaction(Scope.platform()) as session:
        query = select(Node.name, Node.created_at).where(Node.state.in_(IN_SERVICE), Node.heartbeat_at.is_not(None))
        for name, created_at in (await session.execute(query)).all():
            await counting.observe(session, name, SessionCount(f"boot of {name}", 0, now), added_at=created_at)
