"""Calendar months and local days of the lease (clause C5): everything is dated in Asia/Shanghai."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

LOCAL_ZONE = ZoneInfo("Asia/Shanghai")
"""Rules know no clock, so the zone of clause C5 is named here for them."""

ONE_DAY = timedelta(days=1)


class Month(NamedTuple):
    """A calendar month; months compare and sort in time."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that a day lies in."""
        return cls(day.year, day.month)

    @property
    def days(self) -> int:
        """28 to 31."""
        return monthrange(self.year, self.number)[1]

    @property
    def first(self) -> date:
        """The 1st."""
        return date(self.year, self.number, 1)

    @property
    def last(self) -> date:
        """The last day."""
        return date(self.year, self.number, self.days)

    @property
    def following(self) -> Month:
        """The month after this one."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def preceding(self) -> Month:
        """The month before this one."""
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)

    def __str__(self) -> str:
        """Written as on an invoice: `2026-03`."""
        return f"{self.year:04d}-{self.number:02d}"


def day_begins(day: date) -> datetime:
    """The moment a local day begins, in UTC so that differences are real hours."""
    return datetime(day.year, day.month, day.day, tzinfo=LOCAL_ZONE).astimezone(UTC)


def local_day(moment: datetime) -> date:
    """The local calendar day of a moment."""
    return moment.astimezone(LOCAL_ZONE).date()
