"""Terms, notices, deadlines and versions by the calendar (C14, C15, C16)."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules import contract_periods as periods
from billing.rules.contract_versions import changed_terms, in_force
from billing.rules.errors import TermRefused
from billing.rules.terms import OVERRIDABLE, preset_terms

DAYS = st.dates(date(2000, 1, 1), date(2090, 12, 31))


@pytest.mark.parametrize(
    ("signed_on", "years", "last_day"),
    [
        ("2026-05-11", 2, "2028-05-10"),
        ("2026-01-01", 1, "2026-12-31"),
        ("2027-03-01", 1, "2028-02-29"),
        ("2028-02-29", 1, "2029-02-28"),
        ("2028-02-29", 4, "2032-02-28"),
    ],
)
def test_a_term_ends_the_day_before_its_anniversary(signed_on: str, years: int, last_day: str) -> None:
    assert str(periods.term_ends_on(date.fromisoformat(signed_on), years)) == last_day


@pytest.mark.parametrize(
    ("ends_on", "deadline"),
    [("2027-05-10", "2027-04-10"), ("2027-03-31", "2027-02-28"), ("2028-03-30", "2028-02-29")],
)
def test_a_renewal_is_agreed_a_month_before_the_end(ends_on: str, deadline: str) -> None:
    assert str(periods.renewal_deadline(date.fromisoformat(ends_on))) == deadline


@pytest.mark.parametrize(
    ("noticed_on", "earliest"),
    [("2026-07-15", "2026-08-15"), ("2026-01-31", "2026-02-28"), ("2026-12-31", "2027-01-31")],
)
def test_a_change_takes_effect_a_month_after_its_notice(noticed_on: str, earliest: str) -> None:
    assert str(periods.earliest_change(date.fromisoformat(noticed_on))) == earliest


def test_the_operator_ends_with_five_days_of_notice() -> None:
    assert periods.earliest_extraordinary_end(date(2026, 7, 29)) == date(2026, 8, 3)


@pytest.mark.parametrize(
    ("days_left", "reminder"),
    [(61, None), (60, 60), (46, 60), (45, 45), (31, 45), (30, 30), (1, 30), (0, 30), (-1, None)],
)
def test_both_are_reminded_60_45_and_30_days_before_the_end(days_left: int, reminder: int | None) -> None:
    ends_on = date(2027, 5, 10)
    assert periods.reminder_due(ends_on, ends_on - timedelta(days=days_left)) == reminder


@given(DAYS)
def test_a_month_later_is_28_to_31_days_later_and_never_skips_a_month(day: date) -> None:
    later = periods.month_later(day)
    assert 28 <= (later - day).days <= 31
    assert (later.year - day.year) * 12 + later.month - day.month == 1
    assert periods.month_earlier(later) <= day


@given(st.sets(DAYS, max_size=6), DAYS)
def test_the_newest_version_that_has_begun_holds(first_days: set[date], day: date) -> None:
    version = in_force({each: each for each in first_days}, day)
    begun = sorted(each for each in first_days if each <= day)
    assert version == (begun[-1] if begun else None)


def test_an_amendment_changes_what_it_names_and_keeps_the_rest() -> None:
    signed = preset_terms("hosted", {"rent_per_seat": "1800.00", "tax_rates": {"calls": "0.06"}})
    changed = changed_terms(signed, {"grace_days": 20, "tax_rates": {"rent": "0.09"}})
    assert (changed.grace_days, changed.rent_per_seat) == (20, Decimal("1800.00"))
    assert (changed.tax_rates["rent"], changed.tax_rates["calls"]) == (Decimal("0.09"), Decimal("0.06"))
    assert {name for name in OVERRIDABLE if getattr(changed, name) != getattr(signed, name)} == {
        "grace_days",
        "tax_rates",
    }


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({}, "terms"),
        ({"rent_per_seat": "2000.00"}, "terms"),
        ({"rent_per_seat": "-1.00"}, "terms.rent_per_seat"),
        ({"rent_per_seet": "1.00"}, "terms.rent_per_seet"),
        ({"preset": "onsite"}, "terms.preset"),
        ({"release_day": 7}, "terms.release_day"),
        ({"due_day": 29}, "terms.due_day"),
        ({"volume": [{"from": 5, "rent": "1.00"}, {"from": 5, "rent": "2.00"}]}, "terms.volume[1]"),
        ({"deposit": "5000.00"}, "terms.deposit"),
    ],
)
def test_impossible_terms_are_named(overrides: dict[str, object], field: str) -> None:
    with pytest.raises(TermRefused) as refusal:
        changed_terms(preset_terms("hosted"), overrides)
    assert refusal.value.field == field


def test_seats_ordered_later_may_come_without_a_deposit_or_with_one_again() -> None:
    without = changed_terms(preset_terms("hosted"), {"deposit": "0.00"})
    assert without.deposit == Decimal("0.00")
    assert changed_terms(without, {"deposit": "per_seat"}).deposit == "per_seat"
