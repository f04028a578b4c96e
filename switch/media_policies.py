"""Whether a tenant's calls are encrypted between its phones and the node; a change holds from its commit on."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from switch.admission import Encryption
from switch.models import MediaPolicy


async def of_tenant(session: AsyncSession, tenant_id: str) -> Encryption:
    """What a tenant wants; `accepted` while it has said nothing."""
    found = (
        await session.execute(select(MediaPolicy.encryption).where(MediaPolicy.tenant_id == tenant_id))
    ).scalar_one_or_none()
    return Encryption.ACCEPTED if found is None else Encryption(found)


async def change(session: AsyncSession, tenant_id: str, encryption: Encryption) -> Encryption:
    """Say what a tenant wants from now on; the tenant is locked by the caller."""
    if await of_tenant(session, tenant_id) is encryption:
        return encryption
    values = {"encryption": encryption.value, "changed_at": clock.now()}
    await session.execute(
        insert(MediaPolicy)
        .values(tenant_id=tenant_id, **values)
        .on_conflict_do_update(index_elements=[MediaPolicy.tenant_id], set_=values)
    )
    await audit.record(session, tenant_id, "media_policy.changed", tenant_id, encryption=encryption.value)
    return encryption
