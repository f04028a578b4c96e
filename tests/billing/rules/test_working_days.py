"""The State Council's calendar: holidays, make-up working days, and the years it does not cover yet."""

from __future__ import annotations

from datetime import date

import pytest

from infra.kit.working_days import LAST_PUBLISHED_YEAR, CountedDay, is_published, is_working_day, working_day_before


def test_holidays_and_make_up_days() -> None:
    assert not is_working_day(date(2026, 2, 17))  # Tuesday, Spring Festival
    assert is_working_day(date(2026, 2, 28))  # Saturday, made up for the festival
    assert not is_working_day(date(2026, 3, 1))  # Sunday


def test_counting_back_takes_make_up_days_in() -> None:
    assert working_day_before(date(2026, 3, 2), 1) == CountedDay(date(2026, 2, 28), provisional=False)
    assert working_day_before(date(2026, 3, 2), 3) == CountedDay(date(2026, 2, 26), provisional=False)


def test_unpublished_years_are_monday_to_friday_and_provisional() -> None:
    year = LAST_PUBLISHED_YEAR + 1
    new_year = date(year, 1, 1)
    assert not is_published(new_year)
    assert is_working_day(new_year) == (new_year.isoweekday() <= 5)
    assert working_day_before(date(year, 6, 1), 3).provisional
    assert not working_day_before(new_year, 1).provisional


def test_at_least_one_day_is_counted() -> None:
    with pytest.raises(ValueError, match="expected 1"):
        working_day_before(date(2026, 3, 2), 0)
