"""What the tests of faults and maintenance share: short ways to say when, and what an invoice credits."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from billing.models import Invoice, InvoiceLine
from billing.outages import faults
from billing.outages.faults import Report
from billing.outages.models import Fault
from infra.kit import clock, money
from infra.kit.database import Scope
from tests.billing.lease_world import LeaseWorld


def at(text: str) -> datetime:
    """A local moment such as `2026-03-09 10:00`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=clock.LOCAL_ZONE).astimezone(UTC)


async def reported(
    world: LeaseWorld, began_at: str, ended_at: str | None = None, *, cause: str | None = "operator", **more: Any
) -> Fault:
    """A fault of the world's contract."""
    report = Report(
        contract_id=world.contract_id,
        began_at=at(began_at),
        ended_at=at(ended_at) if ended_at else None,
        cause=cause,
        note="no registration possible",
        **more,
    )
    async with world.database.transaction(Scope.platform()) as session:
        return await faults.report(session, tenant_id=world.tenant_id, report=report)


async def ends(world: LeaseWorld, fault: Fault, ended_at: str) -> None:
    """A lasting fault is repaired."""
    async with world.database.transaction(Scope.platform()) as session:
        await faults.end(session, tenant_id=world.tenant_id, fault_id=fault.fault_id, ended_at=at(ended_at))


async def credited(world: LeaseWorld) -> dict[str, str]:
    """What each invoice credits for faults, by its period; invoices without such a line are left out."""
    query = (
        select(Invoice.period, InvoiceLine.amount)
        .join(
            InvoiceLine,
            (InvoiceLine.tenant_id == Invoice.tenant_id) & (InvoiceLine.invoice_id == Invoice.invoice_id),
        )
        .where(Invoice.tenant_id == world.tenant_id, InvoiceLine.kind == "fault_credit")
    )
    sums: dict[str, Decimal] = {}
    async with world.database.transaction(Scope.platform()) as session:
        for period, amount in await session.execute(query):
            sums[period] = sums.get(period, money.ZERO) + amount
    return {period: str(amount) for period, amount in sorted(sums.items())}
