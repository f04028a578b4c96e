"""How many sessions each boot of a node began, hour by hour: written by the node's supervisor as it hears the count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from switch.completeness.models import NodeBoot, StartedHour

COUNTING, COMPLETE, INCOMPLETE = "counting", "complete", "incomplete"
MAX_UNSEEN_SESSIONS = 100_000
"""So many sessions at most can have begun between two looks at a node; a record that claims more is not believed."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class SessionCount:
    """What a node said: its boot, how many sessions that boot has begun, and when it was asked."""

    boot_id: str
    started: int
    at: datetime


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour a moment lies in; the zones of the house differ by whole hours."""
    return moment.replace(minute=0, second=0, microsecond=0)


async def observe(session: AsyncSession, node: str, count: SessionCount, *, added_at: datetime) -> None:
    """Write down what a node's supervisor was told.

    Sessions that are new since the node was last counted began in between; those of a node that never was, since it was
    added (`added_at`).
    """
    boot = await session.get(NodeBoot, count.boot_id, with_for_update=True)
    if boot is None:
        boot = await _begin(session, node, count)
        await _end_others(session, node, count)
    elif not boot.is_watched:
        boot.is_watched, boot.ended_at = True, None
        await _end_others(session, node, count)
    counted_at = boot.counted_at or await _last_counted(session, node) or added_at
    await extend(session, boot, count.started, at=count.at, previous_at=counted_at)
    boot.counted_at = count.at


async def extend(
    session: AsyncSession, boot: NodeBoot, last_number: int, *, at: datetime, previous_at: datetime
) -> None:
    """Count the sessions up to a number as begun in the hour of `at`, and not before `previous_at`; numbers that are
    known already stay where they are. The boot's row is locked by the caller.
    """
    if last_number <= boot.last_number:
        return
    latest = await session.scalar(select(func.max(StartedHour.hour)).where(StartedHour.boot_id == boot.boot_id))
    # A clock that was set back must not let two hours claim the same numbers.
    hour = max(hour_of(at), latest) if latest is not None else hour_of(at)
    since = min(previous_at, at)
    row = insert(StartedHour).values(
        boot_id=boot.boot_id,
        hour=hour,
        node=boot.node,
        first_number=boot.last_number + 1,
        last_number=last_number,
        observed_from=since,
        accepted=0,
        explained=0,
        running=0,
        state=COUNTING,
        counted_at=None,
    )
    await session.execute(
        row.on_conflict_do_update(
            index_elements=[StartedHour.boot_id, StartedHour.hour],
            set_={
                "last_number": func.greatest(StartedHour.last_number, last_number),
                "observed_from": func.least(StartedHour.observed_from, row.excluded.observed_from),
                "state": COUNTING,
            },
        )
    )
    boot.last_number = last_number
    await session.flush()


async def _begin(session: AsyncSession, node: str, count: SessionCount) -> NodeBoot:
    """A boot that was not known; a record of it may arrive at the same moment and make the row first."""
    values = {"boot_id": count.boot_id, "node": node, "first_seen_at": count.at, "last_number": 0, "is_watched": True}
    statement = insert(NodeBoot).values(values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[NodeBoot.boot_id], set_={"is_watched": True, "ended_at": None, "node": node}
        )
    )
    query = select(NodeBoot).where(NodeBoot.boot_id == count.boot_id)
    log.info("node.boot_seen", node=node, boot_id=count.boot_id, started=count.started)
    return (await session.execute(query.with_for_update().execution_options(populate_existing=True))).scalar_one()


async def _end_others(session: AsyncSession, node: str, count: SessionCount) -> None:
    """A node runs one boot at a time: those before it are over."""
    earlier = (NodeBoot.node == node) & (NodeBoot.boot_id != count.boot_id) & NodeBoot.ended_at.is_(None)
    await session.execute(update(NodeBoot).where(earlier).values(ended_at=count.at))


async def _last_counted(session: AsyncSession, node: str) -> datetime | None:
    return await session.scalar(select(func.max(NodeBoot.counted_at)).where(NodeBoot.node == node))
