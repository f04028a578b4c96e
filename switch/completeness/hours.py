"""A node's hour: how many legs it began, what has become of their records, and whether a month may close over it.

An hour is `counting` until it is over and its records have had time to arrive, or while calls of it still run; then it
is `complete`, or `incomplete` until the last record has come, or `signed_off` while a person's word covers those that
are missing. `uncounted` are hours that nobody counted to their end (uncounted.py). Records set aside have come: they
are explained, and wait among the set-aside records for somebody. So is a number that FreeSWITCH took and gave up before
it was a leg, and so are the canary's calls and those refused before they were any tenant's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Subquery, case, false, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from switch.completeness.counting import COMPLETE, COUNTING, INCOMPLETE
from switch.completeness.models import HourSignOff, StartedHour

SETTLE = timedelta(minutes=2)
"""How long after an hour's end its last records may be on their way without anything being wrong."""

HOUR = timedelta(hours=1)
SIGNED_OFF = "signed_off"
UNCOUNTED = "uncounted"
"""The last hour of a month, of a node in service that has not been counted since: what it began is not known."""

STATES = (COUNTING, COMPLETE, INCOMPLETE, SIGNED_OFF, UNCOUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """A node's hour: how many legs it began and what has become of their records; boots of the same hour are summed.

    `missing` neither came nor can still come from a running call; for `unsigned` of them nobody has signed.
    `observed_from`: when the node had been counted
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
    unsigned: int
    state: str
    counted_at: datetime | None
    sign_off: HourSignOff | None
    is_uncounted: bool = False
    """Whether nobody counted it to its end, which holds its month up whatever else is known of it."""

    @property
    def key(self) -> tuple[datetime, str]:
        """What tells it from all others, in the order of time."""
        return self.begins_at, self.node

    @property
    def is_signable(self) -> bool:
        """Whether a person may let the month close over it."""
        return self.state in (INCOMPLETE, UNCOUNTED)

    @property
    def is_short(self) -> bool:
        """Whether something of it is missing or unknown by now for which nobody has signed, whatever still runs."""
        is_over = self.begins_at + HOUR + SETTLE <= clock.now()
        return self.is_signable or (is_over and (self.unsigned > 0 or self.is_uncounted))

    @property
    def is_reconciled(self) -> bool:
        """Whether the month may close over it."""
        return self.state in (COMPLETE, SIGNED_OFF)


async def counted_hours(
    session: AsyncSession,
    *wanted: ColumnElement[bool],
    states: Sequence[str] = STATES,
    limit: int | None = None,
) -> list[Hour]:
    """The hours that were counted, the latest first, with the signatures that stand beside them.

    `wanted` are conditions on `StartedHour` that hold for all boots of a node's hour or for none.
    """
    if COMPLETE not in states:
        # Few hours are not complete; an index knows them.
        unfinished = select(StartedHour.hour, StartedHour.node).where(StartedHour.state != COMPLETE, *wanted)
        wanted = (*wanted, tuple_(StartedHour.hour, StartedHour.node).in_(unfinished.correlate(None)))
    figures = _figures(wanted)
    its_signature = (HourSignOff.hour == figures.c.hour) & (HourSignOff.node == figures.c.node)
    is_signed = (figures.c.unsigned == 0) & HourSignOff.hour.is_not(None)
    is_open = ~figures.c.is_counting & figures.c.is_incomplete
    conditions = {
        COUNTING: figures.c.is_counting,
        COMPLETE: ~figures.c.is_counting & ~figures.c.is_incomplete,
        INCOMPLETE: is_open & ~is_signed,
        SIGNED_OFF: is_open & is_signed,
    }
    state = case(*((condition, name) for name, condition in conditions.items()))
    query = select(figures, state.label("state"), HourSignOff).outerjoin(HourSignOff, its_signature)
    if not conditions.keys() <= set(states):
        query = query.where(or_(false(), *(conditions[name] for name in conditions if name in states)))
    query = query.order_by(figures.c.hour.desc(), figures.c.node.desc()).limit(limit)
    rows = (await session.execute(query.execution_options(populate_existing=True))).all()
    return [
        Hour(
            node=row.node,
            begins_at=row.hour,
            observed_from=row.observed_from,
            started=row.started,
            accepted=row.accepted,
            explained=row.explained,
            running=row.running,
            missing=row.missing,
            unsigned=row.unsigned,
            state=row.state,
            counted_at=row.counted_at,
            sign_off=row.HourSignOff,
        )
        for row in rows
    ]


def _figures(wanted: Sequence[ColumnElement[bool]]) -> Subquery:
    """The boots of each node and hour, added up.

    What a call that still runs will lack is not known: while there is one, its hour is counting whatever else is known
    of it, and nothing of it can be signed.
    """
    started = StartedHour.last_number - StartedHour.first_number + 1
    lacking = func.sum(started - StartedHour.accepted - StartedHour.explained - StartedHour.running)
    still_runs = (StartedHour.state != COMPLETE) & (StartedHour.running > 0)
    query = select(
        StartedHour.hour,
        StartedHour.node,
        func.least(StartedHour.hour, func.min(StartedHour.observed_from)).label("observed_from"),
        func.sum(started).label("started"),
        func.sum(StartedHour.accepted).label("accepted"),
        func.sum(StartedHour.explained).label("explained"),
        func.sum(StartedHour.running).label("running"),
        func.greatest(lacking, 0).label("missing"),
        func.greatest(lacking - func.sum(StartedHour.signed), 0).label("unsigned"),
        func.bool_or((StartedHour.state == COUNTING) | still_runs).label("is_counting"),
        func.bool_or(StartedHour.state == INCOMPLETE).label("is_incomplete"),
        func.min(StartedHour.counted_at).label("counted_at"),
    )
    query = query.where(*wanted).group_by(StartedHour.hour, StartedHour.node)
    # In the order of the page, so that the database adds up no more of them than the page shows.
    return query.order_by(StartedHour.hour.desc(), StartedHour.node.desc()).subquery("figures")
