"""The overrun of a maintenance window as a fault of everything that was open then, tenant by tenant (rule 10)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import get_contract
from billing.models import Holding
from billing.outages import faults, windows
from billing.rules.book import Span
from billing.rules.maintenance import overrun
from billing.rules.months import local_day
from infra.kit import logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime

log = logs.get(__name__)
_INSTANT = timedelta(microseconds=1)
Hit = tuple[str, str, str]
"""A tenant, a contract of it, and the item (`seat` or `circuit`) that was open."""


class OverrunNotRecorded(Exception):
    """The overrun of a window could not be recorded for some tenants; it was for all others. It is tried again."""


async def record(runtime: Runtime, window_id: str) -> int:
    """Record a window's overrun for everybody who had something open; safe to run again.

    One transaction a tenant; one that fails does not stop the others. Returns how many faults were recorded.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        window = await windows.find(session, window_id)
        span = None if window.ended_at is None else overrun(Span(window.begins_at, window.ends_at), window.ended_at)
        hits = [] if span is None else await _hit(session, span)
    if span is None:
        return 0
    recorded = 0
    failed: list[str] = []
    for tenant_id, of_tenant in groupby(hits, key=lambda hit: hit[0]):
        try:
            recorded += await _record_for(runtime, list(of_tenant), window_id, span)
        except Exception:  # the other tenants are not to wait for this one
            log.exception("maintenance.overrun_not_recorded", tenant_id=tenant_id, window_id=window_id)
            failed.append(tenant_id)
    if failed:
        raise OverrunNotRecorded(f"The overrun of {window_id} is not recorded for {', '.join(failed)}; see the log.")
    return recorded


async def _hit(session: AsyncSession, span: Span) -> Sequence[Hit]:
    """Who had what open during a span, tenant after tenant."""
    query = (
        select(Holding.tenant_id, Holding.contract_id, Holding.item)
        .where(
            Holding.opened_on <= local_day(span.ends - _INSTANT),
            Holding.closes_on.is_(None) | (Holding.closes_on >= local_day(span.begins)),
        )
        .distinct()
        .order_by(Holding.tenant_id, Holding.contract_id, Holding.item)
    )
    return [(tenant_id, contract_id, item) for tenant_id, contract_id, item in await session.execute(query)]


async def _record_for(runtime: Runtime, hits: Sequence[Hit], window_id: str, span: Span) -> int:
    recorded = 0
    async with runtime.database.transaction(Scope.platform()) as session:
        for tenant_id, contract_id, item in hits:
            contract = await get_contract(session, tenant_id, contract_id, for_update=True)
            fault = await faults.record_overrun(
                session, contract, item, window_id=window_id, began_at=span.begins, ended_at=span.ends
            )
            recorded += fault is not None
    return recorded
