"""Fault credits worked by hand from clause C11 and rule 9."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing.rules.book import Span
from billing.rules.faults import fault_time, united
from tests.billing.histories import add, end, fault, give_back, quoted, window

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def june(*events: object, **terms: object) -> dict[str, str]:
    """The monthly invoice of July for one seat held since 1 June."""
    history = [add("2026-06-01", 1), *events]
    return quoted("onsite", "2026-06-01", "2026-07-01", history, terms).kinds("monthly")  # pyright: ignore[reportArgumentType]


def test_only_the_operators_faults_count() -> None:
    for cause in ("tenant", "force_majeure"):
        assert "fault_credit" not in june(fault("2026-06-05T00:00:00", "2026-06-09T00:00:00", cause=cause))


def test_a_started_day_counts_whole() -> None:
    one_day = june(fault("2026-06-05T00:00:00", "2026-06-06T00:00:00"))
    assert one_day["fault_credit"] == "-66.67"
    a_second_more = june(fault("2026-06-05T00:00:00", "2026-06-06T00:00:01"))
    assert a_second_more["fault_credit"] == "-133.33"


def test_the_repair_time_is_a_term_and_each_fault_is_tested_by_itself() -> None:
    twice = [
        fault("2026-06-05T00:00:00", "2026-06-05T03:00:00"),
        fault("2026-06-05T03:00:00", "2026-06-05T06:00:00"),
    ]
    assert "fault_credit" not in june(*twice)
    assert june(*twice, repair_hours=2)["fault_credit"] == "-66.67"


def test_overlapping_faults_count_once() -> None:
    credit = june(
        fault("2026-06-05T00:00:00", "2026-06-05T20:00:00"),
        fault("2026-06-05T04:00:00", "2026-06-06T00:00:00", [1]),
    )
    assert credit["fault_credit"] == "-66.67"


def test_separate_times_are_added_before_days_are_counted() -> None:
    credit = june(
        fault("2026-06-05T00:00:00", "2026-06-05T12:00:00"), fault("2026-06-15T00:00:00", "2026-06-15T12:00:00")
    )
    assert credit["fault_credit"] == "-66.67"


def test_scheduled_maintenance_is_taken_out_but_the_test_looks_at_the_fault_as_reported() -> None:
    inside = [fault("2026-06-05T01:00:00", "2026-06-05T06:00:00"), window("2026-06-05T00:00:00", "2026-06-05T05:59:00")]
    assert june(*inside)["fault_credit"] == "-66.67"
    covered = [
        fault("2026-06-05T01:00:00", "2026-06-05T06:00:00"),
        window("2026-06-05T00:00:00", "2026-06-06T00:00:00"),
    ]
    assert "fault_credit" not in june(*covered)


def test_a_fault_over_a_month_end_counts_in_both_months() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-08-01",
        [add("2026-06-01", 1), fault("2026-06-30T23:00:00", "2026-07-01T04:00:01")],
    )
    # Five hours and a second as reported, clipped to one and four hours: a started day in each month.
    assert answer.kinds("monthly", "2026-07-01")["fault_credit"] == "-66.67"
    assert answer.kinds("monthly", "2026-08-01")["fault_credit"] == "-66.67"


def test_more_than_fifteen_days_make_the_month_free() -> None:
    exactly = june(fault("2026-06-05T00:00:00", "2026-06-20T00:00:00"))
    assert exactly["fault_credit"] == "-1000.00"
    more = june(fault("2026-06-05T00:00:00", "2026-06-20T00:00:01"))
    assert more["fault_credit"] == "-2000.00"


def test_the_waiver_is_limited_to_what_was_charged_by_day() -> None:
    answer = quoted(
        "hosted",
        "2026-07-22",
        "2026-08-01",
        [add("2026-07-22", 1), fault("2026-07-01T00:00:00", "2026-08-01T00:00:00")],
    )
    # Ten days open: 2000 × 10/31 = 645.16 charged, 666.67 wanted.
    assert answer.kinds("monthly")["fault_credit"] == "-645.16"


def test_fault_of_a_returned_seat_ends_with_the_day_it_closed() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-01",
        [add("2026-06-01", 2), give_back("2026-06-21", [2]), fault("2026-06-21T12:00:00", "2026-06-25T00:00:00", [2])],
    )
    assert answer.kinds("monthly") == {"rent": "2000.00", "fault_credit": "-66.67"}


def test_circuits_and_seats_have_their_own_faults() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-01",
        [
            add("2026-06-01", 2),
            add("2026-06-01", 2, item="circuit"),
            fault("2026-06-05T00:00:00", "2026-06-06T00:00:00", "all", item="circuit"),
        ],
        {"rent_per_circuit": "30.00"},
    )
    assert answer.kinds("monthly") == {"rent": "4060.00", "fault_credit": "-2.00"}


def test_all_includes_a_seat_that_opens_during_the_fault() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-01",
        [add("2026-06-01", 1), add("2026-06-10", 1), fault("2026-06-09T00:00:00", "2026-06-11T00:00:00")],
    )
    assert answer.kinds("monthly")["fault_credit"] == "-200.00"  # two days and one day


def test_faults_count_in_their_month_even_when_it_ends_with_them() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-08-01",
        [add("2026-06-01", 1), fault("2026-06-29T00:00:00", "2026-08-20T00:00:00"), end("2026-06-30")],
    )
    assert answer.kinds("final") == {"fault_credit": "-133.33"}


def test_the_credit_is_priced_at_what_the_seat_was_charged_in_that_month() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-08-01",
        [
            add("2026-06-01", 1),
            add("2026-07-05", 1, ordered_on="2026-06-30"),
            fault("2026-06-05T00:00:00", "2026-06-06T00:00:00", [1]),
            fault("2026-07-06T00:00:00", "2026-07-07T00:00:00", [1, 2]),
        ],
        {"volume": [{"from": 2, "rent": "1500.00"}]},
    )
    assert answer.kinds("monthly", "2026-07-01") == {"rent": "1500.00", "fault_credit": "-66.67"}
    assert answer.kinds("monthly", "2026-08-01") == {"rent": "3000.00", "fault_credit": "-100.00"}


hours = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 40)), max_size=6)


def spans(pairs: list[tuple[int, int]]) -> list[Span]:
    return [Span(NOON + timedelta(hours=begin), NOON + timedelta(hours=begin + length)) for begin, length in pairs]


@given(faults=hours, excused=hours, begins=st.integers(0, 80), length=st.integers(1, 80))
def test_fault_time_is_what_counting_hours_gives(
    faults: list[tuple[int, int]], excused: list[tuple[int, int]], begins: int, length: int
) -> None:
    def covered(pairs: list[tuple[int, int]]) -> set[int]:
        return {hour for begin, lasting in pairs for hour in range(begin, begin + lasting)}

    counted = (covered(faults) & set(range(begins, begins + length))) - covered(excused)
    within = spans([(begins, length)])[0]
    assert fault_time(spans(faults), within, united(spans(excused))) == timedelta(hours=len(counted))
