"""Quotes for callers of the API: the calculator with a limit on how much work one request may ask for."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

from billing.calculator import quote_text
from billing.rules.errors import QuoteRefused
from billing.rules.events import Add
from billing.rules.quote_document import Quote, read_quote
from infra.kit.problems import TooLarge

QUOTE_LIMIT_BYTES = 1_000_000
QUOTE_LIMIT_SEAT_MONTHS = 500_000
"""Seats and circuits times the months they are simulated for: some five seconds of one processor."""


class QuoteTooLong(QuoteRefused):
    """The history has more seats and months than one request may ask for."""

    code = "quote_too_long"


async def answer(body: bytes) -> bytes:
    """The answer to a quote document, both JSON as in `quote.md`; worked out beside the event loop.

    Raises `TooLarge`, `QuoteTooLong` and what `billing.calculator.quote_text` raises.
    """
    if len(body) > QUOTE_LIMIT_BYTES:
        raise TooLarge(f"The quote has {len(body)} bytes; at most {QUOTE_LIMIT_BYTES} are taken here.")
    return await asyncio.to_thread(_answer, body)


def _answer(body: bytes) -> bytes:
    try:
        document = json.loads(body.decode("utf-8-sig"), parse_float=Decimal)
    except (ValueError, RecursionError):
        # Not JSON: the calculator refuses it too and says where.
        return quote_text(body).encode()
    asked = seat_months(read_quote(document))
    if asked > QUOTE_LIMIT_SEAT_MONTHS:
        raise QuoteTooLong(
            "until",
            f"{asked} months of seats and circuits",
            f"at most {QUOTE_LIMIT_SEAT_MONTHS}; ask for a shorter time",
        )
    return quote_text(body).encode()


def seat_months(question: Quote) -> int:
    """How much there is to simulate: for every seat and circuit the months from its first day on, both counted."""
    until = question.until.year * 12 + question.until.month
    return sum(
        event.count * max(1, until - (event.on.year * 12 + event.on.month) + 1)
        for event in question.events
        if isinstance(event, Add)
    )
