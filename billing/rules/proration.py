"""The rent of one holding for one month: in full or by day (rules 2, 4 and 11; C9)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from billing.rules.book import RentCharge
from billing.rules.months import Month
from billing.rules.terms import Terms


def month_rent(terms: Terms, unit_price: Decimal, held_from: date, ends_on: date | None) -> RentCharge:
    """Rent from `held_from` to the end of its month, or to the contract's known end inside it.

    `full_month`: the whole month, whatever the day and the end. `daily`: `unit_price` × days / days of that month,
    the first and the last day both counted.
    """
    month = Month.of(held_from)
    if terms.proration == "full_month":
        return RentCharge(month, unit_price, month.days, month.days)
    last = month.last if ends_on is None else min(month.last, ends_on)
    days = max((last - held_from).days + 1, 0)
    return RentCharge(month, unit_price, days, month.days)
