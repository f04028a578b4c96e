"""Who reads the mails that a tenant as a whole gets."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.outbox.posting import DEFAULT_LANGUAGE
from tenancy import tenants
from tenancy.people.models import Person

READERS_LIMIT = 20


async def of_tenant(session: AsyncSession, tenant_id: str) -> Mapping[str, str]:
    """Addresses with their languages: the tenant's admins, or where it has none the address that it signed with.

    That one is empty where there is none, so that the outbox notes that nobody could be told.
    """
    admins = (
        select(Person.address, Person.language)
        .where(Person.tenant_id == tenant_id, Person.role == "tenant_admin", Person.removed_at.is_(None))
        .order_by(Person.person_id)
        .limit(READERS_LIMIT)
    )
    readers = {row.address: row.language for row in await session.execute(admins)}
    if readers:
        return readers
    tenant = await tenants.get(session, tenant_id)
    return {tenant.contact_email or "": DEFAULT_LANGUAGE}
