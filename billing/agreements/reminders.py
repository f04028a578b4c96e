"""Both sides are reminded 60, 45 and 30 days before a term runs out, so that a renewal comes in time (C14)."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.agreements import ends
from billing.agreements.models import ContractReminder
from billing.contracts import get_contract
from billing.models import Contract
from billing.rules.contract_periods import REMINDER_DAYS, reminder_due, renewal_deadline
from infra.kit import audit, clock


async def contracts_to_look_at(session: AsyncSession, today: date) -> list[tuple[str, str]]:
    """Tenants and contracts whose end is near enough for a reminder."""
    query = (
        select(Contract.tenant_id, Contract.contract_id)
        .where(
            Contract.state.in_(("signed", "open")),
            Contract.ends_on >= today,
            Contract.ends_on <= today + timedelta(days=max(REMINDER_DAYS)),
        )
        .order_by(Contract.tenant_id, Contract.contract_id)
    )
    return [(tenant_id, contract_id) for tenant_id, contract_id in await session.execute(query)]


async def remind(session: AsyncSession, tenant_id: str, contract_id: str, today: date) -> int | None:
    """Make the reminder that this day has reached, once; returns its days before the end, None when there is none.

    An early end was agreed by both or noticed by the operator: nobody is reminded of it.
    """
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    if contract.ends_on is None or contract.state not in {"signed", "open"}:
        return None
    days = reminder_due(contract.ends_on, today)
    if days is None or await ends.standing_early_end(session, contract) is not None:
        return None
    made = await session.execute(
        insert(ContractReminder)
        .values(
            tenant_id=tenant_id,
            contract_id=contract_id,
            ends_on=contract.ends_on,
            days_before=days,
            made_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(ContractReminder.days_before)
    )
    if made.scalar() is None:
        return None
    await audit.record(
        session,
        tenant_id,
        "contract.end_reminded",
        contract_id,
        ends_on=contract.ends_on.isoformat(),
        days_before=days,
        renewal_deadline=renewal_deadline(contract.ends_on).isoformat(),
    )
    return days
