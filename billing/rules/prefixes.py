"""Rate decks: which row prices a call (C3; `quote.md`, "seatline rate")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from billing.rules.errors import DeckRefused
from billing.rules.months import LOCAL_ZONE, ONE_DAY
from billing.rules.rating import Tariff, billed_seconds, tariff

DAY_SECONDS = 24 * 60 * 60
_WEEK = 7


@dataclass(frozen=True, slots=True)
class Band:
    """A time band: ISO weekdays (1 is Monday) and local seconds of the day, `to_second` not included.

    `to_second` ≤ `from_second` means that the band runs past midnight; it then belongs to the day it begins on.
    """

    weekdays: frozenset[int] = frozenset(range(1, _WEEK + 1))
    from_second: int = 0
    to_second: int = DAY_SECONDS

    def parts_on(self, weekday: int) -> list[tuple[int, int]]:
        """The seconds of a weekday that the band covers, among them what yesterday's band left over."""
        wraps = self.to_second <= self.from_second
        parts: list[tuple[int, int]] = []
        if weekday in self.weekdays:
            parts.append((self.from_second, DAY_SECONDS if wraps else self.to_second))
        yesterday = weekday - 1 or _WEEK
        if wraps and yesterday in self.weekdays and self.to_second > 0:
            parts.append((0, self.to_second))
        return parts

    def covers(self, weekday: int, second: int) -> bool:
        """Whether a local moment lies in the band."""
        return any(begins <= second < ends for begins, ends in self.parts_on(weekday))


@dataclass(frozen=True, slots=True)
class DeckRow:
    """One row: a prefix and its price. Dates are local, both included; None leaves that side open.

    `connect_fee` is CNY, `rate_per_minute` CNY a minute, increments are seconds. `line` is the line of the file.
    """

    prefix: str
    name: str
    connect_fee: Decimal
    rate_per_minute: Decimal
    first_increment: int
    next_increment: int
    valid_from: date | None = None
    valid_to: date | None = None
    band: Band | None = None
    line: int = 0
    tariff: Tariff = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tariff", tariff(self.connect_fee, self.rate_per_minute))

    def applies(self, local: datetime) -> bool:
        """Whether dates and band match a local moment."""
        day = local.date()
        if self.valid_from is not None and day < self.valid_from:
            return False
        if self.valid_to is not None and day > self.valid_to:
            return False
        if self.band is None:
            return True
        second = local.hour * 3600 + local.minute * 60 + local.second
        return self.band.covers(local.isoweekday(), second)

    @property
    def always(self) -> bool:
        """Whether it applies at any moment."""
        return self.valid_from is None and self.valid_to is None and self.band is None

    def billed_seconds(self, seconds: int) -> int:
        """Seconds of talk rounded up to this row's increments."""
        return billed_seconds(seconds, self.first_increment, self.next_increment)


def charge(row: DeckRow, billed: int) -> Decimal:
    """What billed seconds cost by this row, CNY, four decimals."""
    return row.tariff.charge(billed)


class Deck:
    """Rows found by the longest prefix that is valid at the moment of answer."""

    def __init__(self, rows: dict[str, tuple[DeckRow, ...]]) -> None:
        self._rows = rows
        self._lengths = tuple(sorted({len(prefix) for prefix in rows}, reverse=True))

    @classmethod
    def from_rows(cls, rows: Iterable[DeckRow]) -> Deck:
        """A deck; the rows of one prefix are put in the order in which they win.

        Raises `DeckRefused`, naming the line, where two rows could win at the same moment.
        """
        groups: defaultdict[str, list[DeckRow]] = defaultdict(list)
        for row in rows:
            groups[row.prefix].append(row)
        for group in groups.values():
            if len(group) > 1:
                _refuse_ties(group)
                group.sort(key=lambda row: (row.band is not None, row.valid_from or date.min), reverse=True)
        return cls({prefix: tuple(group) for prefix, group in groups.items()})

    def __len__(self) -> int:
        return sum(len(group) for group in self._rows.values())

    def match(self, destination: str, answered_at: datetime) -> DeckRow | None:
        """The row that prices a call, or None.

        `destination` is E.164 without `+`; `answered_at` has an offset. The longest prefix wins; within it a row
        with a matching band beats one without, then the latest `valid_from`. Rows whose dates or band do not match
        do not count at all, so a shorter prefix may win.
        """
        local: datetime | None = None
        for length in self._lengths:
            group = self._rows.get(destination[:length])
            if group is None or len(destination) < length:
                continue
            for row in group:
                if row.always:
                    return row
                if local is None:
                    local = answered_at.astimezone(LOCAL_ZONE)
                if row.applies(local):
                    return row
        return None


def _refuse_ties(group: Sequence[DeckRow]) -> None:
    """Rows of one prefix may not be equal in rank and apply at the same moment."""
    ranks: defaultdict[tuple[bool, date | None], list[DeckRow]] = defaultdict(list)
    for row in group:
        ranks[(row.band is not None, row.valid_from)].append(row)
    for rows in ranks.values():
        for index, row in enumerate(rows):
            for other in rows[:index]:
                if _may_meet(row, other):
                    raise DeckRefused(
                        f"line {row.line}, column prefix",
                        f"prefix {row.prefix} ties with line {other.line}",
                        "rows of one prefix that differ in valid_from or in their time band",
                    )


def _may_meet(one: DeckRow, other: DeckRow) -> bool:
    """Whether some moment suits both of two rows with the same `valid_from`."""
    if one.band is None or other.band is None:
        return True
    for weekday in _common_weekdays(one, other):
        for begins, ends in one.band.parts_on(weekday):
            for other_begins, other_ends in other.band.parts_on(weekday):
                if max(begins, other_begins) < min(ends, other_ends):
                    return True
    return False


def _common_weekdays(one: DeckRow, other: DeckRow) -> set[int]:
    """The weekdays on which both rows are valid at least once."""
    ends = [row.valid_to for row in (one, other) if row.valid_to is not None]
    first = one.valid_from
    if first is None or not ends or (min(ends) - first).days + 1 >= _WEEK:
        return set(range(1, _WEEK + 1))
    days = (min(ends) - first).days + 1
    return {(first + index * ONE_DAY).isoweekday() for index in range(days)}
