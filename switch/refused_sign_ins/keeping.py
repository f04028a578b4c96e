"""Refused sign-ins written, listed and forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.database import PLATFORM
from switch.canary_call import CANARY
from switch.refused_sign_ins.counting import Count, Key
from switch.refused_sign_ins.models import RefusedSignIn
from tenancy.models import SipDomain

KEPT_FOR = timedelta(days=30)
ROWS_AT_ONCE = 500
PRIMARY_KEY = ("tenant_id", "hour", "node", "domain", "username", "source")


async def write(session: AsyncSession, node: str, counts: Mapping[Key, Count]) -> None:
    """Add what one node counted. Runs as the platform."""
    named = {key.domain for key in counts}
    query = select(SipDomain.domain, SipDomain.tenant_id).where(SipDomain.domain.in_(named))
    tenants = {str(row[0]): str(row[1]) for row in await session.execute(query)}
    rows = [
        {
            # The system's own account is tried on purpose where it must be refused: no business of the tenant's.
            "tenant_id": PLATFORM if key.username == CANARY else tenants.get(key.domain, PLATFORM),
            "hour": key.hour,
            "node": node,
            "domain": key.domain,
            "username": key.username,
            "source": key.source,
            "attempts": count.attempts,
            "user_agent": count.user_agent,
            "last_at": count.last_at,
        }
        for key, count in sorted(counts.items())  # in one order, so that two writers never wait for each other
    ]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        statement = insert(RefusedSignIn).values(rows[start : start + ROWS_AT_ONCE])
        added = statement.on_conflict_do_update(
            index_elements=list(PRIMARY_KEY),
            set_={
                "attempts": RefusedSignIn.attempts + statement.excluded.attempts,
                "user_agent": statement.excluded.user_agent,
                "last_at": func.greatest(RefusedSignIn.last_at, statement.excluded.last_at),
            },
        )
        await session.execute(added)


async def forget_old(session: AsyncSession) -> int:
    """Delete what is older than `KEPT_FOR`; how many rows."""
    gone = delete(RefusedSignIn).where(RefusedSignIn.hour < clock.now() - KEPT_FOR).returning(RefusedSignIn.node)
    return len((await session.execute(gone)).scalars().all())
