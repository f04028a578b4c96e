"""The price of a seat or circuit at the moment of charging (C1, C2, rule 13)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from billing.rules.book import Holding, Item
from billing.rules.terms import Terms


def counted_seats(holdings: Iterable[Holding], on: date) -> int:
    """Seats held or ordered (not lapsed) on a day, those of the order being charged included (rule 13)."""
    return sum(holding.item == "seat" and holding.held_or_ordered(on) for holding in holdings)


def unit_price(terms: Terms, item: Item, seats: int) -> Decimal:
    """The rent of one seat or circuit a month when `seats` seats are counted.

    The highest band that `seats` reaches prices every seat of the charge; circuits have no bands.
    """
    if item == "circuit":
        return terms.rent_per_circuit
    reached = [band for band in terms.volume if band.from_seats <= seats]
    return max(reached, key=lambda band: band.from_seats).rent if reached else terms.rent_per_seat
