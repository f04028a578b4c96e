"""Calls begun against records that came, hour by hour; and which hours keep a month from closing.

What the states of an hour mean stands in hours.py. Nothing is ever invented for a record that is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.partitions import month_after
from switch.completeness.counting import COMPLETE, COUNTING, INCOMPLETE
from switch.completeness.hours import HOUR, SETTLE, Hour, counted_hours
from switch.completeness.models import StartedHour
from switch.completeness.taking_in import take_in
from switch.completeness.uncounted import silent_nodes, uncounted_hours

HOURS_A_ROUND = 2_000
HOURS_A_PIECE = 100
OFTEN_COUNTED = timedelta(days=2)
RARELY = timedelta(minutes=15)
"""How often an hour is counted that has lacked records for longer than `OFTEN_COUNTED`."""

log = logs.get(__name__)

# Many ranges of numbers in one statement: to plan it takes longer than to count one. A leg whose record was set aside
# runs no more, whatever was seen of it.
_COUNT = text("""
SELECT
    (SELECT count(DISTINCT record.session_number) FROM call_record AS record
     WHERE record.boot_id = part.boot_id AND record.session_number BETWEEN part.first_number AND part.last_number),
    (SELECT count(*) FROM (
        SELECT aside.session_number FROM set_aside_record AS aside
        WHERE aside.boot_id = part.boot_id AND aside.session_number BETWEEN part.first_number AND part.last_number
        UNION
        SELECT void.session_number FROM seen_leg AS void
        WHERE void.boot_id = part.boot_id AND void.session_number BETWEEN part.first_number AND part.last_number
          AND void.is_void
     ) AS explained
     WHERE NOT EXISTS (SELECT FROM call_record AS record
                       WHERE record.boot_id = part.boot_id AND record.session_number = explained.session_number)),
    (SELECT count(DISTINCT seen.session_number) FROM seen_leg AS seen
     WHERE seen.boot_id = part.boot_id AND seen.session_number BETWEEN part.first_number AND part.last_number
       AND seen.ended_at IS NULL AND NOT seen.is_void
       AND NOT EXISTS (SELECT FROM call_record AS record
                       WHERE record.boot_id = seen.boot_id AND record.session_number = seen.session_number)
       AND NOT EXISTS (SELECT FROM set_aside_record AS aside
                       WHERE aside.boot_id = seen.boot_id AND aside.session_number = seen.session_number)),
    boot.ended_at IS NULL AND boot.is_watched AND node.state IS NOT NULL AND node.state NOT IN ('dead', 'left')
FROM unnest(CAST(:boots AS text[]), CAST(:firsts AS integer[]), CAST(:lasts AS integer[]))
     WITH ORDINALITY AS part (boot_id, first_number, last_number, position)
LEFT JOIN node_boot AS boot ON boot.boot_id = part.boot_id
LEFT JOIN node ON node.name = boot.node
ORDER BY part.position
""")


async def reconcile(database: Database) -> int:
    """Count the hours that are not complete; returns how many of these have records missing.

    What came late closes its gap. May run beside itself and beside the supervisors, which wait for a piece at most.
    Hours that have lacked records for days are counted less often than the others.
    """
    async with database.transaction(Scope.platform()) as session:
        await take_in(session)
        waiting = await _waiting(session)
    incomplete = 0
    for first in range(0, len(waiting), HOURS_A_PIECE):
        piece = waiting[first : first + HOURS_A_PIECE]
        async with database.transaction(Scope.platform()) as session:
            these = tuple_(StartedHour.boot_id, StartedHour.hour).in_(piece)
            query = select(StartedHour).where(these, StartedHour.state != COMPLETE)
            query = query.order_by(StartedHour.hour, StartedHour.boot_id).with_for_update(skip_locked=True)
            rows = (await session.execute(query)).scalars().all()
            await _count(session, rows)
            incomplete += sum(row.state == INCOMPLETE for row in rows)
    return incomplete


async def _waiting(session: AsyncSession) -> list[tuple[str, datetime]]:
    """The hours to count now, the longest uncounted first: hopeless ones must not keep new ones from their turn."""
    now = clock.now()
    is_due = or_(
        StartedHour.state == COUNTING,
        StartedHour.hour > now - OFTEN_COUNTED,
        StartedHour.counted_at.is_(None),
        StartedHour.counted_at < now - RARELY,
        StartedHour.counted_at > now,
    )
    query = select(StartedHour.boot_id, StartedHour.hour).where(StartedHour.state != COMPLETE, is_due)
    query = query.order_by(StartedHour.counted_at.asc().nulls_first()).limit(HOURS_A_ROUND)
    return [(row.boot_id, row.hour) for row in await session.execute(query)]


async def count_hour(session: AsyncSession, node: str, hour: datetime) -> None:
    """Count all that is known of a node's hour anew, waiting for whoever else counts it."""
    await take_in(session)
    await _count_now(session, StartedHour.node == node, StartedHour.hour == hour)


async def _count_now(session: AsyncSession, *wanted: ColumnElement[bool]) -> None:
    # Waited for, in one order, instead of passed over: a month must not close over an hour that somebody is counting.
    # An hour that is not over is counting whatever its figures say, and its supervisor writes it every few seconds.
    is_over = StartedHour.hour <= clock.now() - HOUR
    locked = select(StartedHour).where(*wanted, is_over).order_by(StartedHour.hour, StartedHour.boot_id)
    locked = locked.with_for_update().execution_options(populate_existing=True)
    rows = (await session.execute(locked)).scalars().all()
    for first in range(0, len(rows), HOURS_A_PIECE):
        await _count(session, rows[first : first + HOURS_A_PIECE])
    await session.flush()


async def unreconciled_hours(session: AsyncSession, month: date) -> list[Hour]:
    """All hours up to the end of a local month over which it may not close: records missing or still counted, and not
    signed off.

    Also those of earlier months, whether these have gone out or not: what is found missing later holds up the next one.
    Of each month that is over, also the last hour on each node that was not counted to its end. `month` is its first
    day. All the hours are counted anew before. The earliest come first.
    """
    ends = clock.local_midnight(month_after(month))
    await take_in(session)
    # Asked first: a node that is counted from here on has written its count before its hours are read.
    silent = await silent_nodes(session)
    unfinished = (
        StartedHour.state != COMPLETE,
        func.least(StartedHour.observed_from, StartedHour.hour) < ends,
    )
    await _count_now(session, *unfinished)
    # Also other boots of the same node and hour: a signature is for all of them.
    keys = select(StartedHour.hour, StartedHour.node).where(*unfinished).correlate(None)
    within = tuple_(StartedHour.hour, StartedHour.node).in_(keys)
    found = {hour.key: hour for hour in await counted_hours(session, within, states=(COUNTING, INCOMPLETE))}
    uncounted = await uncounted_hours(session, silent, begins_before=ends)
    found |= {hour.key: hour for hour in uncounted}
    return [found[key] for key in sorted(found) if not found[key].is_reconciled]


async def _count(session: AsyncSession, rows: Sequence[StartedHour]) -> None:
    """Count these hours; their rows are locked by the caller."""
    now = clock.now()
    whole = await _figures(session, [(row.boot_id, row.first_number, row.last_number) for row in rows])
    # Of an hour that has grown since it was signed, the signature covers the sessions that it had then.
    part = [row for row in rows if row.signed_number is not None and row.signed_number < row.last_number]
    signed = await _figures(session, [(row.boot_id, row.first_number, row.signed_number or 0) for row in part])
    covered = {(row.boot_id, row.hour): figures.lacking for row, figures in zip(part, signed, strict=True)}
    for row, figures in zip(rows, whole, strict=True):
        row.accepted, row.explained, row.running = figures.accepted, figures.explained, figures.running
        row.signed = 0 if row.signed_number is None else covered.get((row.boot_id, row.hour), figures.lacking)
        row.counted_at = now
        if row.hour + HOUR + SETTLE > now:
            row.state = COUNTING
            continue
        before = row.state
        is_missing = figures.lacking > row.running
        row.state = INCOMPLETE if is_missing else COUNTING if figures.lacking > 0 else COMPLETE
        if is_missing and before != INCOMPLETE:
            missing = figures.lacking - row.running
            log.error("call_records.missing", node=row.node, hour=row.hour.isoformat(), missing=missing)


@dataclass(frozen=True, slots=True)
class _Figures:
    """What has become of a range of sessions; `lacking` have no record, or none yet."""

    accepted: int
    explained: int
    running: int
    lacking: int


async def _figures(session: AsyncSession, ranges: Sequence[tuple[str, int, int]]) -> list[_Figures]:
    """Of each boot's sessions from one number to another."""
    if not ranges:
        return []
    boots, firsts, lasts = zip(*ranges, strict=True)
    facts = {"boots": [*boots], "firsts": [*firsts], "lasts": [*lasts]}
    return [
        _Figures(accepted, explained, running if is_alive else 0, max(last - first + 1 - accepted - explained, 0))
        for first, last, (accepted, explained, running, is_alive) in zip(
            firsts, lasts, (await session.execute(_COUNT, facts)).all(), strict=True
        )
    ]
