"""Deposits: what is asked for with an order and what is given back (C4, rules 4, 6 and 11)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from billing.rules.book import Holding, Item
from billing.rules.months import Month
from billing.rules.terms import Terms, deposit_is_per_seat


def deposit_asked(terms: Terms, item: Item, price: Decimal) -> Decimal:
    """The deposit of one newly ordered seat: a month of its rent under `per_seat`; circuits have none."""
    return price if item == "seat" and deposit_is_per_seat(terms) else Decimal("0.00")


def returned_in(holdings: Iterable[Holding], month: Month) -> tuple[Holding, ...]:
    """The holdings whose return took effect in this month."""
    return tuple(
        holding
        for holding in holdings
        if holding.returned and holding.closed_on is not None and Month.of(holding.closed_on) == month
    )


def deposits_to_return(holdings: Iterable[Holding], month: Month) -> tuple[Holding, ...]:
    """The holdings returned by the end of this month whose deposit is still held (rule 6).

    One of an earlier month is among them when its deposit was paid after that month's invoice.
    """
    return tuple(
        holding
        for holding in holdings
        if holding.deposit and holding.returned and holding.closed_on is not None and holding.closed_on <= month.last
    )
