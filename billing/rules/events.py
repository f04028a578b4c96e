"""The history that a quote tells: a contract and what happens to it (`quote.md`).

Every event carries its `place` in the document, so that a refusal can name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.rules.book import Fault, Item, OneOffCharge, Span, Usage
from billing.rules.terms import Terms


@dataclass(frozen=True, slots=True)
class Contract:
    """The terms and the first day of a lease."""

    terms: Terms
    opens_on: date


@dataclass(frozen=True, slots=True)
class Add:
    """An order of so many seats or circuits, effective on a day."""

    place: str
    on: date
    ordered_on: date
    count: int
    item: Item = "seat"


@dataclass(frozen=True, slots=True)
class Return:
    """A return, effective at the end of a day. `numbers` None: everything held before that day's adds."""

    place: str
    on: date
    numbers: tuple[int, ...] | None
    item: Item = "seat"


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """A fault as reported."""

    place: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A scheduled maintenance window."""

    place: str
    span: Span


@dataclass(frozen=True, slots=True)
class ChargeEvent:
    """A one-off charge."""

    place: str
    charge: OneOffCharge


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """Rated calls or data of a day."""

    place: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Pay:
    """A payment with its value day. `amount` None: everything open on that day."""

    place: str
    on: date
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class End:
    """The contract's last day, known from the beginning."""

    place: str
    on: date


Event = Add | Return | FaultEvent | Maintenance | ChargeEvent | UsageEvent | Pay | End
