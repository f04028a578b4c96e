"""Which papers a tenant must have, and since when it has them all (C19). Pure.

Today one certificate with an 18-digit credit code stands for licence, tax registration and organisation code; who has
the three of old may hand those in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

Kind = Literal[
    "unified_certificate",
    "business_licence",
    "tax_registration",
    "organisation_code",
    "bank_account_permit",
    "bank_account_letter",
    "representative_id",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Requirement = Literal["registration", "bank_account", "representative_id"]

REQUIRED: dict[Requirement, tuple[tuple[Kind, ...], ...]] = {
    "registration": (("unified_certificate",), ("business_licence", "tax_registration", "organisation_code")),
    "bank_account": (("bank_account_permit",), ("bank_account_letter",)),
    "representative_id": (("representative_id",),),
}
"""What is required, and the sets of papers of which one is enough for it."""

REMINDER_DAYS = (60, 30, 7)
"""So many days before a paper's last day its tenant is reminded."""


@dataclass(frozen=True, slots=True)
class Held:
    """A paper that was accepted: its first and last day (None: without an end), and the day of its acceptance."""

    kind: str
    valid_from: date | None
    valid_until: date | None
    accepted_on: date

    def is_valid(self, day: date) -> bool:
        """Whether it is valid on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )

    @property
    def since(self) -> date:
        """The day from which it counts."""
        return self.accepted_on if self.valid_from is None else max(self.accepted_on, self.valid_from)


def complete_since(held: Iterable[Held], today: date) -> date | None:
    """The day since when all that is required is there; None where something is missing, or valid no more."""
    since: dict[str, date] = {}
    for paper in held:
        if paper.is_valid(today):
            since[paper.kind] = min(paper.since, since.get(paper.kind, paper.since))
    days: list[date] = []
    for enough in REQUIRED.values():
        complete = [max(since[kind] for kind in kinds) for kinds in enough if all(kind in since for kind in kinds)]
        if not complete:
            return None
        days.append(min(complete))
    return max(days)


def missing(held: Iterable[Held], today: date) -> list[Requirement]:
    """What is required and not there today."""
    valid = {paper.kind for paper in held if paper.is_valid(today)}
    return [name for name, enough in REQUIRED.items() if not any(valid.issuperset(kinds) for kinds in enough)]


def complete_until(held: Sequence[Held], today: date) -> date | None:
    """The last day on which all that is required will be there, with the papers of today; None: without an end.

    What is incomplete today has the day before as its last.
    """
    lasts = sorted({paper.valid_until for paper in held if paper.valid_until and paper.valid_until >= today})
    if complete_since(held, today) is None:
        return today - timedelta(days=1)
    return next((last for last in lasts if complete_since(held, last + timedelta(days=1)) is None), None)


def reminder_due(held: Sequence[Held], paper: Held, today: date) -> date | None:
    """The day of the reminder that a paper's tenant should have had last; None where there is none yet, or no more.

    60, 30 and 7 days before its last day. Not of one whose successor, of the same kind, has been accepted.
    """
    if paper.valid_until is None or paper.valid_until < today:
        return None
    after = paper.valid_until + timedelta(days=1)
    if any(each.kind == paper.kind and each.is_valid(after) for each in held):
        return None
    days = [paper.valid_until - timedelta(days=before) for before in REMINDER_DAYS]
    return max((day for day in days if day <= today), default=None)
