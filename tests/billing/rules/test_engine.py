"""The invoice functions as the services call them: from a book, with explanations, late records and release days."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billing.rules.arrears import ranges
from billing.rules.book import Book, Fault, Holding, OneOffCharge, Usage, days_span
from billing.rules.invoicing import (
    addition_invoice,
    final_invoice,
    lapses_on,
    monthly_due_on,
    monthly_invoice,
    opening_invoice,
)
from billing.rules.months import Month
from billing.rules.tax import tax_parts
from billing.rules.terms import PRESETS

HOSTED = PRESETS["hosted"]
JULY = Month(2026, 7)


def seats(count: int, **changes: object) -> tuple[Holding, ...]:
    opened = Holding("seat", 1, date(2026, 5, 20), date(2026, 6, 1), date(2026, 6, 1), deposit=Decimal("2000.00"))
    return tuple(replace(opened, number=number, **changes) for number in range(1, count + 1))  # pyright: ignore[reportArgumentType]


def test_an_invoice_tells_what_it_charges_for_each_holding() -> None:
    ordered = [Holding("seat", number, date(2026, 3, 1), date(2026, 3, 17)) for number in (1, 2, 3, 7)]
    draft = addition_invoice(HOSTED, ordered, date(2026, 3, 12), date(2026, 3, 17), seats=4)
    assert draft is not None
    key, charge = draft.rent_charged[3]
    assert (key.item, key.number) == ("seat", 7)
    assert (str(charge.month), charge.unit_price, charge.days, charge.month_days) == ("2026-03", Decimal(2000), 15, 31)
    assert charge.amount == Fraction(30000, 31)
    assert draft.deposits_asked[0] == (draft.rent_charged[0][0], Decimal("2000.00"))


def test_every_line_explains_itself() -> None:
    ordered = [Holding("seat", number, date(2026, 3, 1), date(2026, 3, 17)) for number in (1, 2, 3, 7)]
    draft = opening_invoice(HOSTED, ordered, date(2026, 3, 17), seats=4)
    assert draft is not None
    deposit, rent = draft.lines
    assert deposit.bases[0].clause == "C4"
    assert (rent.quantity, rent.unit_price, rent.amount) == (4, Decimal("2000.00"), Decimal("3870.97"))
    basis = rent.bases[0]
    assert (basis.clause, basis.formula) == ("C6, rule 2", "4 × 2000.00 × 15 / 31 days")
    assert basis.inputs == (("month", "2026-03"), ("seats", "1–3, 7"))
    assert basis.amount == Fraction(4 * 30000, 31)


def test_rent_that_is_charged_already_is_not_charged_again() -> None:
    first = monthly_invoice(HOSTED, Book(holdings=seats(2)), JULY)
    assert first is not None
    charged = tuple(
        replace(holding, rent=(charge,)) for holding, (_, charge) in zip(seats(2), first.rent_charged, strict=True)
    )
    assert monthly_invoice(HOSTED, Book(holdings=charged), JULY) is None


def test_late_records_go_on_the_next_invoice() -> None:
    book = Book(
        holdings=(),
        charges=(OneOffCharge(date(2026, 4, 30), "equipment", Decimal("10.00")),),
        usage=(
            Usage(date(2026, 5, 1), "calls", Decimal("0.0050")),
            Usage(date(2026, 6, 30), "calls", Decimal("1.0000")),
            Usage(date(2026, 7, 1), "calls", Decimal("5.0000")),
        ),
    )
    draft = monthly_invoice(HOSTED, book, JULY)
    assert draft is not None
    assert [(line.kind, line.amount) for line in draft.lines] == [
        ("calls", Decimal("1.01")),
        ("equipment", Decimal("10.00")),
    ]


def test_a_run_released_after_the_fifth_is_due_five_days_later() -> None:
    assert monthly_due_on(HOSTED, JULY) == date(2026, 7, 10)
    assert monthly_due_on(HOSTED, JULY, date(2026, 7, 5)) == date(2026, 7, 10)
    assert monthly_due_on(HOSTED, JULY, date(2026, 7, 6)) == date(2026, 7, 11)
    late = monthly_invoice(HOSTED, Book(holdings=seats(1)), JULY, released_on=date(2026, 7, 20))
    assert late is not None
    assert (late.issued_on, late.due_on, late.suspends_on) == (date(2026, 7, 1), date(2026, 7, 25), date(2026, 8, 10))


def test_a_final_invoice_gives_back_every_deposit_once() -> None:
    returned = replace(seats(1)[0], closed_on=date(2026, 7, 25), returned=True)
    kept = replace(seats(2)[1], closed_on=date(2026, 7, 31))
    book = Book(holdings=(returned, kept), ends_on=date(2026, 7, 31), fixed_deposit_held=Decimal("500.00"))
    draft = final_invoice(HOSTED, book, date(2026, 7, 31))
    assert draft is not None
    assert [(line.kind, line.item, line.amount) for line in draft.lines] == [
        ("deposit_return", "seat", Decimal("-4000.00")),
        ("deposit_return", None, Decimal("-500.00")),
    ]
    assert draft.tax == 0


def test_lines_of_different_prices_add_up_to_the_amount_rounded_once() -> None:
    june = Month(2026, 6)
    first = monthly_invoice(HOSTED, Book(holdings=seats(3)), june)
    assert first is not None
    prices = ("1777.75", "1777.85", "1777.95")
    holdings = tuple(
        replace(holding, rent=(replace(charge, unit_price=Decimal(price)),))
        for holding, (_, charge), price in zip(seats(3), first.rent_charged, prices, strict=True)
    )
    fault = Fault(days_span(date(2026, 6, 23), date(2026, 6, 26)), "operator")
    credits_ = monthly_invoice(HOSTED, Book(holdings=holdings, faults=(fault,)), JULY)
    assert credits_ is not None
    amounts = [line.amount for line in credits_.lines if line.kind == "fault_credit"]
    # 177.775, 177.785 and 177.795 are 533.355 together: 533.36, the last line takes the difference.
    assert amounts == [Decimal("-177.78"), Decimal("-177.79"), Decimal("-177.79")]


def test_a_late_fault_finding_adds_what_has_not_been_credited_yet() -> None:
    june = Month(2026, 6)
    first = monthly_invoice(HOSTED, Book(holdings=seats(1)), june)
    assert first is not None
    holding = replace(seats(1)[0], rent=(first.rent_charged[0][1],))
    known = Fault(days_span(date(2026, 6, 5), date(2026, 6, 7)), "operator")
    july = monthly_invoice(HOSTED, Book(holdings=(holding,), faults=(known,)), JULY)
    assert july is not None
    (credited,) = [each for _, each in july.fault_credited]
    assert (credited.month, credited.amount) == (june, Fraction(400, 3))
    found_later = Fault(days_span(date(2026, 6, 6), date(2026, 6, 8)), "operator")
    holding = replace(holding, fault_credits=(credited,))
    book = Book(holdings=(holding,), faults=(known, found_later), late_fault_months=(june,))
    august = monthly_invoice(HOSTED, book, JULY.following)
    assert august is not None
    amounts = [line.amount for line in august.lines if line.kind == "fault_credit"]
    assert amounts == [Decimal("-66.67")]
    assert "not credited yet" in august.lines[-1].bases[0].formula


def test_tax_and_net_are_the_gross() -> None:
    draft = monthly_invoice(HOSTED, Book(holdings=seats(3)), JULY)
    assert draft is not None
    (part,) = tax_parts(HOSTED, draft.lines)
    assert part.net + part.tax == part.gross == draft.total


def test_an_order_lapses_with_its_month() -> None:
    assert lapses_on(date(2026, 12, 31)) == date(2027, 1, 1)
    assert lapses_on(date(2026, 2, 1)) == date(2026, 3, 1)


def test_numbers_for_people() -> None:
    assert ranges([3, 1, 2, 7, 9, 10]) == "1–3, 7, 9–10"
