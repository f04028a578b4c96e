"""Which maintenance windows are allowed (C12, rule 10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from billing.rules.book import Span
from billing.rules.errors import WindowRefused
from billing.rules.months import Month, local_day
from billing.rules.terms import PRESETS, Terms

NOTICE = timedelta(hours=72)
"""How long before its beginning a window is announced, and how long before its new beginning it is moved."""

WINDOWS_A_MONTH = min(terms.maintenance_windows_per_month for terms in PRESETS.values())
"""A window is for a whole cluster, so the strictest of the presets holds for everybody."""

LONGEST_AHEAD = timedelta(days=366)
"""A window further ahead is a slip of the pen."""

_INSTANT = timedelta(microseconds=1)
_ONE_DAY = timedelta(days=1)


def check_windows(terms: Terms, windows: Sequence[tuple[str, Span]]) -> None:
    """Refuse a window that leaves its local calendar day, and one too many in a month.

    `windows` are (place, span) pairs; a window may end at midnight. Raises `WindowRefused` naming the place.
    """
    counted: Counter[Month] = Counter()
    for place, span in sorted(windows, key=lambda window: window[1]):
        _check_one_day(place, span)
        month = month_of(span)
        counted[month] += 1
        _check_number(place, month, counted[month], terms.maintenance_windows_per_month)


def check_announcement(span: Span, others: Sequence[Span], now: datetime) -> None:
    """Whether a window may be announced, or one moved here, at this moment (rule 10).

    `others` are the cluster's other windows that are not cancelled; one that is moved is not among them. Moving is
    announcing anew: the notice counts from the move to the new beginning. Raises `WindowRefused` naming `begins_at`
    or `ends_at`.
    """
    if span.ends <= span.begins:
        raise WindowRefused("ends_at", "the window ends before it has begun", "a moment later than begins_at")
    if span.begins < now + NOTICE:
        hours = NOTICE // timedelta(hours=1)
        raise WindowRefused("begins_at", "the notice is too short", f"a beginning at least {hours} hours from now")
    if span.begins > now + LONGEST_AHEAD:
        raise WindowRefused("begins_at", "the window is too far ahead", f"at most {LONGEST_AHEAD.days} days from now")
    _check_one_day("ends_at", span)
    month = month_of(span)
    in_month = 1 + sum(month_of(other) == month for other in others)
    _check_number("begins_at", month, in_month, WINDOWS_A_MONTH)


def month_of(span: Span) -> Month:
    """The local month that a window counts in."""
    return Month.of(local_day(span.begins))


def overrun(span: Span, ended_at: datetime) -> Span | None:
    """The time from the scheduled end to the actual one, an operator's fault; None for a window that ended in time."""
    return Span(span.ends, ended_at) if ended_at > span.ends else None


def _check_one_day(place: str, span: Span) -> None:
    if span.ends - span.begins > _ONE_DAY or local_day(span.ends - _INSTANT) != local_day(span.begins):
        raise WindowRefused(place, "the window runs past midnight", "both ends within one local calendar day")


def _check_number(place: str, month: Month, number: int, allowed: int) -> None:
    if number > allowed:
        raise WindowRefused(place, f"one window too many in {month}", f"at most {allowed} windows a month")
