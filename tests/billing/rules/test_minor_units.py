"""Money as a payment provider counts it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.minor_units import from_minor, in_cny, to_fen


@pytest.mark.parametrize(
    ("count", "currency", "amount"),
    [
        (12_345, "cny", "123.45"),
        (12_345, "jpy", "12345"),
        (12_345, "kwd", "12.345"),
        (-5, "usd", "-0.05"),
        (0, "cny", "0.00"),
    ],
)
def test_each_currency_has_its_own_smallest_unit(count: int, currency: str, amount: str) -> None:
    assert str(from_minor(count, currency)) == amount


@given(st.integers(min_value=0, max_value=99_999_999))
def test_fen_go_there_and_back(count: int) -> None:
    assert to_fen(from_minor(count, "cny")) == count


def test_what_is_settled_is_valued_at_the_providers_rate() -> None:
    assert in_cny(Decimal("24.36"), "usd", Decimal("0.1384")) == Decimal("176.01")
    assert in_cny(Decimal("24.36"), "cny", None) == Decimal("24.36")
    assert in_cny(Decimal("-138.40"), "usd", Decimal("0.1384")) == Decimal("-1000.00")
