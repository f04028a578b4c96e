"""What of an invoice goes on a fapiao, and credit codes with their check digit: properties of the rules."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.credit_code import ALPHABET, check_character, problem_with
from billing.rules.fapiao import Amount, Bounds, FapiaoRefused, bounds_of, check_amount, is_complete, rows_of
from billing.rules.lines import LINE_KINDS, Line
from billing.rules.tax import tax_rate, total_tax
from billing.rules.terms import PRESETS

CODES = ["91350100M000100Y43", "9144030071526726XG", "91330100799655058B"]
"""One of the standard's own examples and two of well-known companies."""

MONEY = st.decimals(min_value=-(10**7), max_value=10**7, places=2)
AMOUNTS = st.lists(st.tuples(st.sampled_from(LINE_KINDS), MONEY), max_size=12)


@given(AMOUNTS)
def test_net_and_tax_are_the_taxed_lines_and_the_tax_of_the_invoice(lines: list[tuple[str, Decimal]]) -> None:
    terms = PRESETS["hosted"]
    rows = rows_of(Amount(kind, tax_rate(terms, kind), amount) for kind, amount in lines)
    assert all(row.net + row.tax == row.gross != 0 for row in rows)
    taxed = [amount for kind, amount in lines if kind not in ("deposit", "deposit_return")]
    assert sum(row.gross for row in rows) == sum(taxed)
    drafted = [Line(kind, None, 1, each, each, tax_rate=tax_rate(terms, kind)) for kind, each in lines]
    assert sum(row.tax for row in rows) == total_tax(drafted)
    bounds = bounds_of(rows)
    assert bounds.charged + bounds.credited == sum(taxed)
    assert is_complete(bounds, [row.gross for row in rows])
    assert is_complete(bounds, []) == (not rows)


@given(MONEY.filter(lambda amount: amount > 0), st.lists(MONEY, max_size=8))
def test_fapiao_never_come_to_more_than_the_invoice(gross: Decimal, tried: list[Decimal]) -> None:
    bounds, recorded = Bounds(gross, Decimal(0)), list[Decimal]()
    for amount in tried:
        try:
            check_amount(bounds, recorded, amount)
        except FapiaoRefused as refusal:
            assert refusal.field == "amount"
        else:
            recorded.append(amount)
    assert all(amount > 0 for amount in recorded)
    assert sum(recorded) <= gross


def test_kinds_of_one_rate_share_a_row_and_a_deposit_has_none() -> None:
    rate, calls = Decimal("0.06"), Decimal("0.09")
    rows = rows_of(
        [
            Amount("deposit", Decimal(0), Decimal(2000)),
            Amount("rent", rate, Decimal(106)),
            Amount("return_credit", rate, Decimal("-10.60")),
            Amount("equipment", rate, Decimal("10.60")),
            Amount("calls", calls, Decimal(109)),
        ]
    )
    assert [(row.rate, row.net, row.tax, row.goods_zh, row.goods_en) for row in rows] == [
        (rate, Decimal(100), Decimal(6), "*经营租赁*坐席租赁费、*现代服务*设备赔偿费", "Seat rental, Equipment"),
        (calls, Decimal(100), Decimal(9), "*电信服务*通话费", "Telephone calls"),
    ]


def test_a_rate_whose_lines_cancel_out_needs_no_fapiao() -> None:
    rate = Decimal("0.06")
    assert rows_of([Amount("rent", rate, Decimal(5)), Amount("fault_credit", rate, Decimal(-5))]) == ()


def test_a_kind_unknown_here_is_another_service() -> None:
    [row] = rows_of([Amount("parking", Decimal("0.06"), Decimal(1))])
    assert row.goods_en == "Other services"


@pytest.mark.parametrize("code", CODES)
def test_a_right_code_is_right(code: str) -> None:
    assert problem_with(code) is None


@given(st.sampled_from(CODES), st.integers(0, 17), st.sampled_from(ALPHABET))
def test_any_single_slip_is_found(code: str, place: int, character: str) -> None:
    slipped = code[:place] + character + code[place + 1 :]
    assert (problem_with(slipped) is None) == (slipped == code)


@given(st.sampled_from(CODES), st.integers(0, 15))
def test_two_neighbours_that_changed_places_are_found(code: str, place: int) -> None:
    swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert (problem_with(swapped) is None) == (swapped == code)


@pytest.mark.parametrize("code", ["", "91350100M000100Y4", "91350100m000100y43", "９1350100M000100Y43", "9" * 18])
def test_what_has_another_form_is_wrong(code: str) -> None:
    assert problem_with(code) is not None


def test_the_check_character_completes_the_sum() -> None:
    assert check_character("91350100M000100Y4") == "3"
