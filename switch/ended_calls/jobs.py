"""Tells tenants of calls that have ended: the intake only notes which, this reads them and puts them on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import jobs
from infra.kit.database import Scope
from switch.ended_calls.models import EndedCall
from switch.models import CallRecord
from tenancy.webhooks import publishing
from tenancy.webhooks.event_types import CALL_ENDED

CHUNK_CALLS = 500
EVENT_PREFIX = "evt_call_"
"""With the leg's id after it: a call is told once, however often its chunk is begun."""


@jobs.task("switch.tell_ended_calls")
async def tell_ended_calls(runtime: jobs.Runtime) -> None:
    """Empty the work list, some calls of one tenant in each transaction."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(EndedCall.tenant_id).distinct().order_by(EndedCall.tenant_id)
        tenant_ids = list((await session.execute(query)).scalars())
    for tenant_id in tenant_ids:
        while await _tell_some(runtime, tenant_id):
            pass


async def _tell_some(runtime: jobs.Runtime, tenant_id: str) -> bool:
    async with runtime.database.transaction(Scope.platform()) as session:
        query = (
            select(EndedCall)
            .where(EndedCall.tenant_id == tenant_id)
            .order_by(EndedCall.month, EndedCall.leg_id)
            .limit(CHUNK_CALLS)
            .with_for_update(skip_locked=True)
        )
        listed = list((await session.execute(query)).scalars())
        endpoint_ids = await publishing.subscribed(session, tenant_id, CALL_ENDED)
        if listed and endpoint_ids:
            for record in await _records(session, tenant_id, listed):
                await publishing.add(
                    session,
                    tenant_id,
                    endpoint_ids,
                    CALL_ENDED,
                    told_of(record),
                    occurred_at=record.ended_at,
                    event_id=EVENT_PREFIX + record.leg_id,
                )
        for each in listed:
            await session.delete(each)
    return len(listed) == CHUNK_CALLS


async def _records(session: AsyncSession, tenant_id: str, listed: Sequence[EndedCall]) -> list[CallRecord]:
    query = (
        select(CallRecord)
        .where(
            CallRecord.tenant_id == tenant_id,
            tuple_(CallRecord.month, CallRecord.leg_id).in_([(each.month, each.leg_id) for each in listed]),
        )
        .order_by(CallRecord.ended_at, CallRecord.leg_id)
    )
    return list((await session.execute(query)).scalars())


def told_of(record: CallRecord) -> dict[str, Any]:
    """The `data` of an ended call: its first leg's facts; a duration counts from the answer, in milliseconds."""
    return {
        "tenant_id": record.tenant_id,
        "leg_id": record.leg_id,
        "direction": record.direction,
        "seat_id": record.seat_id,
        "caller": record.caller,
        "destination": record.destination,
        "started_at": record.started_at.isoformat(),
        "answered_at": None if record.answered_at is None else record.answered_at.isoformat(),
        "ended_at": record.ended_at.isoformat(),
        "duration_milliseconds": record.billable_milliseconds,
        "hangup_cause": record.hangup_cause,
        "refusal": record.refusal,
    }
