"""Exact money: amounts are `Decimal` at rest and `Fraction` while a rule adds them up, never a float."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

CURRENCY = "CNY"
"""The only currency of the leases (clause C25)."""

FEN = 2
"""Decimal places of an invoiced amount."""

RATED = 4
"""Decimal places of a rated call or data record."""

ZERO = Decimal("0.00")

Exact = Decimal | Fraction | int


def round_half_away(amount: Exact, places: int) -> Decimal:
    """Round to `places` decimals, halves away from zero (contract rules, "Money is exact")."""
    scaled = Fraction(amount) * 10**places
    whole = (2 * abs(scaled.numerator) + scaled.denominator) // (2 * scaled.denominator)
    # Made from text: arithmetic on a Decimal would round to the context's 28 digits.
    return Decimal(f"{whole if scaled >= 0 else -whole}E-{places}")


def fen(amount: Exact) -> Decimal:
    """An amount as it stands on an invoice: two decimals."""
    return round_half_away(amount, FEN)


def rated(amount: Exact) -> Decimal:
    """The charge of one rated record: four decimals."""
    return round_half_away(amount, RATED)


def amount_text(amount: Decimal) -> str:
    """Money as the API, the calculator and the PDF write it: plain digits, two decimals, never `-0.00`."""
    rounded = fen(amount)
    return f"{abs(rounded) if rounded == 0 else rounded:f}"
