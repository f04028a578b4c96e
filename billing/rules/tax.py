"""Value added tax contained in an invoice (rule 12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.rules.lines import Line
from billing.rules.terms import Terms
from infra.kit import money

_RATE_OF = {
    "rent": "rent",
    "return_credit": "rent",
    "fault_credit": "rent",
    "deposit": "deposit",
    "deposit_return": "deposit",
    "calls": "calls",
    "data": "data",
}


@dataclass(frozen=True, slots=True)
class TaxPart:
    """The lines of one rate: `gross` = `net` + `tax`."""

    rate: Decimal
    gross: Decimal
    tax: Decimal

    @property
    def net(self) -> Decimal:
        """What is left for the operator."""
        return self.gross - self.tax


def tax_rate(terms: Terms, kind: str) -> Decimal:
    """The rate of a kind of line; a credit takes the rate of what it reduces, a one-off charge that of `other`."""
    name = _RATE_OF.get(kind, kind)
    return terms.tax_rates.get(name, terms.tax_rates["other"])


def tax_parts(terms: Terms, lines: Iterable[Line]) -> tuple[TaxPart, ...]:
    """The invoice split by rate, lowest rate first; tax = gross × r / (1 + r), rounded once for each rate."""
    return parts_by_rate((tax_rate(terms, line.kind), line.amount) for line in lines)


def parts_by_rate(amounts: Iterable[tuple[Decimal, Decimal]]) -> tuple[TaxPart, ...]:
    """The same from amounts that already have their rates (rate, gross), as the lines of a stored invoice do."""
    gross: defaultdict[Decimal, Decimal] = defaultdict(lambda: money.ZERO)
    for rate, amount in amounts:
        gross[rate] += amount
    return tuple(
        TaxPart(rate, amount, money.fen(Fraction(amount) * Fraction(rate) / (1 + Fraction(rate))))
        for rate, amount in sorted(gross.items())
    )


def total_tax(lines: Iterable[Line]) -> Decimal:
    """The tax of a whole invoice whose lines have their rates, CNY."""
    parts = parts_by_rate((line.tax_rate, line.amount) for line in lines)
    return sum((part.tax for part in parts), money.ZERO)
