"""Invoices worked out by hand from the words of the contract: opening, adding, returning, monthly, end."""

from __future__ import annotations

from tests.billing.histories import add, charge, end, give_back, pay, quoted, usage


def test_opening_invoice_counts_working_days_over_a_long_holiday() -> None:
    # Spring Festival 2024 closed the offices from the 10th to the 17th of February.
    answer = quoted("hosted", "2024-02-15", "2024-02-29", [add("2024-02-15", 1)])
    opening = answer.invoice("opening")
    assert (opening["issued_on"], opening["due_on"], opening["period"]) == ("2024-02-07", "2024-02-09", "2024-02")
    # 2000 × 15 / 29 days of a leap February
    assert answer.kinds("opening") == {"deposit": "2000.00", "rent": "1034.48"}
    assert answer.plain["provisional"] is False


def test_opening_past_the_published_calendar_is_provisional() -> None:
    answer = quoted("onsite", "2031-10-08", "2031-10-31", [add("2031-10-08", 1)])
    opening = answer.invoice("opening")
    assert (opening["issued_on"], opening["due_on"]) == ("2031-10-03", "2031-10-07")
    assert answer.plain["provisional"] is True


def test_full_month_is_charged_in_full_however_late_it_opens() -> None:
    answer = quoted("onsite", "2026-06-30", "2026-07-31", [add("2026-06-30", 2)])
    assert answer.kinds("opening") == {"rent": "4000.00"}
    assert answer.kinds("monthly") == {"rent": "4000.00"}


def test_adds_of_one_order_day_and_one_effective_day_share_an_invoice() -> None:
    answer = quoted(
        "hosted",
        "2026-03-02",
        "2026-03-31",
        [
            add("2026-03-02", 1),
            add("2026-03-20", 1),
            add("2026-03-20", 2, ordered_on="2026-03-15"),
            add("2026-03-20", 1, ordered_on="2026-03-18"),
            add("2026-03-20", 4, item="circuit"),
        ],
        {"rent_per_circuit": "31.00"},
    )
    assert answer.dates() == [("opening", "2026-02-26"), ("addition", "2026-03-15"), ("addition", "2026-03-18")]
    first = answer.invoice("addition", "2026-03-15")
    assert first["due_on"] == "2026-03-20"
    rent = {line["item"]: line["amount"] for line in first["lines"] if line["kind"] == "rent"}
    assert rent == {"seat": "2322.58", "circuit": "48.00"}  # 3 × 2000 × 12/31; 4 × 31 × 12/31
    assert answer.kinds("addition", "2026-03-15")["deposit"] == "6000.00"  # circuits have no deposit


def test_an_addition_of_next_month_is_charged_once() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-07-31", [add("2026-06-01", 1), add("2026-07-01", 1)])
    addition = answer.invoice("addition")
    assert (addition["issued_on"], addition["due_on"], addition["period"]) == (
        "2026-06-26",
        "2026-07-01",
        "2026-07",
    )
    assert answer.kinds("monthly", "2026-07-01") == {"rent": "2000.00"}


def test_volume_price_counts_what_is_ordered_and_leaves_what_was_charged() -> None:
    answer = quoted(
        "hosted",
        "2026-06-01",
        "2026-08-02",
        [add("2026-06-01", 40), add("2026-07-05", 15, ordered_on="2026-06-28"), give_back("2026-07-31", "all")],
        {"volume": [{"from": 100, "rent": "1500.00"}, {"from": 50, "rent": "1800.00"}]},
    )
    assert answer.kinds("opening") == {"deposit": "80000.00", "rent": "80000.00"}
    # 55 seats held or ordered: 15 × 1800 × 27/31
    assert answer.kinds("addition") == {"deposit": "27000.00", "rent": "23516.13"}
    # On 1 July 40 are held, 55 count.
    assert answer.kinds("monthly", "2026-07-01") == {"rent": "72000.00"}
    # What was paid for each comes back.
    assert answer.kinds("monthly", "2026-08-01") == {"deposit_return": "-107000.00"}
    lines = answer.invoice("monthly", "2026-08-01")["lines"]
    assert [(line["quantity"], line["unit_price"]) for line in lines] == [(40, "2000.00"), (15, "1800.00")]


def test_volume_price_of_two_orders_of_one_day_counts_both() -> None:
    events = [
        add("2026-06-01", 40),
        add("2026-06-20", 5, ordered_on="2026-06-10"),
        add("2026-06-25", 5, ordered_on="2026-06-10"),
    ]
    answer = quoted("onsite", "2026-06-01", "2026-06-30", events, {"volume": [{"from": 50, "rent": "1800.00"}]})
    assert [each["total"] for each in answer.invoices] == ["80000.00", "9000.00", "9000.00"]


def test_return_on_the_cut_off_day_is_credited_after_it_is_not() -> None:
    answer = quoted(
        "hosted",
        "2026-06-01",
        "2026-07-31",
        [add("2026-06-01", 3), give_back("2026-06-20", [1]), give_back("2026-06-21", [3])],
    )
    assert answer.kinds("monthly") == {
        "rent": "2000.00",
        "return_credit": "-600.00",
        "deposit_return": "-4000.00",
    }
    assert answer.invoice("monthly")["total"] == "-2600.00"
    assert answer.invoice("monthly")["suspends_on"] is None
    assert answer.plain["balance"] == "-2600.00"
    assert answer.plain["deposit_held"] == "2000.00"


def test_return_credit_is_a_part_of_what_was_charged_by_day() -> None:
    answer = quoted(
        "hosted",
        "2026-06-01",
        "2026-07-01",
        [add("2026-06-01", 1), add("2026-06-11", 3), give_back("2026-06-15", [2, 3, 4])],
        {"deposit": "0.00"},
    )
    # 3 × 2000 × 20/30 × 0.3
    assert answer.kinds("monthly")["return_credit"] == "-1200.00"


def test_circuits_are_returned_like_seats() -> None:
    answer = quoted(
        "hosted",
        "2026-06-01",
        "2026-07-01",
        [
            add("2026-06-01", 1),
            add("2026-06-01", 10, item="circuit"),
            give_back("2026-06-10", [1, 2], item="circuit"),
        ],
        {"rent_per_circuit": "100.00"},
    )
    assert answer.kinds("opening") == {"deposit": "2000.00", "rent": "3000.00"}
    assert answer.kinds("monthly") == {"rent": "2800.00", "return_credit": "-60.00"}


def test_return_all_leaves_that_days_adds() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-01",
        [add("2026-06-01", 4), add("2026-06-10", 2), give_back("2026-06-10", "all")],
    )
    assert answer.kinds("monthly") == {"rent": "4000.00", "return_credit": "-2400.00"}


def test_what_is_returned_on_the_first_was_held_when_the_month_was_charged() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-08-01", [add("2026-06-01", 2), give_back("2026-07-01", [1])])
    assert answer.kinds("monthly", "2026-07-01") == {"rent": "4000.00"}
    assert answer.kinds("monthly", "2026-08-01") == {"rent": "2000.00", "return_credit": "-600.00"}


def test_arrears_of_the_month_before_are_rounded_once_for_each_kind() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-08-01",
        [
            add("2026-06-01", 1),
            usage("2026-06-03", "calls", "0.0049"),
            usage("2026-06-30", "calls", "0.0002"),
            usage("2026-06-03", "data", "0.0049"),
            usage("2026-07-01", "calls", "10.005"),
            charge("2026-06-30", "recruitment", "100.00"),
            charge("2026-06-01", "recruitment", "50.00"),
            charge("2026-07-31", "equipment", "7.00"),
        ],
    )
    assert answer.kinds("monthly", "2026-07-01") == {
        "rent": "2000.00",
        "calls": "0.01",
        "recruitment": "150.00",
    }
    # The data of June rounded to nothing and is not carried forward; 10.005 rounds away from zero.
    assert answer.kinds("monthly", "2026-08-01") == {"rent": "2000.00", "calls": "10.01", "equipment": "7.00"}


def test_charges_before_the_opening_month_go_on_the_first_monthly_invoice() -> None:
    answer = quoted(
        "onsite",
        "2026-06-15",
        "2026-07-01",
        [add("2026-06-15", 1), charge("2026-04-02", "recruitment", "300.00"), charge("2026-06-02", "equipment", "5")],
    )
    assert answer.dates() == [("opening", "2026-06-10"), ("monthly", "2026-07-01")]
    assert answer.kinds("monthly") == {"rent": "2000.00", "recruitment": "300.00", "equipment": "5.00"}


def test_no_line_no_invoice() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-12-31", [add("2026-06-01", 1), give_back("2026-06-25", "all")])
    assert answer.dates() == [("opening", "2026-05-27")]


def test_an_end_inside_a_month_is_charged_by_day_up_to_it() -> None:
    answer = quoted(
        "hosted",
        "2026-03-02",
        "2026-07-31",
        [add("2026-03-02", 1), charge("2026-05-15", "penalty", "500.00"), end("2026-05-15")],
    )
    assert answer.kinds("monthly", "2026-05-01") == {"rent": "967.74"}  # 2000 × 15/31
    final = answer.invoice("final")
    assert answer.kinds("final") == {"deposit_return": "-2000.00", "penalty": "500.00"}
    assert (final["issued_on"], final["due_on"], final["suspends_on"]) == ("2026-06-01", "2026-06-10", None)
    assert final["tax"] == "28.30"
    assert answer.invoices[-1] is final
    assert (answer.plain["balance"], answer.plain["deposit_held"]) == ("0.00", "0.00")


def test_an_end_inside_a_full_month_costs_the_full_month() -> None:
    answer = quoted("onsite", "2026-06-01", "2026-08-31", [add("2026-06-01", 1), end("2026-07-03")], {"deposit": "900"})
    assert answer.kinds("monthly") == {"rent": "2000.00"}
    assert answer.kinds("final") == {"deposit_return": "-900.00"}


def test_an_end_inside_the_opening_month_shortens_opening_and_addition() -> None:
    answer = quoted(
        "hosted", "2026-06-01", "2026-07-31", [add("2026-06-01", 1), add("2026-06-11", 1), end("2026-06-15")]
    )
    assert answer.kinds("opening")["rent"] == "1000.00"
    assert answer.kinds("addition")["rent"] == "333.33"
    assert answer.kinds("final") == {"deposit_return": "-4000.00"}


def test_a_return_in_the_last_month_is_credited_on_the_final_invoice() -> None:
    answer = quoted(
        "onsite", "2026-06-01", "2026-08-31", [add("2026-06-01", 2), give_back("2026-07-10", [1]), end("2026-07-31")]
    )
    assert answer.kinds("final") == {"return_credit": "-600.00"}
    assert answer.plain["balance"] == "0.00"


def test_a_final_credit_is_set_off_against_open_invoices_and_the_rest_refunded() -> None:
    answer = quoted(
        "hosted",
        "2026-06-01",
        "2026-09-30",
        [add("2026-06-01", 2), pay("2026-05-29"), end("2026-07-31")],
        {"deposit": "5000.00"},
    )
    july = answer.invoice("monthly", "2026-07-01")
    assert july["paid_on"] == "2026-08-01"
    assert answer.suspensions() == [("2026-07-26", "2026-08-01")]
    assert answer.plain["balance"] == "0.00"


def test_a_positive_final_invoice_can_be_paid_after_the_end() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-08-31",
        [
            add("2026-06-01", 1),
            pay("2026-05-28"),
            usage("2026-06-20", "calls", "88.8"),
            end("2026-06-30"),
            pay("2026-07-10"),
        ],
    )
    final = answer.invoice("final")
    assert (final["total"], final["paid_on"]) == ("88.80", "2026-07-10")


def test_tax_is_worked_out_once_for_each_rate() -> None:
    answer = quoted(
        "onsite",
        "2026-06-01",
        "2026-07-01",
        [
            add("2026-06-01", 1),
            usage("2026-06-20", "calls", "100.00"),
            usage("2026-06-20", "data", "50.00"),
            charge("2026-06-20", "equipment", "33.33"),
        ],
        {"tax_rates": {"other": "0.13"}},
    )
    # 2050 at 6 %: 116.04; 100 at 9 %: 8.26; 33.33 at 13 %: 3.83
    assert answer.invoice("monthly")["tax"] == "128.13"
