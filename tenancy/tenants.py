"""Tenants: created, found, suspended, restored."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, logs
from infra.kit.ids import new_id
from infra.kit.mail_address import is_address
from infra.kit.problems import Conflict, InvalidInput, NotFound
from tenancy import standing
from tenancy.models import SipDomain, Tenant

TENANT_CHANGED = "provisioning.reconcile_tenant"
"""The task that makes the switch agree with a tenant's standing; deferred by name, it lives above this room."""

RECONSIDER_STANDING = "billing.advance_tenant_dunning"
"""The task that asks a tenant's unpaid invoices whether it is suspended; deferred by name likewise."""

log = logs.get(__name__)
_DOMAIN = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
NAME_LIMIT_CHARACTERS = 200


class DomainTaken(Conflict):
    """The SIP domain belongs to a tenant already."""

    code = "sip_domain_taken"


class TenantClosed(Conflict):
    """The tenant has left: its data is being erased, or is."""

    code = "tenant_closed"


async def create_tenant(
    session: AsyncSession,
    *,
    name: str,
    sip_domain: str,
    contact_email: str | None = None,
    address: str | None = None,
    credit_code: str | None = None,
) -> Tenant:
    """A new tenant, active and without seats; its SIP domain is its own."""
    if not name.strip() or len(name) > NAME_LIMIT_CHARACTERS:
        raise InvalidInput(f"A tenant's name has 1 to {NAME_LIMIT_CHARACTERS} characters.", field="name")
    _check_contact(contact_email)
    domain = sip_domain.lower()
    if not _DOMAIN.match(domain):
        raise InvalidInput(f"{sip_domain!r} is not a domain name such as acme.example.com.", field="sip_domain")
    tenant = Tenant(
        tenant_id=new_id("ten"),
        name=name.strip(),
        sip_domain=domain,
        standing="active",
        generation=1,
        standing_changed_at=clock.now(),
        standing_reason=None,
        contact_email=contact_email,
        address=address,
        credit_code=credit_code,
        created_at=clock.now(),
    )
    claimed = await session.execute(
        insert(SipDomain)
        .values(domain=domain, tenant_id=tenant.tenant_id)
        .on_conflict_do_nothing()
        .returning(SipDomain.domain)
    )
    if claimed.scalar() is None:
        raise DomainTaken(f"The SIP domain {domain} belongs to a tenant already; choose another.", field="sip_domain")
    session.add(tenant)
    await session.flush()
    await audit.record(session, tenant.tenant_id, "tenant.created", tenant.tenant_id, name=tenant.name)
    return tenant


async def change_contact(session: AsyncSession, tenant_id: str, contact_email: str | None) -> Tenant:
    """Another address of the tenant's, or none. Raises `TenantClosed`, `InvalidInput` for what is no address."""
    _check_contact(contact_email)
    tenant = await get_staying(session, tenant_id, for_update=True)
    before, tenant.contact_email = tenant.contact_email, contact_email
    await session.flush()
    await audit.record(session, tenant_id, "tenant.contact_changed", tenant_id, before=before, after=contact_email)
    return tenant


def _check_contact(contact_email: str | None) -> None:
    if contact_email is not None and not is_address(contact_email):
        raise InvalidInput("`contact_email` is an address such as office@example.com, in ASCII.", field="contact_email")


async def get(session: AsyncSession, tenant_id: str, *, for_update: bool = False) -> Tenant:
    """A tenant the caller may see; 404 otherwise."""
    query = select(Tenant).where(Tenant.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    tenant = (await session.execute(query)).scalar_one_or_none()
    if tenant is None:
        raise NotFound(f"There is no tenant {tenant_id}.", field="tenant_id")
    return tenant


async def get_staying(session: AsyncSession, tenant_id: str, *, for_update: bool = False) -> Tenant:
    """A tenant that something new may be made for, held so until the end of the transaction: an erasure that begins
    meanwhile waits, and finds what was made.

    Raises `NotFound`, and `TenantClosed` for one that has left (clause C26).
    """
    query = select(Tenant).where(Tenant.tenant_id == tenant_id).execution_options(populate_existing=True)
    tenant = (await session.execute(query.with_for_update(read=not for_update))).scalar_one_or_none()
    if tenant is None:
        raise NotFound(f"There is no tenant {tenant_id}.", field="tenant_id")
    if tenant.standing == "closed":
        words = f"The tenant {tenant_id} has left and its data is erased; nothing new is made for it"
        raise TenantClosed(f"{words}. Create a new tenant.", field="tenant_id")
    return tenant


async def suspend(session: AsyncSession, tenant_id: str, *, reason: standing.Reason) -> bool:
    """Close the tenant's service from this commit on; what already runs is cleared by the reconciler.

    Returns False when it was suspended already. An operator's decision outranks overdue payment as the reason, so that
    a payment does not undo it.
    """
    tenant = await get(session, tenant_id, for_update=True)
    if tenant.standing == "suspended":
        if standing.outranks(reason, tenant.standing_reason):
            tenant.standing_reason = reason
            await audit.record(session, tenant_id, "tenant.suspended", tenant_id, reason=reason)
        return False
    await _change(session, tenant, standing.suspended(tenant.standing), reason)
    return True


async def lift_decision(session: AsyncSession, tenant_id: str) -> Tenant:
    """End a suspension by an operator's decision: what is left of it is decided by the unpaid invoices alone.

    The tenant stays shut until they have been looked at, seconds later: nobody overdue slips through in between.
    """
    tenant = await get(session, tenant_id, for_update=True)
    if tenant.standing != "suspended" or tenant.standing_reason != "operator_decision":
        raise Conflict(f"The tenant {tenant_id} is not suspended by an operator's decision; there is none to lift.")
    tenant.standing_reason = "payment_overdue"
    await audit.record(session, tenant_id, "tenant.decision_lifted", tenant_id)
    await jobs.defer(session, RECONSIDER_STANDING, lock=f"tenant:{tenant_id}", tenant_id=tenant_id)
    return tenant


async def note_decision(session: AsyncSession, tenant_id: str, note: str) -> None:
    """Keep an operator's reason for a suspension beside it."""
    await audit.record(session, tenant_id, "tenant.suspension_noted", tenant_id, note=note)


async def restore(session: AsyncSession, tenant_id: str) -> bool:
    """Open the tenant's service again from this commit on; False when it was not suspended."""
    tenant = await get(session, tenant_id, for_update=True)
    if tenant.standing != "suspended":
        return False
    await _change(session, tenant, standing.restored(tenant.standing), None)
    return True


async def _change(session: AsyncSession, tenant: Tenant, to: standing.Standing, reason: str | None) -> None:
    tenant.standing = to
    tenant.standing_reason = reason
    tenant.generation += 1
    tenant.standing_changed_at = clock.now()
    await audit.record(session, tenant.tenant_id, f"tenant.{to}", tenant.tenant_id, reason=reason)
    await jobs.defer(
        session,
        TENANT_CHANGED,
        lock=f"tenant:{tenant.tenant_id}",
        tenant_id=tenant.tenant_id,
        generation=tenant.generation,
    )
    log.info(f"tenant.{to}", tenant_id=tenant.tenant_id, reason=reason)
