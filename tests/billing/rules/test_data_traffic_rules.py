"""The price of data traffic (C3)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.rules.data_traffic import data_charge
from billing.rules.terms import preset_terms, stored_terms


@pytest.mark.parametrize(
    ("octets", "rate", "amount"),
    [
        (1_000_000_000, "5.0000", "5.0000"),
        (1_000_000, "5.0000", "0.0050"),
        (10_000, "5.0000", "0.0001"),  # 0.00005 is half of the last place: away from zero
        (9_999, "5.0000", "0.0000"),
        (123_456_789_012, "0.1234", "15.2346"),
        (10**12, "0.0000", "0.0000"),
    ],
)
def test_a_record_is_rounded_to_a_ten_thousandth(octets: int, rate: str, amount: str) -> None:
    assert str(data_charge(octets, Decimal(rate))) == amount


def test_the_rate_is_a_term_and_without_one_data_costs_nothing() -> None:
    assert preset_terms("hosted").data_rate_per_gb == 0
    agreed = preset_terms("onsite", {"data_rate_per_gb": "4.5"})
    assert stored_terms(agreed.to_plain()).data_rate_per_gb == Decimal("4.5")
    before = {key: value for key, value in agreed.to_plain().items() if key != "data_rate_per_gb"}
    assert stored_terms(before).data_rate_per_gb == 0
