"""Calls as people look for them: by tenant, seat, direction and time, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.clock import local_date
from infra.kit.pages import check_limit, decode_cursor, encode_cursor
from infra.kit.problems import InvalidInput, NotFound
from switch.cdr_parsing import DIRECTIONS
from switch.models import CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which legs are wanted; None leaves a thing open. `begins_from` is inclusive, `begins_before` exclusive."""

    tenant_id: str | None = None
    seat_id: str | None = None
    direction: str | None = None
    refused: bool | None = None
    begins_from: datetime | None = None
    begins_before: datetime | None = None


async def list_calls(
    session: AsyncSession, wanted: CallFilter, *, limit: int, after: str | None
) -> tuple[Sequence[CallRecord], str | None]:
    """A page of legs, the latest begun first, and the cursor of the next. Raises `InvalidInput` naming the field."""
    check_limit(limit)
    query = select(CallRecord)
    if wanted.tenant_id is not None:
        query = query.where(CallRecord.tenant_id == wanted.tenant_id)
    if wanted.seat_id is not None:
        query = query.where(CallRecord.seat_id == wanted.seat_id)
    if wanted.direction is not None:
        if wanted.direction not in DIRECTIONS:
            raise InvalidInput(f"A direction is one of {', '.join(DIRECTIONS)}.", field="direction")
        query = query.where(CallRecord.direction == wanted.direction)
    if wanted.refused is not None:
        query = query.where(CallRecord.refusal.is_not(None) if wanted.refused else CallRecord.refusal.is_(None))
    if wanted.begins_from is not None:
        # A leg is kept in the month of its answer, which is never earlier: the database skips the months before.
        month = local_date(wanted.begins_from).replace(day=1)
        query = query.where(CallRecord.started_at >= wanted.begins_from, CallRecord.month >= month)
    if wanted.begins_before is not None:
        query = query.where(CallRecord.started_at < wanted.begins_before)
    if after is not None:
        query = query.where(tuple_(CallRecord.started_at, CallRecord.leg_id) < _position(after))
    query = query.order_by(CallRecord.started_at.desc(), CallRecord.leg_id.desc()).limit(limit + 1)
    rows = (await session.execute(query)).scalars().all()
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor((last.started_at.isoformat(), last.leg_id))


async def get_call(session: AsyncSession, leg_id: str, tenant_id: str | None) -> CallRecord:
    """One leg of a tenant, or (None) of any; 404 otherwise."""
    query = select(CallRecord).where(CallRecord.leg_id == leg_id)
    if tenant_id is not None:
        query = query.where(CallRecord.tenant_id == tenant_id)
    record = (await session.execute(query.limit(1))).scalar_one_or_none()
    if record is None:
        raise NotFound(f"There is no call leg {leg_id}.", field="leg_id")
    return record


def read_time(field: str, text: str | None) -> datetime | None:
    """An RFC 3339 time with its offset, or None; raises `InvalidInput` naming `field`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        local_date(moment)  # the last hours of the year 9999 have no local day
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(f"`{field}` is a time such as 2026-07-01T00:00:00+08:00 (RFC 3339).", field=field)
    return moment


def _position(after: str) -> tuple[datetime, str]:
    started_at, leg_id = decode_cursor(after, 2)
    try:
        return datetime.fromisoformat(started_at), leg_id
    except ValueError:
        raise InvalidInput("`after` is not a cursor: pass the `next` of the page before.", field="after") from None
