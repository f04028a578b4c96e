"""The quietest hours of a month's days, from the traffic of past weeks (C12). Pure.

Traffic repeats by the week: a Sunday night is like the last ones. So an hour of a coming day is expected to be as busy
as the same hour of the same weekday was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

HOURS_A_DAY = 24
NIGHT_HOUR = 3
"""Among hours that were equally quiet the one nearest to three in the morning is proposed."""

HourOfWeek = tuple[int, int]
"""Weekday (Monday is 0) and hour, both local."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an hour of the week brought in all of the weeks looked at: legs that began, and their talking time."""

    legs: int = 0
    talk_seconds: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.legs + other.legs, self.talk_seconds + other.talk_seconds)


@dataclass(frozen=True, slots=True)
class QuietTime:
    """A local day, the hour that begins it, and what these hours brought in the weeks looked at."""

    day: date
    hour: int
    hours: int
    traffic: Traffic


def quietest(
    traffic: Mapping[HourOfWeek, Traffic], days: Collection[date], *, hours: int, first_hours: Mapping[date, int]
) -> list[QuietTime]:
    """The quietest time of `hours` whole hours on each of the days, the quietest day first.

    `first_hours`: on these days not before this hour. A window lies within one day (rule 10).
    """
    best: list[QuietTime] = []
    for day in days:
        earliest = first_hours.get(day, 0)
        candidates = [_time(traffic, day, hour, hours) for hour in range(earliest, HOURS_A_DAY - hours + 1)]
        if candidates:
            best.append(min(candidates, key=_order))
    return sorted(best, key=_order)


def busiest(traffic: Mapping[HourOfWeek, Traffic], days: Collection[date], *, hours: int) -> QuietTime | None:
    """The busiest time of the same length, for comparison; None without days."""
    times = [_time(traffic, day, hour, hours) for day in days for hour in range(HOURS_A_DAY - hours + 1)]
    return max(times, key=lambda time: (time.traffic.legs, time.traffic.talk_seconds), default=None)


def _time(traffic: Mapping[HourOfWeek, Traffic], day: date, hour: int, hours: int) -> QuietTime:
    whole = sum((traffic.get((day.weekday(), each), Traffic()) for each in range(hour, hour + hours)), Traffic())
    return QuietTime(day, hour, hours, whole)


def _order(time: QuietTime) -> tuple[int, int, float, date]:
    middle = time.hour + time.hours / 2
    return time.traffic.legs, time.traffic.talk_seconds, abs(middle - NIGHT_HOUR), time.day
