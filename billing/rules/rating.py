"""What one call costs (C3; `quote.md`, "seatline rate")."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from infra.kit.money import RATED

_SECONDS_PER_MINUTE = 60
_TEN_THOUSANDTHS = 10**RATED

CACHED_TARIFFS = 4096
"""Fee and rate pairs kept ready; a deck of 60,000 prefixes has some hundred."""


def whole_seconds(milliseconds: int) -> int:
    """The seconds that bill for a talk time in milliseconds (`billmsec` of a CDR): every started second."""
    return -(-milliseconds // 1000)


def billed_seconds(seconds: int, first_increment: int, next_increment: int) -> int:
    """Seconds after rounding up to the increments; 0 for a call of 0 seconds.

    The first increment is the least that an answered call pays; after it every started next increment counts whole.
    """
    if seconds <= 0:
        return 0
    if seconds <= first_increment:
        return first_increment
    return first_increment + -(-(seconds - first_increment) // next_increment) * next_increment


class Tariff:
    """A connect fee (CNY) and a rate (CNY a minute), prepared so that a charge takes whole-number arithmetic only."""

    __slots__ = ("_denominator", "_fee", "_rate")

    def __init__(self, connect_fee: Decimal, rate_per_minute: Decimal) -> None:
        fee = Fraction(connect_fee) * _TEN_THOUSANDTHS
        rate = Fraction(rate_per_minute) * _TEN_THOUSANDTHS / _SECONDS_PER_MINUTE
        denominator = fee.denominator * rate.denominator
        # Twice the value over twice the denominator, so that half a unit is a whole number.
        self._fee = 2 * fee.numerator * rate.denominator + denominator
        self._rate = 2 * rate.numerator * fee.denominator
        self._denominator = 2 * denominator

    def ten_thousandths(self, billed: int) -> int:
        """The charge for billed seconds (above 0) in units of 0.0001 CNY, halves rounded up; 0 for 0 seconds."""
        return (self._fee + self._rate * billed) // self._denominator if billed > 0 else 0

    def charge(self, billed: int) -> Decimal:
        """connect fee + rate × billed / 60, rounded to 0.0001 CNY; 0.0000 for 0 billed seconds."""
        return Decimal(self.ten_thousandths(billed)).scaleb(-RATED)


@lru_cache(maxsize=CACHED_TARIFFS)
def tariff(connect_fee: Decimal, rate_per_minute: Decimal) -> Tariff:
    """The prepared tariff of a fee and a rate; the rows of a deck share a few of them."""
    return Tariff(connect_fee, rate_per_minute)
