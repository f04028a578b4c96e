"""Amounts as payment providers count them, in a currency's smallest unit, and as money (clause C25)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from infra.kit import money

WITHOUT_DECIMALS = frozenset(
    {
        "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
    }
)  # fmt: skip
WITH_THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def from_minor(count: int, currency: str) -> Decimal:
    """Money from a count of the currency's smallest units (code in small letters): 12345 of `cny` is 123.45."""
    places = 0 if currency in WITHOUT_DECIMALS else 3 if currency in WITH_THREE_DECIMALS else 2
    return Decimal(count).scaleb(-places)


def to_fen(amount: Decimal) -> int:
    """CNY as a count of fen; the amount has at most two decimals."""
    return int(money.fen(amount).scaleb(money.FEN))


def in_cny(amount: Decimal, currency: str, exchange_rate: Decimal | None) -> Decimal:
    """A settled amount in CNY, by the provider's own rate (units of `currency` for one CNY), rounded once.

    Without a rate there was no exchange: the account settles in CNY.
    """
    if currency == money.CURRENCY.lower() or not exchange_rate:
        return money.fen(amount)
    return money.fen(Fraction(amount) / Fraction(exchange_rate))
