"""How calls were heard, day by day: a summary per node and gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.problems import InvalidInput

MAX_DAYS = 31
DEFAULT_DAYS = 7

# A leg lies in the month of its answer, never an earlier one than that of its start.
_SUMMARY = text("""
SELECT (started_at AT TIME ZONE 'Asia/Shanghai')::date AS day, node, gateway,
       count(*), count(answered_at), count(mean_opinion_score),
       round(avg(mean_opinion_score), 2), min(mean_opinion_score), round(avg(loss_percent), 2), max(jitter_variance),
       count(*) FILTER (WHERE answered_at IS NULL AND refusal IS NULL AND hangup_cause NOT IN
           ('NORMAL_CLEARING', 'ORIGINATOR_CANCEL', 'USER_BUSY', 'NO_ANSWER', 'NO_USER_RESPONSE', 'LOSE_RACE',
            'PICKED_OFF', 'CALL_REJECTED', 'UNALLOCATED_NUMBER', 'MANAGER_REQUEST'))
FROM call_record
WHERE started_at >= :begins AND started_at < :ends AND month >= :month
  AND (CAST(:node AS text) IS NULL OR node = :node)
  AND (CAST(:gateway AS text) IS NULL OR gateway = :gateway)
GROUP BY day, node, gateway
ORDER BY day DESC, node, gateway NULLS FIRST
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class DayQuality:
    """A local day's legs of a node over a gateway (None: legs of seats).

    `heard` legs carry an opinion score. `failed`: neither answered, refused, busy nor given up: causes of the network.
    """

    day: date
    node: str
    gateway: str | None
    legs: int
    answered: int
    heard: int
    mean_opinion_score: Decimal | None
    worst_opinion_score: Decimal | None
    loss_percent: Decimal | None
    jitter_variance: Decimal | None
    failed: int


async def summarize(
    session: AsyncSession, *, first: date | None, last: date | None, node: str | None = None, gateway: str | None = None
) -> list[DayQuality]:
    """The days from `first` to `last`, both included, the latest first; by default the last seven.

    Raises `InvalidInput` for more than `MAX_DAYS`.
    """
    try:
        last = last or clock.today()
        first = first or last - timedelta(days=DEFAULT_DAYS - 1)
        following = last + timedelta(days=1)
        begins, ends = clock.local_midnight(first).astimezone(UTC), clock.local_midnight(following).astimezone(UTC)
    except OverflowError:
        raise InvalidInput("Such a day has no calls.", field="from") from None
    if not timedelta(0) <= last - first < timedelta(days=MAX_DAYS):
        raise InvalidInput(f"Ask for 1 to {MAX_DAYS} days, the first one first.", field="from")
    facts = {
        "begins": begins,
        "ends": ends,
        "month": first.replace(day=1),
        "node": node,
        "gateway": gateway,
    }
    return [
        DayQuality(
            day=row[0],
            node=row[1],
            gateway=row[2],
            legs=row[3],
            answered=row[4],
            heard=row[5],
            mean_opinion_score=row[6],
            worst_opinion_score=row[7],
            loss_percent=row[8],
            jitter_variance=row[9],
            failed=row[10],
        )
        for row in (await session.execute(_SUMMARY, facts)).all()
    ]
