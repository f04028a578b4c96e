"""The audit trail: written in the same transaction as what it tells."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.ids import new_id
from infra.kit.models import AuditEntry

SYSTEM = "system"
actor: ContextVar[str] = ContextVar("seatline_actor", default=SYSTEM)
"""Who acts in this request or job: a client id, or `system`."""


async def record(
    session: AsyncSession, tenant_id: str, action: str, object_id: str | None = None, **facts: Any
) -> None:
    """Add one entry. Facts are JSON values; never secrets."""
    now = clock.now()
    session.add(
        AuditEntry(
            tenant_id=tenant_id,
            month=clock.local_date(now).replace(day=1),
            entry_id=new_id("aud"),
            occurred_at=now,
            actor=actor.get(),
            action=action,
            object_id=object_id,
            facts=facts,
        )
    )
