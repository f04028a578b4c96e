"""Which version of a contract's terms decides (C15): terms are data and change from a day on, never backwards.

- An order is priced by the terms of its order day (rule 4), the opening by those of the opening day.
- A monthly invoice takes rent, due day, tolerance and tax from the terms of the 1st it is dated (rule 3).
- What it credits for the month before follows the terms of that month's 1st, by which its rent was charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TypeVar

from billing.rules.errors import TermRefused
from billing.rules.terms import Terms, amended_terms, fixed_deposit

Version = TypeVar("Version")


def in_force(versions: Mapping[date, Version], day: date) -> Version | None:
    """The version, of those by their first days, that holds on a day; None: the terms as signed do."""
    begun = [first_day for first_day in versions if first_day <= day]
    return versions[max(begun)] if begun else None


def changed_terms(terms: Terms, overrides: object) -> Terms:
    """Whole new terms from those in force and the terms that an amendment names.

    Raises `TermRefused`, naming the term, for one that is unknown, out of range or impossible: nothing changes at
    all, or a deposit of the contract as a whole, which is asked with the opening invoice and never again.
    """
    changed = amended_terms(terms, overrides)
    if changed == terms:
        raise TermRefused("terms", "nothing changes", "at least one term with another value")
    if changed.deposit != terms.deposit and fixed_deposit(changed):
        expected = '"per_seat" or "0.00" for the seats ordered from then on'
        problem = f"{changed.deposit} would never be asked, because a fixed deposit comes with the opening invoice"
        raise TermRefused("terms.deposit", problem, expected)
    return changed
