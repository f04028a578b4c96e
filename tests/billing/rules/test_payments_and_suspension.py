"""Payments, credit, lapsing orders and suspensions, worked by hand (rules 5, 7 and 8)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from billing.rules.allocation import OpenInvoice, allocate
from billing.rules.dunning import DunningStep, step_for
from billing.rules.errors import BillingRefused
from billing.rules.terms import PRESETS
from tests.billing.histories import add, charge, end, fault, give_back, pay, quoted, usage


def test_nothing_opens_unpaid_and_an_unpaid_opening_lapses() -> None:
    answer = quoted("hosted", "2026-06-01", "2026-08-31", [add("2026-06-01", 5), pay("2026-07-01", "100.00")])
    opening = answer.invoice("opening")
    assert (opening["void"], opening["paid_on"], opening["suspends_on"]) == (True, None, None)
    assert answer.dates() == [("opening", "2026-05-27")]
    assert answer.suspensions() == []
    assert answer.plain["balance"] == "-100.00"
    assert answer.plain["deposit_held"] == "0.00"


def test_an_order_is_gone_at_the_end_of_the_last_day_of_its_month() -> None:
    history = [add("2026-06-01", 1), pay("2026-05-28", "10.00")]
    assert quoted("onsite", "2026-06-01", "2026-06-29", history).invoice("opening")["void"] is False
    answer = quoted("onsite", "2026-06-01", "2026-06-30", history)
    assert answer.invoice("opening")["void"] is True
    assert answer.plain["balance"] == "-10.00"


def test_an_opening_paid_late_opens_on_that_day_and_owes_the_invoice_as_made() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-01",
        [
            add("2026-06-01", 1),
            pay("2026-06-10"),
            fault("2026-06-01T00:00:00", "2026-06-11T12:00:00"),
        ],
    )
    assert answer.invoice("opening")["paid_on"] == "2026-06-10"
    # Open from the 10th: 36 hours of the fault, two days.
    assert answer.kinds("monthly") == {"rent": "2000.00", "fault_credit": "-133.33"}


def test_part_payments_of_a_lapsed_order_become_credit() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-31",
        [
            add("2026-06-01", 1),
            add("2026-06-20", 3),
            pay("2026-05-29"),
            pay("2026-06-20", "4000.00"),
            pay("2026-07-10"),
        ],
    )
    assert answer.invoice("addition")["void"] is True
    monthly = answer.invoice("monthly", "2026-07-01")
    # Nothing of the lapsed seats is rented; the 4000 settle July.
    assert (monthly["total"], monthly["paid_on"]) == ("2000.00", "2026-07-01")
    assert answer.plain["balance"] == "-2000.00"


def test_a_payment_counts_from_the_beginning_of_its_day() -> None:
    on_the_day = [add("2026-06-01", 1), pay("2026-05-29"), pay("2026-07-16")]
    assert quoted("onsite", "2026-06-01", "2026-07-31", on_the_day).suspensions() == []
    day_after = [add("2026-06-01", 1), pay("2026-05-29"), pay("2026-07-17")]
    assert quoted("onsite", "2026-06-01", "2026-07-31", day_after).suspensions() == [("2026-07-16", "2026-07-17")]


def test_suspended_while_any_overdue_invoice_is_unpaid() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-10-31",
        [add("2026-06-01", 1), pay("2026-05-29"), pay("2026-08-20", "2000.00"), pay("2026-09-05", "3000.00")],
    )
    # July's is settled on 20 August, when August's has suspended since the 16th already.
    assert answer.suspensions() == [("2026-07-16", "2026-09-05"), ("2026-09-16", None)]
    assert answer.invoice("monthly", "2026-09-01")["paid_on"] is None
    assert answer.plain["balance"] == "3000.00"


def test_no_suspension_after_the_end() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-08-31", [add("2026-06-01", 1), pay("2026-05-29"), end("2026-07-20")])
    assert answer.suspensions() == [("2026-07-16", "2026-07-21")]
    assert answer.plain["balance"] == "2000.00"


def test_an_unpaid_addition_neither_suspends_nor_keeps_suspended() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-31",
        [
            add("2026-06-01", 1),
            pay("2026-05-29"),
            add("2026-07-18", 1),
            pay("2026-07-20", "2000.00"),
        ],
        {"grace_days": 2},
    )
    assert answer.suspensions() == [("2026-07-13", "2026-07-20")]
    assert answer.invoice("addition")["void"] is True


def test_advance_payment_is_credit_used_as_soon_as_an_invoice_is_issued() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-08-31", [add("2026-06-01", 1), pay("2026-01-02", "5000.00")])
    assert [each["paid_on"] for each in answer.invoices] == ["2026-05-27", "2026-07-01", None]
    assert answer.plain["balance"] == "1000.00"


def test_pay_all_on_the_day_of_an_invoice_comes_before_it() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-07-05", [add("2026-06-01", 1), pay("2026-05-29"), pay("2026-07-01")])
    assert answer.invoice("monthly")["paid_on"] is None


def test_an_order_placed_and_due_the_same_day_is_set_off_with_that_days_payment() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-31",
        [
            add("2026-06-01", 1),
            pay("2026-05-29"),
            add("2026-06-15", 1, ordered_on="2026-06-15"),
            pay("2026-06-15", "2000.00"),
        ],
    )
    assert answer.invoice("addition")["paid_on"] == "2026-06-15"
    assert answer.kinds("monthly", "2026-07-01") == {"rent": "4000.00"}


def test_a_negative_invoice_is_set_off_at_once_oldest_due_first() -> None:
    answer = quoted(
        "hosted",
        "2026-06-01",
        "2026-08-31",
        [
            add("2026-06-01", 5),
            pay("2026-05-29"),
            usage("2026-06-10", "calls", "9000.00"),
            give_back("2026-06-20", [1, 2, 3, 4]),
            give_back("2026-07-20", [5]),
            pay("2026-08-30", "0.01"),
        ],
    )
    # July: 2000 rent + 9000 calls − 4 × (600 + 2000)
    july, august = answer.invoice("monthly", "2026-07-01"), answer.invoice("monthly", "2026-08-01")
    assert july["total"] == "600.00"
    assert august["total"] == "-2600.00"
    assert july["paid_on"] == "2026-08-01"
    assert answer.suspensions() == [("2026-07-26", "2026-08-01")]
    assert answer.plain["balance"] == "-2000.01"


def test_rent_goes_on_but_fault_time_does_not_count_during_suspension() -> None:
    history = [
        add("2026-06-01", 1),
        pay("2026-05-29"),
        pay("2026-07-20"),
        fault("2026-07-15T12:00:00", "2026-07-20T12:00:00"),
    ]
    answer = quoted("onsite", "2026-06-01", "2026-08-01", history)
    assert answer.suspensions() == [("2026-07-16", "2026-07-20")]
    # Five days of fault, four of them suspended: exactly one day is left.
    assert answer.kinds("monthly", "2026-08-01") == {"rent": "2000.00", "fault_credit": "-66.67"}


def test_arrears_alone_suspend_too() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-08-31",
        [
            add("2026-06-01", 1),
            give_back("2026-06-30", "all"),
            pay("2026-05-28"),
            charge("2026-06-03", "equipment", "9"),
        ],
    )
    assert answer.kinds("monthly") == {"equipment": "9.00"}
    assert answer.suspensions() == [("2026-07-16", None)]


def test_oldest_due_first_then_oldest_issued() -> None:
    invoices = [
        OpenInvoice("late", date(2026, 7, 10), date(2026, 7, 1), Decimal("10.00")),
        OpenInvoice("same day, older", date(2026, 7, 5), date(2026, 6, 30), Decimal("10.00")),
        OpenInvoice("same day, newer", date(2026, 7, 5), date(2026, 7, 1), Decimal("10.00")),
    ]
    shares, rest = allocate(Decimal("15.00"), invoices)
    assert [(share.key, share.amount) for share in shares] == [
        ("same day, older", Decimal("10.00")),
        ("same day, newer", Decimal("5.00")),
    ]
    assert rest == 0
    assert allocate(Decimal("31.00"), invoices)[1] == Decimal("1.00")
    with pytest.raises(BillingRefused, match="negative"):
        allocate(Decimal("-1.00"), invoices)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-06-30", DunningStep()),
        ("2026-07-01", DunningStep(("issued",))),
        ("2026-07-02", DunningStep()),
        ("2026-07-07", DunningStep(("due_soon",))),
        ("2026-07-10", DunningStep(("due_today",))),
        ("2026-07-11", DunningStep(("overdue",))),
        ("2026-07-15", DunningStep(("suspension_tomorrow",))),
        ("2026-07-16", DunningStep(("overdue",), suspended=True)),
        ("2026-08-01", DunningStep(("overdue",), suspended=True)),
    ],
)
def test_reminders_and_suspension_of_an_unpaid_invoice(day: str, expected: DunningStep) -> None:
    dates = {"issued_on": date(2026, 7, 1), "due_on": date(2026, 7, 10), "suspends": date(2026, 7, 16)}
    terms = PRESETS["onsite"]
    assert step_for(terms, date.fromisoformat(day), **dates, unpaid=Decimal("0.01")) == expected
    assert step_for(terms, date.fromisoformat(day), **dates, unpaid=Decimal(0)) == DunningStep()
