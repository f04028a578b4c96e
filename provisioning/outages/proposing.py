"""Proposes maintenance windows in the quietest hours, from the call records of past weeks (C12, rule 10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.outages.models import MaintenanceWindow
from billing.rules import maintenance
from billing.rules.months import Month
from infra.kit import clock
from provisioning.outages.errors import ProposalRefused
from provisioning.rules import quiet_hours
from provisioning.rules.quiet_hours import HourOfWeek, QuietTime, Traffic
from switch.models import CallRecord

WEEKS = 4
"""How many whole weeks before today the traffic is taken from."""

LONGEST_HOURS = 12
PROPOSALS = 5
_ZONE = "Asia/Shanghai"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Times for a window, the quietest first, and what they were chosen from.

    `places_left`: how many more windows the month may have. `busiest`: the busiest time of the same length.
    """

    month: Month
    hours: int
    first_day: date
    last_day: date
    legs_seen: int
    places_left: int
    times: tuple[QuietTime, ...]
    busiest: QuietTime | None


async def propose(session: AsyncSession, month: Month, *, hours: int) -> Proposal:
    """The quietest times of a month that can still be announced, one a day, without the days of its other windows.

    Raises `ProposalRefused` for a month that is over and for a length that no window has.
    """
    if not 1 <= hours <= LONGEST_HOURS:
        raise ProposalRefused(f"A window is proposed for 1 to {LONGEST_HOURS} hours.", field="hours")
    now = clock.now()
    earliest = now + maintenance.NOTICE
    if month.last < clock.local_date(earliest):
        raise ProposalRefused(f"In {month} no window can be announced in time any more.", field="month")
    if month.first > clock.local_date(now + maintenance.LONGEST_AHEAD):
        raise ProposalRefused(f"{month} is too far ahead.", field="month")
    last_day = clock.local_date(now) - timedelta(days=1)
    first_day = last_day - timedelta(days=7 * WEEKS - 1)
    traffic = await _traffic(session, first_day, last_day)
    taken = await _days_taken(session, month)
    places_left = max(0, maintenance.WINDOWS_A_MONTH - len(taken))
    days = [month.first + timedelta(days=number) for number in range(month.days)]
    first_hours = {clock.local_date(earliest): _hour_after(earliest)}
    able = [day for day in days if day >= clock.local_date(earliest) and day not in taken]
    times = quiet_hours.quietest(traffic, able, hours=hours, first_hours=first_hours) if places_left else []
    return Proposal(
        month=month,
        hours=hours,
        first_day=first_day,
        last_day=last_day,
        legs_seen=sum(each.legs for each in traffic.values()),
        places_left=places_left,
        times=tuple(times[:PROPOSALS]),
        busiest=quiet_hours.busiest(traffic, days, hours=hours) if traffic else None,
    )


async def _traffic(session: AsyncSession, first_day: date, last_day: date) -> dict[HourOfWeek, Traffic]:
    """What each hour of the week brought in these days, all tenants together."""
    begins, ends = clock.local_midnight(first_day), clock.local_midnight(last_day + timedelta(days=1))
    local = func.timezone(_ZONE, CallRecord.started_at)
    weekday = cast(func.extract("isodow", local), Integer)
    hour = cast(func.extract("hour", local), Integer)
    query = (
        select(weekday, hour, func.count(), func.sum(CallRecord.billable_milliseconds))
        .where(
            CallRecord.month >= first_day.replace(day=1),  # spares the partitions of earlier months
            CallRecord.started_at >= begins,
            CallRecord.started_at < ends,
        )
        .group_by(weekday, hour)
    )
    return {
        (int(day) - 1, int(of_day)): Traffic(int(legs), int(milliseconds) // 1_000)
        for day, of_day, legs, milliseconds in await session.execute(query)
    }


async def _days_taken(session: AsyncSession, month: Month) -> list[date]:
    query = select(MaintenanceWindow.begins_at).where(
        MaintenanceWindow.state != "cancelled", MaintenanceWindow.month == month.first
    )
    return [clock.local_date(begins_at) for begins_at in (await session.execute(query)).scalars()]


def _hour_after(moment: datetime) -> int:
    """The first whole local hour after a moment; 24 when it is on the next day."""
    return moment.astimezone(clock.LOCAL_ZONE).hour + 1
