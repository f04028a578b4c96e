"""Invoice lines: exact amounts collected, rounded once for each kind and item, with what explains them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from billing.rules.book import FaultCredited, HoldingKey, RentCharge
from billing.rules.terms import CHARGE_KINDS
from infra.kit import money

Reason = Literal["opening", "addition", "monthly", "final", "credit_note"]

LINE_KINDS = (
    "deposit",
    "rent",
    "return_credit",
    "deposit_return",
    "fault_credit",
    "calls",
    "data",
    *CHARGE_KINDS,
)
"""Every kind of line, in the order in which an invoice shows them."""

REASONS: tuple[Reason, ...] = ("opening", "addition", "monthly", "final", "credit_note")
"""The order of invoices of one day."""


@dataclass(frozen=True, slots=True)
class Basis:
    """One part of a line: the clause, the formula in words and numbers, and the exact amount it gave."""

    clause: str
    formula: str
    amount: Fraction
    inputs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice; `amount` is rounded to 0.01 and negative for a credit.

    `unit_price` is the full price of one (a month of rent, a deposit); where nothing is counted, the amount itself.
    """

    kind: str
    item: str | None
    quantity: int
    unit_price: Decimal
    amount: Decimal
    bases: tuple[Basis, ...] = ()
    tax_rate: Decimal = Decimal(0)
    """The rate of the tax that `amount` contains (rule 12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDraft:
    """An invoice as the rules make it, before it has a number.

    `rent_charged`, `deposits_asked` and `fault_credited` tell per holding what this invoice charges and credits, for
    the book that keeps it.
    `suspends_on` is the day from whose beginning it suspends while unpaid; None where it never does.
    """

    reason: Reason
    issued_on: date
    due_on: date
    period: str
    lines: tuple[Line, ...]
    total: Decimal
    tax: Decimal
    suspends_on: date | None = None
    provisional: bool = False
    rent_charged: tuple[tuple[HoldingKey, RentCharge], ...] = ()
    deposits_asked: tuple[tuple[HoldingKey, Decimal], ...] = ()
    fault_credited: tuple[tuple[HoldingKey, FaultCredited], ...] = ()
    fixed_deposit_asked: Decimal = Decimal("0.00")


@dataclass(slots=True)
class _Group:
    quantity: int = 0
    exact: Fraction = Fraction(0)
    bases: list[Basis] = field(default_factory=list)


class LineCollector:
    """Adds up exact amounts and turns them into rounded lines."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str | None], dict[Decimal | None, _Group]] = {}

    def add(
        self, kind: str, item: str | None, basis: Basis, *, quantity: int = 1, unit_price: Decimal | None = None
    ) -> None:
        """Add one exact part (`basis.amount`, negative for a credit) of a kind and item.

        Parts of one `unit_price` share a line; without one the line shows its amount as its price.
        """
        group = self._groups.setdefault((kind, item), {}).setdefault(unit_price, _Group())
        group.quantity += quantity
        group.exact += basis.amount
        group.bases.append(basis)

    def lines(self) -> tuple[Line, ...]:
        """The lines in the order of `LINE_KINDS`, seats before circuits.

        All amounts of one kind and item are added up exactly and rounded once; the last line takes the rounding
        difference; a kind that rounds to 0.00 gives no line.
        """
        result: list[Line] = []
        for kind, item in sorted(self._groups, key=_line_order):
            groups = self._groups[(kind, item)]
            left = money.fen(sum((group.exact for group in groups.values()), Fraction(0)))
            if left == 0:
                continue
            for index, (unit_price, group) in enumerate(groups.items(), start=1):
                amount = left if index == len(groups) else money.fen(group.exact)
                left -= amount
                price = abs(amount) if unit_price is None else unit_price
                quantity = group.quantity if unit_price is not None else 1
                result.append(Line(kind, item, quantity, price, amount, tuple(group.bases)))
        return tuple(result)


def _line_order(key: tuple[str, str | None]) -> tuple[int, bool, bool]:
    kind, item = key
    return LINE_KINDS.index(kind), item is None, item == "circuit"
