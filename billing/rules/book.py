"""What an invoice is made from: value objects that the calculator fills from events and the services from tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from billing.rules.months import Month, day_begins

Item = Literal["seat", "circuit"]
Cause = Literal["operator", "tenant", "force_majeure"]

ITEMS: tuple[Item, ...] = ("seat", "circuit")


class HoldingKey(NamedTuple):
    """Names one seat or circuit of a contract; both are numbered 1, 2, 3 … on their own."""

    item: Item
    number: int


class Span(NamedTuple):
    """A time from a moment to a later one, the end not included; both in UTC."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class RentCharge:
    """What one holding was charged for one month, exact: a later credit is a part of this, not of a rounded line.

    `unit_price` is the full month's rent it was priced at; `amount` is `unit_price` × `days` / `month_days`.
    """

    month: Month
    unit_price: Decimal
    days: int
    month_days: int

    @property
    def amount(self) -> Fraction:
        """CNY, not rounded."""
        return Fraction(self.unit_price) * self.days / self.month_days


@dataclass(frozen=True, slots=True)
class FaultCredited:
    """What an invoice has credited one holding for the faults of one month; exact, CNY, positive."""

    month: Month
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Holding:
    """One rented seat or circuit, as money sees it.

    `opened_on` is None until its order is paid and its day has come; `closed_on` is the last day held; `returned`
    tells a return (C10) from the end of the contract. `deposit` is what has been paid for it and not given back.
    """

    item: Item
    number: int
    ordered_on: date
    effective_on: date
    opened_on: date | None = None
    closed_on: date | None = None
    returned: bool = False
    lapsed: bool = False
    deposit: Decimal = Decimal("0.00")
    rent: tuple[RentCharge, ...] = ()
    fault_credits: tuple[FaultCredited, ...] = ()
    """What earlier invoices have credited for faults, so that a late finding adds only what is missing."""

    @property
    def key(self) -> HoldingKey:
        """The holding's name within its contract."""
        return HoldingKey(self.item, self.number)

    def charged_for(self, month: Month) -> RentCharge | None:
        """The rent charged for this month, if it has been."""
        return next((charge for charge in reversed(self.rent) if charge.month == month), None)

    def fault_credited_for(self, month: Month) -> Fraction:
        """The exact sum credited for faults of this month so far, positive."""
        return sum((each.amount for each in self.fault_credits if each.month == month), Fraction(0))

    def held_when_begins(self, day: date) -> bool:
        """Whether it is open at 00:00 of this day."""
        return (
            self.opened_on is not None and self.opened_on <= day and (self.closed_on is None or self.closed_on >= day)
        )

    def held_or_ordered(self, day: date) -> bool:
        """Whether it counts for the volume price on this day (rule 13): held, or ordered and not lapsed."""
        return self.ordered_on <= day and not self.lapsed and (self.closed_on is None or self.closed_on >= day)


@dataclass(frozen=True, slots=True)
class OneOffCharge:
    """Recruitment, equipment, utilities, property or penalty (C16, C21–C23); CNY including tax."""

    on: date
    kind: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """Rated calls or data of one local month or day, four decimals, CNY including tax (C3).

    `records`: how many rated records `amount` is the sum of. `re_rating` names the re-rating and the month whose calls
    it has priced anew, where `amount` is the difference that came of it.
    """

    on: date
    kind: Literal["calls", "data"]
    amount: Decimal
    records: int = 1
    re_rating: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as reported. `numbers` None means every holding of the item.

    `fault_id` is its name where it is stored, so that a credit can tell what it is for.
    """

    span: Span
    cause: Cause
    item: Item = "seat"
    numbers: frozenset[int] | None = None
    fault_id: str | None = None

    def touches(self, holding: Holding) -> bool:
        """Whether this holding is one of those at fault."""
        return self.item == holding.item and (self.numbers is None or holding.number in self.numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A contract's state on the day on which an invoice is made.

    `charges` and `usage` are those not yet invoiced; an invoice takes the ones dated before its own month.
    `maintenance` are the windows as scheduled, `suspensions` the times during which the tenant was suspended
    (an unfinished one ends at the day of the invoice). `ends_on` is the contract's last day, where it is known.
    `late_fault_months` are earlier months in which a fault became known after their invoice was made (rule 3); faults,
    maintenance and suspensions of those months must be there too.
    """

    holdings: tuple[Holding, ...]
    charges: tuple[OneOffCharge, ...] = ()
    usage: tuple[Usage, ...] = ()
    faults: tuple[Fault, ...] = ()
    maintenance: tuple[Span, ...] = ()
    suspensions: tuple[Span, ...] = ()
    ends_on: date | None = None
    fixed_deposit_held: Decimal = Decimal("0.00")
    late_fault_months: tuple[Month, ...] = ()


def days_span(first: date, after_last: date) -> Span:
    """From the beginning of one local day to the beginning of another."""
    return Span(day_begins(first), day_begins(after_last))
