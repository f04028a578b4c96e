"""A person of the platform enters a tenant: for a reason that it reads, for a bounded time, with all on its audit."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, reasons
from infra.kit.ids import is_id, new_id
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden
from tenancy import tenants
from tenancy.people.errors import VisitNotFound
from tenancy.people.models import Visit
from tenancy.roles import TENANT_ROLES, Role, permissions_on_a_visit

LIFETIME = timedelta(minutes=60)


async def begin(session: AsyncSession, tenant_id: str, principal: Principal, reason: str) -> Visit:
    """A visit to a tenant, from now for an hour; the tenant sees it and why. Raises `InvalidInput` without a reason."""
    await tenants.get_staying(session, tenant_id)
    now = clock.now()
    visit = Visit(
        tenant_id=tenant_id,
        visit_id=new_id("vis"),
        visitor=principal.client_id,
        reason=reasons.given(reason),
        began_at=now,
        expires_at=now + LIFETIME,
        ended_at=None,
    )
    session.add(visit)
    await session.flush()
    await audit.record(session, tenant_id, "visit.began", visit.visit_id, visitor=visit.visitor, reason=visit.reason)
    return visit


async def end(session: AsyncSession, visit_id: str, tenant_id: str | None) -> Visit:
    """End a visit at once: by the operator, or by the tenant (`tenant_id`) who wants it no longer."""
    query = select(Visit).where(Visit.visit_id == visit_id)
    if tenant_id is not None:
        query = query.where(Visit.tenant_id == tenant_id)
    visit = (await session.execute(query.with_for_update())).scalar_one_or_none()
    if visit is None:
        raise VisitNotFound(f"There is no visit {visit_id}.", field="visit_id")
    now = clock.now()
    if visit.ended_at is None and visit.expires_at > now:
        visit.ended_at = now
        await audit.record(session, visit.tenant_id, "visit.ended", visit_id)
    return visit


async def end_all_of(session: AsyncSession, visitor: str) -> None:
    """End every visit of somebody who is not any more what they began it as."""
    query = select(Visit).where(Visit.visitor == visitor, Visit.ended_at.is_(None), Visit.expires_at > clock.now())
    for visit in (await session.execute(query.order_by(Visit.visit_id).with_for_update())).scalars():
        visit.ended_at = clock.now()
        await audit.record(session, visit.tenant_id, "visit.ended", visit.visit_id)


async def visited_now(session: AsyncSession, visitor: str) -> frozenset[str]:
    """The tenants that a person of the platform is on a visit to."""
    query = select(Visit.tenant_id).where(
        Visit.visitor == visitor, Visit.ended_at.is_(None), Visit.expires_at > clock.now()
    )
    return frozenset((await session.execute(query)).scalars())


async def narrowed(session: AsyncSession, principal: Principal, visit_id: str | None) -> Principal:
    """The caller as it is on a visit: within one tenant, as its admin would be, but for what outlasts the visit.
    Finance does nothing there that is not its own.

    Raises `VisitNotFound` for a visit that is over or another's, `Forbidden` for a caller who makes none.
    """
    if visit_id is None:
        return principal
    if principal.role in TENANT_ROLES or principal.tenant_id is not None:
        raise Forbidden("Only the platform's people visit tenants.", field="Seatline-Visit")
    if not is_id("vis", visit_id):
        raise VisitNotFound("The visit's id has the form vis_….", field="Seatline-Visit")
    now = clock.now()
    query = select(Visit).where(
        Visit.visit_id == visit_id,
        Visit.visitor == principal.client_id,
        Visit.ended_at.is_(None),
        Visit.expires_at > now,
    )
    visit = (await session.execute(query)).scalar_one_or_none()
    if visit is None:
        raise VisitNotFound(
            f"The visit {visit_id} is over, or is not yours; begin one at POST /v1/tenants/{{id}}/visits.",
            field="Seatline-Visit",
        )
    return Principal(
        client_id=principal.client_id,
        tenant_id=visit.tenant_id,
        role="tenant_admin",
        permissions=permissions_on_a_visit(cast("Role", principal.role)),
        session_id=principal.session_id,
        visit_id=visit.visit_id,
    )
