"""How old what is owed is: the bands of an ageing report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from infra.kit import money

Band = Literal["not_due", "days_1_to_15", "days_16_to_30", "days_31_to_60", "days_over_60"]

BANDS: tuple[Band, ...] = ("not_due", "days_1_to_15", "days_16_to_30", "days_31_to_60", "days_over_60")
_LAST_DAY_OF: tuple[tuple[int, Band], ...] = (
    (0, "not_due"),
    (15, "days_1_to_15"),
    (30, "days_16_to_30"),
    (60, "days_31_to_60"),
)


@dataclass(frozen=True, slots=True)
class Owed:
    """What is open of one invoice, CNY, and the day it was due."""

    tenant_id: str
    due_on: date
    amount: Decimal


@dataclass(slots=True)
class Age:
    """What one tenant owes by age, and the credit it has not used yet; CNY."""

    bands: dict[Band, Decimal] = field(default_factory=lambda: dict.fromkeys(BANDS, money.ZERO))
    credit: Decimal = money.ZERO

    @property
    def owed(self) -> Decimal:
        """All bands together."""
        return sum(self.bands.values(), money.ZERO)


def band_of(due_on: date, as_of: date) -> Band:
    """The band of an invoice due on a day; on its due day (the last moment counts) it is not due yet."""
    days = (as_of - due_on).days
    for last_day, band in _LAST_DAY_OF:
        if days <= last_day:
            return band
    return "days_over_60"


def aged(owed: Iterable[Owed], credits: Iterable[tuple[str, Decimal]], as_of: date) -> dict[str, Age]:
    """Every tenant that owes or has credit, by id."""
    ages: defaultdict[str, Age] = defaultdict(Age)
    for each in owed:
        ages[each.tenant_id].bands[band_of(each.due_on, as_of)] += each.amount
    for tenant_id, amount in credits:
        ages[tenant_id].credit += amount
    return dict(sorted(ages.items()))
