"""What a month of a returned seat or circuit costs, and the credit that follows (C10, rule 6)."""

from __future__ import annotations

from fractions import Fraction

from billing.rules.book import Holding
from billing.rules.months import Month
from billing.rules.terms import Terms


def return_credit(terms: Terms, holding: Holding) -> Fraction:
    """The exact credit for a returned holding, CNY, positive; zero when it was not returned.

    Returned on or before the cut-off day it costs `return_charge` of the rent charged for that month, so the rest
    is credited; after the cut-off nothing is.
    """
    if not holding.returned or holding.closed_on is None or holding.closed_on.day > terms.return_cutoff_day:
        return Fraction(0)
    charged = holding.charged_for(Month.of(holding.closed_on))
    return Fraction(0) if charged is None else charged.amount * (1 - Fraction(terms.return_charge))
