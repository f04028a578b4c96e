"""Working days by the State Council's calendar: statutory holidays and make-up days (rule 1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import chinese_calendar
from chinese_calendar.constants import holidays

FIRST_PUBLISHED_YEAR = min(holidays).year
LAST_PUBLISHED_YEAR = max(holidays).year
"""The last year whose calendar has been published; later years count as Monday to Friday, provisionally."""

_FRIDAY = 5


@dataclass(frozen=True, slots=True)
class CountedDay:
    """A day found by counting; `provisional` when a year without a published calendar was touched."""

    day: date
    provisional: bool


def is_published(day: date) -> bool:
    """Whether the calendar of this day's year is known."""
    return FIRST_PUBLISHED_YEAR <= day.year <= LAST_PUBLISHED_YEAR


def is_working_day(day: date) -> bool:
    """Whether offices work on this day; outside the published years Monday to Friday."""
    if is_published(day):
        return bool(chinese_calendar.is_workday(day))
    return day.isoweekday() <= _FRIDAY


def working_day_before(day: date, count: int) -> CountedDay:
    """The `count`-th working day before `day` (1 is the last one before it); `day` itself never counts."""
    if count < 1:
        raise ValueError(f"count is {count}; expected 1 (the last working day before) or more")
    provisional = False
    found = day
    while count:
        found -= timedelta(days=1)
        provisional = provisional or not is_published(found)
        count -= is_working_day(found)
    return CountedDay(found, provisional)
