"""The sentences that explain invoice lines: every kind, in both languages, adding up to the line."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from billing.rules.invoice_words import ROWS_LIMIT, Destination, Explained, Words, exact_text, words_for


def _words(
    kind: str, amount: str, *parts: dict[str, str], item: str | None = "seat", price: str = "2000"
) -> list[Words]:
    return list(words_for(Explained(kind, item, Decimal(price), Decimal(amount), parts)))


def _part(formula: str, exact: str, clause: str = "C7, rule 3", **inputs: str) -> dict[str, str]:
    return {"clause": clause, "formula": formula, "exact": exact, **inputs}


def test_rent_by_day_says_how_many_days_of_which_month() -> None:
    exact = str(Fraction(10 * 2000 * 15, 31))
    part = _part("10 × 2000.00 × 15 / 31 days", exact, "C9, rule 4", month="2026-03", seats="1–8, 11, 12")
    rent, rounding = _words("rent", "9677.42", part)
    assert rent.en == (
        "First month's rent of what was added: March 2026, 10 seats (No. 1–8, 11, 12): "
        "10 × 2,000.00 a month × 15 of 31 days"
    )
    assert rent.zh.endswith("10 × 月租 2,000.00 元 × 15/31 天")
    assert rounding.en.startswith("Rounded to the fen")
    assert rounding.exact == Fraction("9677.42") - Fraction(exact)


def test_a_return_says_what_part_is_credited_and_by_which_day() -> None:
    part = _part(
        "2 × 2000.00 charged × 0.30", "-1200", "C10, rule 6",
        month="2026-04", seats="14, 15", **{"cut-off day": "20"},
    )  # fmt: skip
    [credit] = _words("return_credit", "-1200.00", part)
    assert credit.en == (
        "2 seats (No. 14, 15), returned in April 2026 by the 20th: 30 % of that month's rent is credited: "
        "2 × 2,000.00 × 30 %"
    )
    assert credit.zh.startswith("坐席 2 个（编号 14, 15）于 2026 年 4 月 20 日（含）前退租")


def test_a_return_of_a_month_charged_by_day_says_an_amount_and_no_fraction() -> None:
    part = _part(
        "2 × 60000/31 charged × 0.30",
        "-36000/31",
        "C10, rule 6",
        month="2026-03",
        seats="9–10",
        **{"cut-off day": "20"},
    )
    [credit, _rounding] = _words("return_credit", "-1161.29", part)
    assert credit.en.endswith("2 × ≈ 1,935.4839 × 30 %")


@pytest.mark.parametrize(
    ("formula", "exact", "said"),
    [
        ("3 × 2000.00 × 2 / 30", "-400", "3 × 2,000.00 a month × 2/30 days"),
        ("3 × all that was charged", "-6000", "more than the agreed days, so the month is free: 3 × 2,000.00"),
        ("3 × 2000.00 × 2 / 30, cut to 100.00 (no more than was charged)", "-300", "no more is credited than"),
        ("3 × 2000.00 × 2 / 30, 50.00 of it not credited yet", "-150", "less what earlier invoices have credited"),
    ],
)
def test_a_fault_says_the_days_and_how_they_were_credited(formula: str, exact: str, said: str) -> None:
    part = _part(formula, exact, "C11, rule 9", month="2026-04", seats="1–3", **{"fault days": "2"})
    [credit] = _words("fault_credit", f"{exact}.00", part)
    assert said in credit.en
    assert "2 fault days of the operator's" in credit.en


def test_three_hundred_seats_with_faults_are_a_few_sentences() -> None:
    parts = [
        _part(
            f"1 × 2000.00 × {1 + seat % 3} / 30", str(-Fraction(2000 * (1 + seat % 3), 30)), "C11, rule 9",
            month="2026-04", seats=str(2 * seat + 1), **{"fault days": str(1 + seat % 3)},
        )
        for seat in range(300)
    ]  # fmt: skip
    sentences = _words("fault_credit", "-40000.00", *parts)
    assert len(sentences) == 3
    assert all("100 seats" in sentence.en and len(sentence.en) < 400 for sentence in sentences)
    assert sum(each.exact or 0 for each in sentences) == -40000


def test_many_charges_are_said_month_by_month_and_the_rest_added_up() -> None:
    days = [f"20{year:02}-{month:02}-0{day}" for year in range(20, 23) for month in range(1, 13) for day in (1, 2)]
    parts = [_part(f"equipment of {day}", "1.50", "C22, rule 3") for day in days]
    sentences = _words("equipment", "108.00", *parts, item=None, price="108")
    assert len(sentences) == ROWS_LIMIT
    assert sentences[0].en == "2 charges for equipment in January 2020"
    assert sentences[-1].en == "13 more of the kind, added up"
    assert sum(each.exact or 0 for each in sentences) == 108


def test_deposits_are_told_apart() -> None:
    asked = _part("10 × one month of rent 2000.00", "20000", "C4", **{"seats counted": "60"})
    [sentence] = _words("deposit", "20000.00", asked)
    assert sentence.en == "One month of rent for each seat: 10 × 2,000.00 (priced at 60 seats)"
    fixed = _part("deposit of the contract 5000.00", "5000", "C4, rule 2")
    assert _words("deposit", "5000.00", fixed, item=None, price="5000")[0].zh == "合同约定的固定押金"
    returned = _part("2 × deposit of 2000.00", "-4000", "C4, rule 6", seats="1, 2")
    assert _words("deposit_return", "-4000.00", returned)[0].en.startswith("Returned, deposit given back: 2 seats")
    ended = _part("deposit of the contract", "-5000", "C4, rule 11")
    assert "End of the contract" in _words("deposit_return", "-5000.00", ended, item=None, price="5000")[0].en


def test_calls_are_broken_down_by_destination() -> None:
    part = _part("sum of 3 rated amounts", "1.2345", "C3, rule 3", month="2026-03")
    line = Explained("calls", None, Decimal("1.23"), Decimal("1.23"), [part])
    total, far, near, rounding = words_for(
        line, [Destination("Hong Kong", 1, 60, Decimal("1.0000")), Destination("China", 2, 1, Decimal("0.2345"))]
    )
    assert total == Words(
        "2026 年 3 月接通的通话 3 通，每通计费到 0.0001 元，合计后一次取整",
        "3 calls of March 2026, each priced to 0.0001, added up and rounded once",
    )
    assert (far.en, near.zh) == ("Hong Kong: 1 call, 60 seconds billed", "China：2 通，计费 1 秒")
    assert rounding.exact == Fraction("-0.0045")


def test_a_re_rating_on_a_line_of_calls_stands_beside_the_destinations() -> None:
    calls = _part("sum of 1 rated amounts", "1", "C3, rule 3", month="2026-03")
    anew = _part("9 calls of 2026-01 priced anew", "0.5", "C3, rule 3", month="2026-01", **{"re-rating": "rer_1"})
    line = Explained("calls", None, Decimal("1.50"), Decimal("1.50"), [calls, anew])
    sentences = words_for(line, [Destination("China", 1, 60, Decimal("1.0000"))])
    assert [each.exact for each in sentences] == [None, Fraction(1, 2), 1]
    assert sentences[1].en == "Calls of January 2026 priced anew: the difference (rer_1)"


def test_a_credit_note_names_the_line_it_takes_back() -> None:
    names = {"invoice": "2026-0003", "line": "2", "reason": "re-rated"}
    part = _part("re-rated: 5.00 of line 2 of invoice 2026-0003", "-5", "C3", **names)
    [sentence] = _words("calls", "-5.00", part, item=None, price="5")
    assert sentence.en == "Takes back a part of line 2 of invoice 2026-0003: re-rated"


def test_what_is_not_known_is_shown_by_its_formula() -> None:
    for kind in ("rent", "return_credit", "fault_credit", "calls", "penalty", "something new"):
        [sentence] = _words(kind, "7.00", _part("7 of something", "7"), item=None, price="7")
        assert sentence.en == "Formula: 7 of something"


def test_a_line_whose_parts_have_changed_since_says_so() -> None:
    part = _part("2 × 2000.00", "4000", month="2026-03", seats="1, 2")
    assert _words("rent", "3900.00", part)[-1].en == "Changed since the invoice was made"


@pytest.mark.parametrize(
    ("exact", "shown"), [("2000", "2,000.00"), ("0.1234", "0.1234"), ("100/3", "≈ 33.3333"), ("-1/2", "-0.50")]
)
def test_exact_amounts_say_when_they_are_cut(exact: str, shown: str) -> None:
    assert exact_text(Fraction(exact)) == shown
