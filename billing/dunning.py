"""Overdue, suspended, paid, restored (C8, rule 7): what the rules say of a tenant's invoices becomes its standing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import terms_of
from billing.models import Contract, Invoice, Suspension
from billing.reminders.models import PaymentPromise
from billing.rules.dunning import step_for
from infra.kit import clock, jobs
from infra.kit.ids import new_id
from tenancy import tenants
from tenancy.models import Tenant

OVERDUE = "payment_overdue"
REMIND_TENANT = "billing.remind_tenant"
"""Writes to a tenant whose service was suspended or restored."""


async def advance(session: AsyncSession, tenant_id: str, today: date) -> bool:
    """Suspend or restore a tenant as its unpaid invoices ask on this day; returns whether they ask for suspension.

    A suspension by an operator's decision is neither replaced nor lifted, and a closed tenant stays closed.
    """
    tenant = await tenants.get(session, tenant_id, for_update=True)
    overdue = await overdue_invoices(session, tenant_id, today)
    if not overdue:
        await _restore(session, tenant)
        return False
    if tenant.standing == "active":
        await tenants.suspend(session, tenant_id, reason=OVERDUE)
    if await _lasting(session, tenant_id) is None:
        session.add(
            Suspension(
                tenant_id=tenant_id,
                suspension_id=new_id("sus"),
                invoice_id=overdue[0].invoice_id,
                began_at=clock.now(),
                ended_at=None,
            )
        )
        await session.flush()
        await _tell(session, tenant_id)
    return True


async def clear_if_settled(session: AsyncSession, tenant_id: str, today: date) -> bool:
    """Restore a tenant that nothing keeps suspended any more; acts at the commit. Returns whether it was restored."""
    tenant = await tenants.get(session, tenant_id, for_update=True)
    if await overdue_invoices(session, tenant_id, today):
        return False
    return await _restore(session, tenant)


async def overdue_invoices(session: AsyncSession, tenant_id: str, today: date) -> Sequence[Invoice]:
    """The unpaid invoices that keep the tenant suspended on this day, the first to do so first.

    An invoice of a contract that has ended suspends nobody, and nothing suspends while a promise to pay holds.
    """
    promised = await promised_days(session, today, tenant_id)
    query = (
        select(Invoice, Contract)
        .join(Contract, (Contract.tenant_id == Invoice.tenant_id) & (Contract.contract_id == Invoice.contract_id))
        .where(Invoice.tenant_id == tenant_id, Invoice.voided_at.is_(None), Invoice.paid < Invoice.total)
        .order_by(Invoice.suspends_on, Invoice.created_at, Invoice.invoice_id)
    )
    found: list[Invoice] = []
    for invoice, contract in await session.execute(query):
        step = step_for(
            terms_of(contract, invoice.issued_on),
            today,
            issued_on=invoice.issued_on,
            due_on=invoice.due_on,
            suspends=invoice.suspends_on,
            unpaid=invoice.total - invoice.paid,
            promised_until=promised.get(tenant_id),
        )
        if step.suspended and (contract.ends_on is None or today <= contract.ends_on):
            found.append(invoice)
    return found


async def promised_days(session: AsyncSession, day: date, tenant_id: str | None = None) -> Mapping[str, date]:
    """By tenant (all, or this one), the last day of the promise to pay that holds on this day."""
    query = (
        select(PaymentPromise.tenant_id, func.max(PaymentPromise.until))
        .where(PaymentPromise.withdrawn_at.is_(None), PaymentPromise.until >= day)
        .group_by(PaymentPromise.tenant_id)
    )
    if tenant_id is not None:
        query = query.where(PaymentPromise.tenant_id == tenant_id)
    return {row[0]: row[1] for row in await session.execute(query)}


async def tenants_to_look_at(session: AsyncSession, today: date) -> Sequence[str]:
    """Tenants with an open invoice whose day of suspension has come, and those suspended for payment.

    So a tenant whose promise to pay has run out is among them.
    """
    overdue = select(Invoice.tenant_id).where(
        Invoice.voided_at.is_(None), Invoice.paid < Invoice.total, Invoice.suspends_on <= today
    )
    query = (
        select(Tenant.tenant_id)
        .where(or_(Tenant.standing_reason == OVERDUE, Tenant.tenant_id.in_(overdue)))
        .order_by(Tenant.tenant_id)
    )
    return (await session.execute(query)).scalars().all()


async def _restore(session: AsyncSession, tenant: Tenant) -> bool:
    suspension = await _lasting(session, tenant.tenant_id)
    if suspension is not None:
        suspension.ended_at = clock.now()
        await _tell(session, tenant.tenant_id)
    if tenant.standing != "suspended" or tenant.standing_reason != OVERDUE:
        return False
    return await tenants.restore(session, tenant.tenant_id)


async def _tell(session: AsyncSession, tenant_id: str) -> None:
    await jobs.defer(session, REMIND_TENANT, lock=REMIND_TENANT, tenant_id=tenant_id)


async def _lasting(session: AsyncSession, tenant_id: str) -> Suspension | None:
    """The suspension for non-payment that goes on; the tenant's row is locked, so there is at most one."""
    query = select(Suspension).where(Suspension.tenant_id == tenant_id, Suspension.ended_at.is_(None))
    return (await session.execute(query)).scalar_one_or_none()
