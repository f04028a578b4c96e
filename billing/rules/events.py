"""The history that a quote tells: a contract and what happens to it (`quote.md`).

Every event carries its `place` in the document, so that a refusal can name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.rules.book import Fault, Item, OneOffCharge, Span, Usage
from billing.rules.contract_versions import in_force
from billing.rules.terms import Terms


@dataclass(frozen=True, slots=True)
class Contract:
    """The terms and the first day of a lease; `later_terms` are those that hold from a day on (C15)."""

    terms: Terms
    opens_on: date
    later_terms: Mapping[date, Terms] = field(default_factory=dict[date, Terms])

    def terms_on(self, day: date) -> Terms:
        """The terms that hold on a day."""
        return in_force(self.later_terms, day) or self.terms


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
