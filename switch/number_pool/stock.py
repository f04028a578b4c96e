"""What becomes of each number: added to the pool, assigned to a tenant, released into quarantine, free again.

Every change locks the number's row first and leaves an event, so that who had a number when can always be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from switch.errors import NumberTaken
from switch.number_pool.errors import NumberInQuarantine, NumberInUse, NumberNotInPool
from switch.number_pool.models import NumberEvent, PooledNumber

FREE, ASSIGNED, QUARANTINED = STATES = ("free", "assigned", "quarantined")
FREED_AT_ONCE_LIMIT = 1_000

log = logs.get(__name__)


async def find(session: AsyncSession, digits: str, *, for_update: bool = False) -> PooledNumber | None:
    """A number's row in the pool, by its E.164 digits."""
    query = select(PooledNumber).where(PooledNumber.number == digits).execution_options(populate_existing=True)
    return (await session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()


async def add(session: AsyncSession, numbers: Iterable[tuple[str, str | None]]) -> set[str]:
    """Put free numbers (E.164 digits, label) into the pool; returns those that were not there yet."""
    now = clock.now()
    rows = [
        {"number": digits, "state": FREE, "label": label, "added_at": now, "changed_at": now}
        for digits, label in sorted(numbers)  # in one order, so that two imports never wait for each other in a circle
    ]
    if not rows:
        return set()
    statement = upsert(PooledNumber).values(rows).on_conflict_do_nothing().returning(PooledNumber.number)
    added = set((await session.execute(statement)).scalars())
    await _note(session, sorted(added), "added", None, now)
    return added


async def assigned(session: AsyncSession, digits: str, tenant_id: str) -> None:
    """Note that a tenant gets a number; one that the pool does not know is taken into it.

    The tenant that had it last may have it back at once, another one only when its quarantine is over. Raises
    `NumberTaken`, `NumberInQuarantine`.
    """
    now = clock.now()
    row = await find(session, digits, for_update=True)
    if row is not None and row.state == ASSIGNED:
        raise NumberTaken(f"+{digits} belongs to a tenant already; release it there first.", field="number")
    if row is not None and _is_held_for_another(row, tenant_id, now):
        until = f"{row.quarantined_until:%Y-%m-%d %H:%M} UTC"
        words = f"+{digits} was another tenant's and is in quarantine until {until}; assign another number"
        raise NumberInQuarantine(f"{words}, or free it before its time.", field="number")
    values = {"state": ASSIGNED, "tenant_id": tenant_id, "quarantined_until": None, "changed_at": now}
    statement = upsert(PooledNumber).values(number=digits, added_at=now, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=[PooledNumber.number], set_=values))
    await _note(session, [digits], "assigned", tenant_id, now)


async def released(session: AsyncSession, digits: str, tenant_id: str, *, quarantine_days: int) -> None:
    """Note that a tenant has given a number back; 0 days: it is free at once."""
    now = clock.now()
    values = (
        {"state": QUARANTINED, "tenant_id": tenant_id, "quarantined_until": now + timedelta(days=quarantine_days)}
        if quarantine_days
        else {"state": FREE, "tenant_id": None, "quarantined_until": None}
    )
    await session.execute(update(PooledNumber).where(PooledNumber.number == digits).values(**values, changed_at=now))
    await _note(session, [digits], "released", tenant_id, now)
    if not quarantine_days:
        await _note(session, [digits], "freed", None, now)


async def changed(session: AsyncSession, digits: str, tenant_id: str) -> None:
    """Note that a tenant's number rings elsewhere now, or is shown or not."""
    await _note(session, [digits], "changed", tenant_id, clock.now())


async def free_what_is_due(session: AsyncSession) -> int:
    """Free numbers whose quarantine is over; returns how many (at most `FREED_AT_ONCE_LIMIT`, the rest next time)."""
    now = clock.now()
    due = (
        select(PooledNumber.number)
        .where(PooledNumber.state == QUARANTINED, PooledNumber.quarantined_until <= now)
        .order_by(PooledNumber.number)
        .limit(FREED_AT_ONCE_LIMIT)
        .with_for_update(skip_locked=True)
    )
    numbers = list((await session.execute(due)).scalars())
    await _free(session, numbers, now)
    if numbers:
        log.info("number_pool.freed", count=len(numbers))
    return len(numbers)


async def free_early(session: AsyncSession, digits: str) -> PooledNumber:
    """End a number's quarantine now. A free number stays so. Raises `NumberNotInPool`, `NumberInUse`."""
    row = await _unassigned(session, digits)
    if row.state == QUARANTINED:
        before = row.tenant_id
        await _free(session, [digits], clock.now())
        await session.refresh(row)
        await audit.record(session, PLATFORM, "number_pool.freed_early", digits, last_tenant_id=before)
    return row


async def remove(session: AsyncSession, digits: str) -> None:
    """Take a number out of the pool, as when a carrier's contract ends; its history stays.

    Raises `NumberNotInPool`, `NumberInUse`.
    """
    await _unassigned(session, digits)
    await session.execute(delete(PooledNumber).where(PooledNumber.number == digits))
    await _note(session, [digits], "removed", None, clock.now())
    await audit.record(session, PLATFORM, "number_pool.removed", digits)


async def _unassigned(session: AsyncSession, digits: str) -> PooledNumber:
    row = await find(session, digits, for_update=True)
    if row is None:
        raise NumberNotInPool(f"+{digits} is not in the pool.", field="number")
    if row.state == ASSIGNED:
        raise NumberInUse(f"+{digits} belongs to the tenant {row.tenant_id}; release it there first.", field="number")
    return row


def _is_held_for_another(row: PooledNumber, tenant_id: str, now: datetime) -> bool:
    return (
        row.state == QUARANTINED
        and row.tenant_id != tenant_id
        and row.quarantined_until is not None
        and row.quarantined_until > now
    )


async def _free(session: AsyncSession, numbers: list[str], now: datetime) -> None:
    values = {"state": FREE, "tenant_id": None, "quarantined_until": None, "changed_at": now}
    await session.execute(update(PooledNumber).where(PooledNumber.number.in_(numbers)).values(**values))
    await _note(session, numbers, "freed", None, now)


async def _note(
    session: AsyncSession, numbers: Iterable[str], event: str, tenant_id: str | None, now: datetime
) -> None:
    rows = [
        {
            "number": digits,
            "event_id": new_id("nev"),
            "event": event,
            "tenant_id": tenant_id,
            "actor": audit.actor.get(),
            "occurred_at": now,
        }
        for digits in numbers
    ]
    if rows:
        await session.execute(insert(NumberEvent), rows)
