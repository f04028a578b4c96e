"""Background work of the end: exports made and removed, erasures on their day."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, jobs, logs
from infra.kit.database import Scope
from provisioning.departure import erasing, exports, mails, waiting
from provisioning.departure.models import Departure, TenantExport

log = logs.get(__name__)
MAILS = (mails.ANNOUNCED, mails.CANCELLED, mails.OPERATOR_WAITS)
"""Named here so that every worker can write them."""
ERASE_TENANT = "provisioning.erase_tenant"
LEFT_BEHIND = timedelta(hours=6)


@jobs.task(exports.MAKE_EXPORT)
async def make_export(runtime: jobs.Runtime, *, export_id: str) -> None:
    """Make one export; the job is tried again when the storage or the database was away."""
    await exports.make(runtime, export_id)


@jobs.task(ERASE_TENANT)
async def erase_tenant(runtime: jobs.Runtime, *, departure_id: str) -> None:
    """Erase what one departure asks for, going on where a former run ended."""
    await erasing.carry_out(runtime, departure_id)


@jobs.task(erasing.SWEEP)
async def erase_late_arrivals(runtime: jobs.Runtime, *, departure_id: str) -> None:
    """Erase what was being written while the erasure passed by."""
    await erasing.sweep(runtime, departure_id)


@jobs.task("provisioning.tend_departures")
async def tend_departures(runtime: jobs.Runtime) -> None:
    """Start the erasures whose day has come, one job each; make exports that were left behind; remove old ones; see to
    tenants whose end nobody has announced."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(Departure.departure_id).where(
            Departure.state.in_(("announced", "erasing")), Departure.erase_on <= clock.today()
        )
        for departure_id in (await session.execute(query)).scalars():
            await jobs.defer(session, ERASE_TENANT, lock=f"departure:{departure_id}", departure_id=departure_id)
        await _begin_again(session)
    removed = await exports.expire(runtime, clock.now())
    if removed:
        log.info("exports.expired", count=removed)
    await waiting.tend(runtime)


async def _begin_again(session: AsyncSession) -> None:
    """Exports that still wait long after they were asked for: their jobs have given up."""
    query = select(TenantExport).where(
        TenantExport.state == "waiting", TenantExport.requested_at < clock.now() - LEFT_BEHIND
    )
    for export in (await session.execute(query)).scalars():
        lock = f"export:{export.tenant_id}"
        await jobs.defer(session, exports.MAKE_EXPORT, lock=lock, export_id=export.export_id)
