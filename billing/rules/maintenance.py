"""Which maintenance windows are allowed (C12, rule 10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from billing.rules.book import Span
from billing.rules.errors import WindowRefused
from billing.rules.months import Month, local_day
from billing.rules.terms import Terms

_INSTANT = timedelta(microseconds=1)


def check_windows(terms: Terms, windows: Sequence[tuple[str, Span]]) -> None:
    """Refuse a window that leaves its local calendar day, and one too many in a month.

    `windows` are (place, span) pairs; a window may end at midnight. Raises `WindowRefused` naming the place.
    """
    counted: Counter[Month] = Counter()
    for place, span in sorted(windows, key=lambda window: window[1]):
        day = local_day(span.begins)
        if local_day(span.ends - _INSTANT) != day:
            raise WindowRefused(place, "the window runs past midnight", "both ends within one local calendar day")
        month = Month.of(day)
        counted[month] += 1
        if counted[month] > terms.maintenance_windows_per_month:
            raise WindowRefused(
                place,
                f"one window too many in {month}",
                f"at most {terms.maintenance_windows_per_month} windows a month",
            )
