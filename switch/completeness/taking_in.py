"""What came since the last count: it tells of sessions of which the node could not; some of it has done its work."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from switch.completeness import counting
from switch.completeness.counting import MAX_UNSEEN_SESSIONS
from switch.completeness.models import NodeBoot
from switch.completeness.uncounted import last_month_ended

SEEN_LEGS_KEPT = timedelta(days=400)

# Numbers beyond what the node had said, because it died or nobody watched it: records carry them, and legs that its
# supervisor saw begin. When a record that was set aside began is not known.
_UNSEEN = text("""
SELECT told.session_number, min(told.began_at) FROM (
    SELECT session_number, started_at AS began_at FROM call_record WHERE boot_id = :boot_id
    UNION ALL
    SELECT session_number, started_at FROM seen_leg WHERE boot_id = :boot_id
    UNION ALL
    SELECT session_number, CAST(NULL AS timestamptz) FROM set_aside_record WHERE boot_id = :boot_id
) AS told
WHERE told.session_number > :after AND told.session_number <= :limit
GROUP BY told.session_number ORDER BY told.session_number
""")

_BEYOND_THE_COUNT = " OR ".join(
    f"EXISTS (SELECT FROM {table} AS told WHERE told.boot_id = boot.boot_id"
    " AND told.session_number > boot.last_number AND told.session_number <= boot.last_number + :limit)"
    for table in ("call_record", "seen_leg", "set_aside_record")
)
_TOLD_OF = text(f"""
SELECT boot.boot_id FROM node_boot AS boot LEFT JOIN node ON node.name = boot.node
WHERE (boot.ended_at IS NOT NULL OR NOT boot.is_watched OR node.state IS NULL OR node.state IN ('dead', 'left')
       OR coalesce(boot.counted_at, boot.first_seen_at) < CAST(:silent_since AS timestamptz))
  AND ({_BEYOND_THE_COUNT})
ORDER BY boot.boot_id
""")  # noqa: S608 - the names are the constants above

# Rows that somebody writes just now are left for the next time: whoever writes legs is never waited for here. The
# records are looked up leg by leg, by their index; joined, all partitions would be read through.
_DONE = """
DELETE FROM seen_leg USING (
    SELECT seen.boot_id, seen.leg_id FROM seen_leg AS seen WHERE {which}
    ORDER BY seen.boot_id, seen.leg_id FOR UPDATE SKIP LOCKED
) AS done
WHERE seen_leg.boot_id = done.boot_id AND seen_leg.leg_id = done.leg_id
"""

_RECORDED = text(
    _DONE.format(
        which="""NOT seen.is_void AND (
        SELECT true FROM call_record AS record
        WHERE record.boot_id = seen.boot_id AND record.session_number = seen.session_number LIMIT 1)"""
    )
)

# What explains a number has done its work once the hour is complete and a later one has begun, after which it is never
# counted again (counting.extend); the canary alone leaves thousands a day.
_SETTLED = text(
    _DONE.format(
        which="""seen.is_void AND EXISTS (
        SELECT FROM started_hour AS hour
        WHERE hour.boot_id = seen.boot_id AND hour.state = 'complete'
          AND seen.session_number BETWEEN hour.first_number AND hour.last_number
          AND EXISTS (SELECT FROM started_hour AS later
                      WHERE later.boot_id = hour.boot_id AND later.hour > hour.hour))"""
    )
)

# What explains a number of an hour that is not complete is kept with it: a signed hour of years ago must not lack more
# than was signed for. So is a leg that runs, whatever the node's clock said when it began.
_OLD = text(
    _DONE.format(
        which="""seen.started_at < CAST(:before AS timestamptz)
      AND NOT (seen.is_void AND EXISTS (
          SELECT FROM started_hour AS hour
          WHERE hour.boot_id = seen.boot_id AND hour.state <> 'complete'
            AND seen.session_number BETWEEN hour.first_number AND hour.last_number))
      AND NOT (seen.ended_at IS NULL AND EXISTS (
          SELECT FROM node_boot AS boot WHERE boot.boot_id = seen.boot_id AND boot.ended_at IS NULL))"""
    )
)


async def take_in(session: AsyncSession) -> None:
    """Let what came since the last count tell of sessions, and forget what has done its work."""
    await session.execute(_RECORDED)
    await session.execute(_SETTLED)
    await session.execute(_OLD, {"before": clock.now() - SEEN_LEGS_KEPT})
    await _extend_by_what_is_told(session)


async def _extend_by_what_is_told(session: AsyncSession) -> None:
    """Count sessions of which the node could not tell any more: it died, nobody watched it, or it has not been counted
    since a month ended.

    FreeSWITCH counts without a gap: whoever knows of a number knows that all before it began.
    """
    told_of = await session.execute(_TOLD_OF, {"limit": MAX_UNSEEN_SESSIONS, "silent_since": last_month_ended()})
    now = clock.now()
    for boot_id in told_of.scalars().all():
        boot = await session.get(NodeBoot, boot_id, with_for_update=True, populate_existing=True)
        if boot is None:
            continue
        facts = {"boot_id": boot_id, "after": boot.last_number, "limit": boot.last_number + MAX_UNSEEN_SESSIONS}
        ends: dict[datetime, tuple[int, datetime, datetime]] = {}
        latest: datetime | None = None
        for number, told_at in (await session.execute(_UNSEEN, facts)).all():
            began_at = None if told_at is None else _within(told_at, boot.counted_at, now)
            # Numbers grow with time; a clock that was set back must not make hours overlap.
            latest = max((moment for moment in (latest, began_at) if moment is not None), default=None)
            at = latest or boot.counted_at or boot.first_seen_at
            # A node whose clock cannot be right has begun it at any time since it was counted.
            since = at if began_at == told_at or boot.counted_at is None else boot.counted_at
            hour = counting.hour_of(at)
            earliest = min(since, ends[hour][2]) if hour in ends else since
            ends[hour] = (number, at, earliest)
        for number, at, since in ends.values():
            await counting.extend(session, boot, number, at=at, previous_at=since)


def _within(moment: datetime, counted_at: datetime | None, now: datetime) -> datetime:
    """When a session began that the last count did not have yet, whatever the node's clock says."""
    earliest = moment if counted_at is None else max(moment, counted_at)
    return min(earliest, now)
