"""What data traffic costs (C3): by the gigabyte, each record rounded to 0.0001 CNY. Pure."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from infra.kit import money

BYTES_PER_GB = 1_000_000_000
"""A gigabyte as the international system of units has it; a megabyte is a thousandth of it."""


def data_charge(octets: int, rate_per_gb: Decimal) -> Decimal:
    """The price of a record of so many bytes, both directions together; CNY with tax, four decimals."""
    return money.rated(Fraction(octets) * Fraction(rate_per_gb) / BYTES_PER_GB)
