"""Hours that nobody counted to their end: the last one of a month, of a node in service that is not counted any more.

Say its supervisor is away, or it gives signs of life but no count. What the node began meanwhile is not known, so the
month does not close over that hour until the node is counted or declared dead, or a person signs. Such hours are not
stored. They are worked out here and nowhere else, so that the list, the signature and the release of a month speak of
the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.partitions import month_after
from switch.completeness.counting import COMPLETE, COUNTING
from switch.completeness.hours import HOUR, SETTLE, SIGNED_OFF, UNCOUNTED, Hour, counted_hours
from switch.completeness.models import HourSignOff, StartedHour

# A node in service that gives signs of life begins calls. One that joins, or was drained, is not thought to until calls
# of it are known: by its supervisor, or by a record of a run that no supervisor has seen since the node was counted.
_SILENT_NODES = text("""
WITH known AS (
    SELECT node.name, node.state, node.created_at, node.heartbeat_at IS NOT NULL AS is_heard,
           max(boot.counted_at) AS counted_at, min(boot.first_seen_at) AS first_seen_at
    FROM node LEFT JOIN node_boot AS boot ON boot.node = node.name
    WHERE node.state NOT IN ('dead', 'left') AND (CAST(:node AS text) IS NULL OR node.name = :node)
    GROUP BY node.node_id
)
SELECT name, coalesce(counted_at, first_seen_at, created_at) FROM known
WHERE coalesce(counted_at, first_seen_at, created_at) < :since
  AND ((is_heard AND state IN ('active', 'cut_off', 'draining'))
       OR EXISTS (
           SELECT FROM node_boot AS boot WHERE boot.node = known.name AND boot.ended_at IS NULL
           AND (state <> 'drained' OR (NOT boot.is_watched AND coalesce(
               (SELECT max(hour.hour) FROM started_hour AS hour WHERE hour.boot_id = boot.boot_id)
               + interval '1 hour' > known.counted_at, true)))))
ORDER BY name
""")


def last_month_ended() -> datetime:
    """When the month before this one ended."""
    return clock.local_midnight(clock.today().replace(day=1))


async def silent_nodes(session: AsyncSession, *, node: str | None = None) -> dict[str, datetime]:
    """The nodes that may have begun calls and were not counted since a month ended, and when they were counted last; or
    the one named.
    """
    rows = (await session.execute(_SILENT_NODES, {"since": last_month_ended(), "node": node})).all()
    return {row[0]: row[1] for row in rows}


def last_hours(
    silent: Mapping[str, datetime], *, begins_from: datetime | None = None, begins_before: datetime | None = None
) -> list[tuple[datetime, str]]:
    """The last hour of every month that has ended since these nodes were last counted, begun within these bounds."""
    now = clock.now()
    found: list[tuple[datetime, str]] = []
    for node, counted_at in silent.items():
        month = month_after(clock.local_date(counted_at).replace(day=1))
        while (ends := clock.local_midnight(month)) <= now:
            begins = ends - HOUR
            if (begins_from is None or begins >= begins_from) and (begins_before is None or begins < begins_before):
                found.append((begins, node))
            month = month_after(month)
    return found


async def uncounted_hours(
    session: AsyncSession,
    silent: Mapping[str, datetime],
    *,
    begins_from: datetime | None = None,
    begins_before: datetime | None = None,
) -> list[Hour]:
    """The last hours of months, begun within these bounds, to whose end these nodes were not counted.

    Each is `uncounted`, or `signed_off` where a person has signed since it ended and no other call is missing than
    then; it is `counting` while something may still tell of it. At most one a node and month.
    """
    keys = last_hours(silent, begins_from=begins_from, begins_before=begins_before)
    if not keys:
        return []
    at, of = {hour for hour, _ in keys}, {node for _, node in keys}
    counted = await counted_hours(session, StartedHour.hour.in_(at), StartedHour.node.in_(of))
    known = {hour.key: hour for hour in counted}
    query = select(HourSignOff).where(HourSignOff.hour.in_(at), HourSignOff.node.in_(of))
    rows = (await session.execute(query.execution_options(populate_existing=True))).scalars()
    signed = {(row.hour, row.node): row for row in rows}
    return [_last_hour(known.get(key) or _empty_hour(*key), signed.get(key), silent[key[1]]) for key in keys]


def _last_hour(hour: Hour, signed: HourSignOff | None, counted_at: datetime) -> Hour:
    settled_at = hour.begins_at + HOUR + SETTLE
    if hour.state == COUNTING or clock.now() < settled_at:
        state = COUNTING
    elif signed is not None and signed.signed_at >= settled_at and hour.unsigned == 0:
        state = SIGNED_OFF
    else:
        state = UNCOUNTED
    return replace(
        hour,
        state=state,
        sign_off=signed,
        observed_from=min(hour.observed_from, counted_at),
        is_uncounted=state != SIGNED_OFF,
    )


def _empty_hour(begins_at: datetime, node: str) -> Hour:
    return Hour(
        node=node,
        begins_at=begins_at,
        observed_from=begins_at,
        started=0,
        accepted=0,
        explained=0,
        running=0,
        missing=0,
        unsigned=0,
        state=COMPLETE,
        counted_at=None,
        sign_off=None,
    )
