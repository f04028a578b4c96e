"""The days of a contract's life: term, renewal, notice and reminders (C14, C15, C16).

A month's notice ends on the same day of the next month, or on its last day where that month is shorter.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal, get_args

from billing.rules.months import ONE_DAY, Month

Ground = Literal["sub_letting", "outside_purpose", "unlawful_use"]
GROUNDS: tuple[str, ...] = get_args(Ground)
"""What entitles the operator to an extraordinary end (C16)."""

LONGEST_TERM_YEARS = 20
"""A lease for longer is void beyond twenty years (Civil Code of the PRC, article 705)."""

EXTRAORDINARY_NOTICE_DAYS = 5
REMINDER_DAYS = (60, 45, 30)
"""Days before the end of a term on which both sides are reminded of its renewal."""


def month_later(day: date) -> date:
    """The same day of the next month, or that month's last day."""
    following = Month.of(day).following
    return date(following.year, following.number, min(day.day, following.days))


def month_earlier(day: date) -> date:
    """The same day of the month before, or that month's last day."""
    preceding = Month.of(day).preceding
    return date(preceding.year, preceding.number, min(day.day, preceding.days))


def term_ends_on(first_day: date, years: int) -> date:
    """The last day of a term in years (C14): the day before its anniversary.

    A term from 29 February ends on 28 February where the year of its end has no 29th.
    """
    year = first_day.year + years
    if (first_day.month, first_day.day) == (2, 29):
        return Month(year, 2).last - (ONE_DAY if Month(year, 2).days == 29 else timedelta(0))
    return first_day.replace(year=year) - ONE_DAY


def renewal_deadline(ends_on: date) -> date:
    """The last day on which a renewal can be agreed: one month before the end (C14)."""
    return month_earlier(ends_on)


def earliest_change(noticed_on: date) -> date:
    """The first day on which a change or an early end can take effect after its written notice (C15)."""
    return month_later(noticed_on)


def earliest_extraordinary_end(noticed_on: date) -> date:
    """The first day that can be the last one of a contract ended by the operator for a ground of C16."""
    return noticed_on + timedelta(days=EXTRAORDINARY_NOTICE_DAYS)


def reminder_due(ends_on: date, today: date) -> int | None:
    """Which of `REMINDER_DAYS` a day has reached; None before the first and after the end.

    Days on which nobody worked are not made up for one by one: the step that holds today is the only one.
    """
    left = (ends_on - today).days
    reached = [days for days in REMINDER_DAYS if 0 <= left <= days]
    return min(reached, default=None)
