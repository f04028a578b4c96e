"""Refusals of the billing rules; each message is one line: where, what is wrong, what was expected."""

from __future__ import annotations

import json
from typing import ClassVar

from infra.kit.problems import Refusal

SHOWN_CHARACTERS = 60
"""How much of an unacceptable value a message repeats."""


def shown(value: object) -> str:
    """A value as a message may repeat it: one line, cut to `SHOWN_CHARACTERS`."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = type(value).__name__
    text = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


class BillingRefused(Refusal):
    """Something handed to the billing rules cannot be billed; `field` says where it stands."""

    code: ClassVar[str] = "billing_input_refused"
    title: ClassVar[str] = "This cannot be billed"

    def __init__(self, place: str, problem: str, expected: str) -> None:
        super().__init__(f"{place}: {problem}; expected {expected}", field=place)
        self.problem = problem
        self.expected = expected


class TermRefused(BillingRefused):
    """A term of a contract is unknown, of the wrong form or out of range; `field` names the term."""

    code: ClassVar[str] = "term_refused"
    title: ClassVar[str] = "A term of the contract is not acceptable"


class QuoteRefused(BillingRefused):
    """A quote's history is impossible or badly written; `field` names the event or member."""

    code: ClassVar[str] = "quote_refused"
    title: ClassVar[str] = "The quote cannot be worked out"


class NotHeld(QuoteRefused):
    """A return names a seat or circuit that is not held on that day."""

    code: ClassVar[str] = "not_held"
    title: ClassVar[str] = "What is to be returned is not held"


class WindowRefused(BillingRefused):
    """A maintenance window breaks rule 10."""

    code: ClassVar[str] = "window_refused"
    title: ClassVar[str] = "The maintenance window is not allowed"


class DeckRefused(BillingRefused):
    """A rate deck is refused whole; `field` names the line and, where one is at fault, the column."""

    code: ClassVar[str] = "deck_refused"
    title: ClassVar[str] = "The rate deck was refused"


class CallsRefused(BillingRefused):
    """A file of calls to be rated cannot be read; `field` names the line and the column."""

    code: ClassVar[str] = "calls_refused"
    title: ClassVar[str] = "The file of calls was refused"
