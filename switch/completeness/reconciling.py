"""Calls begun against records that came, hour by hour; and which months may close.

An hour is `counting` until it is over and its records have had time to arrive, or while calls of it still run; then it
is `complete`, or `incomplete` until the last record has come. The last hour of a month is `uncounted` on a node in
service that has not been heard since. Records set aside have come: they are explained, and wait among the set-aside
records for somebody. So is a number that FreeSWITCH took and gave up before it was a leg, and so are the canary's calls
and those refused before they were any tenant's. Nothing is ever invented for a record that is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs, reasons
from infra.kit.database import PLATFORM
from infra.kit.partitions import month_after
from switch.completeness import counting
from switch.completeness.counting import COMPLETE, COUNTING, INCOMPLETE, MAX_UNSEEN_SESSIONS
from switch.completeness.errors import HourReconciled, HourStillCounted, HourUnknown
from switch.completeness.models import HourSignOff, NodeBoot, SeenLeg, StartedHour

SETTLE = timedelta(minutes=2)
"""How long after an hour's end its last records may be on their way without anything being wrong."""

HOUR = timedelta(hours=1)
SIGNED_OFF = "signed_off"
UNCOUNTED = "uncounted"
"""The last hour of a month, of a node in service that has not been heard since: what it began is not known."""

REASON_LIMIT_CHARACTERS = 500
SEEN_LEGS_KEPT = timedelta(days=400)
HOURS_A_ROUND = 2_000

log = logs.get(__name__)

_COUNT = text("""
SELECT
    (SELECT count(DISTINCT session_number) FROM call_record
     WHERE boot_id = :boot_id AND session_number BETWEEN :first AND :last),
    (SELECT count(*) FROM (
        SELECT session_number FROM set_aside_record
        WHERE boot_id = :boot_id AND session_number BETWEEN :first AND :last
        UNION
        SELECT session_number FROM seen_leg
        WHERE boot_id = :boot_id AND session_number BETWEEN :first AND :last AND is_void
     ) AS explained
     WHERE NOT EXISTS (SELECT FROM call_record AS record
                       WHERE record.boot_id = :boot_id AND record.session_number = explained.session_number)),
    (SELECT count(DISTINCT seen.session_number) FROM seen_leg AS seen
     WHERE seen.boot_id = :boot_id AND seen.session_number BETWEEN :first AND :last AND seen.ended_at IS NULL
       AND NOT seen.is_void
       AND NOT EXISTS (SELECT FROM call_record AS record
                       WHERE record.boot_id = seen.boot_id AND record.session_number = seen.session_number)),
    (SELECT boot.ended_at IS NULL AND boot.is_watched AND node.state IS NOT NULL AND node.state NOT IN ('dead', 'left')
     FROM node_boot AS boot LEFT JOIN node ON node.name = boot.node WHERE boot.boot_id = :boot_id)
""")

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
       OR coalesce(node.heartbeat_at, boot.first_seen_at) < CAST(:silent_since AS timestamptz))
  AND ({_BEYOND_THE_COUNT})
ORDER BY boot.boot_id
""")  # noqa: S608 - the names are the constants above

# A node in service is counted with every sign of life.
_SILENT_NODES = text("""
SELECT node.name, min(coalesce(node.heartbeat_at, boot.first_seen_at))
FROM node_boot AS boot JOIN node ON node.name = boot.node
WHERE boot.ended_at IS NULL AND boot.is_watched AND node.state IN ('active', 'draining')
  AND coalesce(node.heartbeat_at, boot.first_seen_at) < :since
GROUP BY node.name
""")

_RECORDED = text("""
DELETE FROM seen_leg WHERE EXISTS (
    SELECT FROM call_record AS record
    WHERE record.boot_id = seen_leg.boot_id AND record.session_number = seen_leg.session_number)
""")

# What explains a number has done its work once the hour is complete and a later one has begun, after which it is never
# counted again (counting.extend); the canary alone leaves thousands a day.
_SETTLED = text("""
DELETE FROM seen_leg USING started_hour AS hour
WHERE seen_leg.is_void AND hour.boot_id = seen_leg.boot_id AND hour.state = 'complete'
  AND seen_leg.session_number BETWEEN hour.first_number AND hour.last_number
  AND EXISTS (SELECT FROM started_hour AS later WHERE later.boot_id = hour.boot_id AND later.hour > hour.hour)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """A node's hour: how many legs it began and what has become of their records; boots of the same hour are summed.

    `missing` neither came nor can still come from a running call. `observed_from`: when the node had been counted
    before; where that is earlier than `begins_at`, the legs may have begun as early as that.
    """

    node: str
    begins_at: datetime
    observed_from: datetime
    started: int
    accepted: int
    explained: int
    running: int
    missing: int
    state: str
    counted_at: datetime | None
    sign_off: HourSignOff | None

    @property
    def is_signable(self) -> bool:
        """Whether a person may let the month close over it."""
        return self.state in (INCOMPLETE, UNCOUNTED)

    @property
    def is_short(self) -> bool:
        """Whether something of it is missing by now for which nobody has signed, whatever still runs."""
        signed = 0 if self.sign_off is None else self.sign_off.missing
        is_over = self.begins_at + HOUR + SETTLE <= clock.now()
        return self.is_signable or (is_over and self.missing > signed)

    @property
    def is_reconciled(self) -> bool:
        """Whether the month may close over it."""
        return self.state in (COMPLETE, SIGNED_OFF)


async def reconcile(session: AsyncSession) -> int:
    """Count every hour that is not complete; returns how many have records missing.

    What came late closes its gap. May run beside itself and beside the supervisors.
    """
    await _take_in(session)
    waiting = select(StartedHour).where(StartedHour.state != COMPLETE)
    # The longest uncounted first: many hopeless hours must not keep new ones from their turn.
    waiting = waiting.order_by(StartedHour.counted_at.asc().nulls_first()).limit(HOURS_A_ROUND)
    waiting = waiting.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    rows = (await session.execute(waiting)).scalars().all()
    for row in rows:
        await _count(session, row)
    return sum(row.state == INCOMPLETE for row in rows)


async def _take_in(session: AsyncSession, *, silent_since: datetime | None = None) -> None:
    """Let what came since the last count tell of sessions, and forget what has done its work.

    `silent_since`: a node in service that has not been heard since then is told of like one that died.
    """
    await session.execute(_RECORDED)
    await session.execute(_SETTLED)
    await session.execute(delete(SeenLeg).where(SeenLeg.started_at < clock.now() - SEEN_LEGS_KEPT))
    await _extend_by_what_is_told(session, silent_since)


async def list_hours(
    session: AsyncSession,
    *,
    node: str | None = None,
    begins_from: datetime | None = None,
    begins_before: datetime | None = None,
    limit: int,
    after: tuple[datetime, str] | None = None,
) -> list[Hour]:
    """Hours in which nodes began calls, the latest first; `after` is the hour and node of the last one shown."""
    keys = select(StartedHour.hour, StartedHour.node).distinct()
    if node is not None:
        keys = keys.where(StartedHour.node == node)
    if begins_from is not None:
        keys = keys.where(StartedHour.hour >= begins_from)
    if begins_before is not None:
        keys = keys.where(StartedHour.hour < begins_before)
    if after is not None:
        keys = keys.where(tuple_(StartedHour.hour, StartedHour.node) < after)
    chosen = keys.order_by(StartedHour.hour.desc(), StartedHour.node.desc()).limit(limit).subquery()
    query = select(StartedHour).join(chosen, (chosen.c.hour == StartedHour.hour) & (chosen.c.node == StartedHour.node))
    return await _hours(session, (await session.execute(query)).scalars().all())


async def unreconciled_hours(session: AsyncSession, month: date) -> list[Hour]:
    """All hours of a local month over which it may not close: records missing or still counted, and not signed off.

    Once the month is over, also its last hour on each node in service that has not been heard since. `month` is its
    first day. All its hours are counted anew before. The earliest come first.
    """
    begins, ends = clock.local_midnight(month), clock.local_midnight(month_after(month))
    # Asked first: a node that is heard from here on has written its count before its hours are read.
    silent = await _silent_nodes(session, ends)
    await _take_in(session, silent_since=ends if ends <= clock.now() else None)
    unfinished = select(StartedHour).where(
        StartedHour.state != COMPLETE,
        func.least(StartedHour.observed_from, StartedHour.hour) < ends,
        StartedHour.hour > begins - HOUR,
    )
    # Waited for, in one order, instead of passed over: a month must not close over an hour that somebody is counting.
    locked = unfinished.order_by(StartedHour.hour, StartedHour.boot_id).with_for_update()
    for row in (await session.execute(locked.execution_options(populate_existing=True))).scalars().all():
        await _count(session, row)
    await session.flush()
    within = unfinished.with_only_columns(StartedHour.hour, StartedHour.node).distinct().subquery()
    # Also other boots of the same node and hour: a signature is for all of them.
    lacking = func.sum(
        StartedHour.last_number
        - StartedHour.first_number
        + 1
        - StartedHour.accepted
        - StartedHour.explained
        - StartedHour.running
    )
    is_counting = func.bool_or(
        (StartedHour.state == COUNTING) | ((StartedHour.state != COMPLETE) & (StartedHour.running > 0))
    )
    is_signed = ~is_counting & (func.greatest(lacking, 0) <= func.coalesce(HourSignOff.missing, -1))
    is_one = (within.c.hour == StartedHour.hour) & (within.c.node == StartedHour.node)
    is_its = (HourSignOff.hour == StartedHour.hour) & (HourSignOff.node == StartedHour.node)
    open_hours = (
        select(StartedHour.hour, StartedHour.node)
        .join(within, is_one)
        .outerjoin(HourSignOff, is_its)
        .group_by(StartedHour.hour, StartedHour.node, HourSignOff.missing)
        .having(~is_signed)
        .subquery()
    )
    query = select(StartedHour).join(
        open_hours, (open_hours.c.hour == StartedHour.hour) & (open_hours.c.node == StartedHour.node)
    )
    found = {
        (hour.begins_at, hour.node): hour
        for hour in await _hours(session, (await session.execute(query)).scalars().all())
    }
    found |= {(hour.begins_at, hour.node): hour for hour in await _last_hours(session, silent, ends)}
    return [found[key] for key in sorted(found) if not found[key].is_reconciled]


async def sign_off(session: AsyncSession, node: str, hour: datetime, reason: str) -> Hour:
    """A person lets the month close although records of an hour are missing, and says why.

    It covers as many as are missing now. Raises `HourUnknown`, `HourStillCounted`, `HourReconciled`, `InvalidInput`.
    """
    reason = reasons.given(reason, limit_characters=REASON_LIMIT_CHARACTERS)
    await reconcile(session)
    found = await get_hour(session, node, hour)
    if found.state == COUNTING:
        raise HourStillCounted(f"{found.running} calls of it still run, or it is not over yet.", field="hour")
    if found.state == COMPLETE:
        raise HourReconciled("Every record of it has come.", field="hour")
    await sign_hours(session, [found], reason)
    return await get_hour(session, node, hour)


async def sign_hours(session: AsyncSession, hours: Sequence[Hour], reason: str, *, field: str = "reason") -> None:
    """Write a person's signature for the records that are missing in these hours. Raises `InvalidInput`."""
    reason = reasons.given(reason, limit_characters=REASON_LIMIT_CHARACTERS, field=field)
    signed: dict[str, Any] = {"reason": reason, "signed_by": audit.actor.get(), "signed_at": clock.now()}
    for hour in hours:
        values = signed | {"missing": hour.missing}
        statement = insert(HourSignOff).values(node=hour.node, hour=hour.begins_at, **values)
        await session.execute(
            statement.on_conflict_do_update(index_elements=[HourSignOff.node, HourSignOff.hour], set_=values)
        )
        name = f"{hour.node} {hour.begins_at:%Y-%m-%dT%HZ}"
        await audit.record(session, PLATFORM, "node_hour.signed_off", name, missing=hour.missing, reason=reason)


async def get_hour(session: AsyncSession, node: str, hour: datetime) -> Hour:
    """One node's hour. Raises `HourUnknown`."""
    ends = hour + HOUR
    if ends <= clock.now() and ends == clock.local_midnight(clock.local_date(ends).replace(day=1)):
        silent = await _silent_nodes(session, ends)
        if node in silent:
            return (await _last_hours(session, {node: silent[node]}, ends))[0]
    query = select(StartedHour).where(StartedHour.node == node, StartedHour.hour == hour)
    found = await _hours(session, (await session.execute(query)).scalars().all())
    if not found:
        raise HourUnknown(f"{node} began no call in the hour of {hour.isoformat()}.", field="hour")
    return found[0]


async def _extend_by_what_is_told(session: AsyncSession, silent_since: datetime | None) -> None:
    """Count sessions of which the node could not tell any more: it died, is silent, or nobody watched it.

    FreeSWITCH counts without a gap: whoever knows of a number knows that all before it began.
    """
    told_of = await session.execute(_TOLD_OF, {"limit": MAX_UNSEEN_SESSIONS, "silent_since": silent_since})
    for boot_id in told_of.scalars().all():
        boot = await session.get(NodeBoot, boot_id, with_for_update=True, populate_existing=True)
        if boot is None:
            continue
        facts = {"boot_id": boot_id, "after": boot.last_number, "limit": boot.last_number + MAX_UNSEEN_SESSIONS}
        ends: dict[datetime, tuple[int, datetime]] = {}
        latest: datetime | None = None
        for number, began_at in (await session.execute(_UNSEEN, facts)).all():
            # Numbers grow with time; a clock that was set back must not make hours overlap.
            latest = max((moment for moment in (latest, began_at) if moment is not None), default=None)
            at = latest if latest is not None else boot.first_seen_at
            ends[counting.hour_of(at)] = (number, at)
        for number, at in ends.values():
            await counting.extend(session, boot, number, at=at, previous_at=at)


async def _silent_nodes(session: AsyncSession, since: datetime) -> dict[str, datetime]:
    """The nodes in service that have not been heard since a moment, and when they were last; none while it is ahead."""
    if since > clock.now():
        return {}
    rows = (await session.execute(_SILENT_NODES, {"since": since})).all()
    return {row[0]: row[1] for row in rows}


async def _last_hours(session: AsyncSession, silent: dict[str, datetime], ends: datetime) -> list[Hour]:
    """The last hour of a month that is over, of each node that has not been heard since it ended."""
    if not silent:
        return []
    hour = ends - HOUR
    of_them = select(StartedHour).where(StartedHour.hour == hour, StartedHour.node.in_(silent))
    known = {one.node: one for one in await _hours(session, (await session.execute(of_them)).scalars().all())}
    signatures = select(HourSignOff).where(HourSignOff.hour == hour, HourSignOff.node.in_(silent))
    signatures = signatures.execution_options(populate_existing=True)
    signed = {one.node: one for one in (await session.execute(signatures)).scalars()}
    return [
        _last_hour(known.get(node) or _empty_hour(node, hour), signed.get(node), heard_at)
        for node, heard_at in sorted(silent.items())
    ]


def _last_hour(hour: Hour, signed: HourSignOff | None, heard_at: datetime) -> Hour:
    settled_at = hour.begins_at + HOUR + SETTLE
    if hour.state == COUNTING or clock.now() < settled_at:
        state = COUNTING
    elif signed is not None and signed.signed_at >= settled_at and hour.missing <= signed.missing:
        state = SIGNED_OFF
    else:
        state = UNCOUNTED
    return replace(hour, state=state, sign_off=signed, observed_from=min(hour.observed_from, heard_at))


def _empty_hour(node: str, hour: datetime) -> Hour:
    return Hour(
        node=node,
        begins_at=hour,
        observed_from=hour,
        started=0,
        accepted=0,
        explained=0,
        running=0,
        missing=0,
        state=COMPLETE,
        counted_at=None,
        sign_off=None,
    )


async def _count(session: AsyncSession, row: StartedHour) -> None:
    facts = {"boot_id": row.boot_id, "first": row.first_number, "last": row.last_number}
    accepted, explained, running, is_alive = (await session.execute(_COUNT, facts)).one()
    now = clock.now()
    row.accepted, row.explained, row.running = accepted, explained, running if is_alive else 0
    row.counted_at = now
    if row.hour + HOUR + SETTLE > now:
        row.state = COUNTING
        return
    lacking = row.last_number - row.first_number + 1 - row.accepted - row.explained
    before = row.state
    row.state = COMPLETE if lacking <= 0 else COUNTING if lacking <= row.running else INCOMPLETE
    if row.state == INCOMPLETE and before != INCOMPLETE:
        log.error("call_records.missing", node=row.node, hour=row.hour.isoformat(), missing=lacking - row.running)


async def _hours(session: AsyncSession, rows: Sequence[StartedHour]) -> list[Hour]:
    """Rows of boots as hours of nodes, the latest first."""
    grouped: dict[tuple[datetime, str], list[StartedHour]] = {}
    for row in rows:
        grouped.setdefault((row.hour, row.node), []).append(row)
    signed: dict[tuple[datetime, str], HourSignOff] = {}
    if grouped:
        hours = {hour for hour, _ in grouped}
        query = select(HourSignOff).where(HourSignOff.hour.in_(hours)).execution_options(populate_existing=True)
        signed = {(one.hour, one.node): one for one in (await session.execute(query)).scalars()}
    return [_hour(key, grouped[key], signed.get(key)) for key in sorted(grouped, reverse=True)]


def _hour(key: tuple[datetime, str], rows: Sequence[StartedHour], signed: HourSignOff | None) -> Hour:
    started = sum(row.last_number - row.first_number + 1 for row in rows)
    accepted, explained, running = (
        sum(row.accepted for row in rows),
        sum(row.explained for row in rows),
        sum(row.running for row in rows),
    )
    # What a call that still runs will lack is not known: nothing of its hour can be signed before it ends.
    states = {COUNTING if row.running and row.state != COMPLETE else row.state for row in rows}
    state = COUNTING if COUNTING in states else INCOMPLETE if INCOMPLETE in states else COMPLETE
    missing = max(0, started - accepted - explained - running)
    if state == INCOMPLETE and signed is not None and missing <= signed.missing:
        state = SIGNED_OFF
    counted: list[Any] = [row.counted_at for row in rows if row.counted_at is not None]
    return Hour(
        node=key[1],
        begins_at=key[0],
        observed_from=min(key[0], *(row.observed_from for row in rows)),
        started=started,
        accepted=accepted,
        explained=explained,
        running=running,
        missing=missing,
        state=state,
        counted_at=min(counted, default=None),
        sign_off=signed,
    )
