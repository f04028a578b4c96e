"""The calculator (`seatline quote`, `POST /v1/quotes`): a contract's invoices from a list of events.

It needs no database: the rules that bill do the work, this file reads the question and writes the answer.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from billing.rules.account import AccountInvoice
from billing.rules.errors import QuoteRefused
from billing.rules.quote_document import read_quote
from billing.rules.simulation import Story, simulate
from infra.kit.money import amount_text

MAXIMUM_DOCUMENT_CHARACTERS = 20_000_000


def quote(document: object) -> dict[str, Any]:
    """Answer a quote document (decoded JSON, the shape of `quote.md`) with the JSON-ready answer.

    Raises `QuoteRefused` or `TermRefused` (both `BillingRefused`); their text is one line naming event or term.
    """
    question = read_quote(document)
    return _answer(simulate(question.contract, question.events, question.until))


def quote_text(text: str | bytes) -> str:
    """The same from JSON text to JSON text, as the command does it; numbers never become binary floats.

    Raises `QuoteRefused` too for what is not JSON, has a key twice or is too long.
    """
    if len(text) > MAXIMUM_DOCUMENT_CHARACTERS:
        raise QuoteRefused("document", "it is too long", f"at most {MAXIMUM_DOCUMENT_CHARACTERS} characters")
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        document = json.loads(decoded, parse_float=Decimal, object_pairs_hook=_members_once)
    except UnicodeDecodeError as error:
        raise QuoteRefused("document", f"byte {error.start} is not UTF-8", "JSON in UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise QuoteRefused(place, error.msg, "a JSON document") from error
    except (RecursionError, ValueError) as error:
        raise QuoteRefused("document", "it cannot be read", "a JSON document of ordinary depth") from error
    return json.dumps(quote(document), ensure_ascii=False, indent=2) + "\n"


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise QuoteRefused("document", f"the key {json.dumps(twice)[:60]} stands twice in one object", "each key once")
    return members


def _answer(story: Story) -> dict[str, Any]:
    return {
        "invoices": [_invoice(invoice) for invoice in story.invoices],
        "suspensions": [
            {"from": each.begins_on.isoformat(), "to": None if each.to is None else each.to.isoformat()}
            for each in story.suspensions
        ],
        "balance": amount_text(story.balance),
        "deposit_held": amount_text(story.deposit_held),
        "provisional": story.provisional,
    }


def _invoice(invoice: AccountInvoice) -> dict[str, Any]:
    draft = invoice.draft
    return {
        "reason": draft.reason,
        "issued_on": draft.issued_on.isoformat(),
        "due_on": draft.due_on.isoformat(),
        "period": draft.period,
        "lines": [
            {
                "kind": line.kind,
                "item": line.item,
                "quantity": line.quantity,
                "unit_price": amount_text(line.unit_price),
                "amount": amount_text(line.amount),
            }
            for line in draft.lines
        ],
        "total": amount_text(draft.total),
        "tax": amount_text(draft.tax),
        "suspends_on": None if draft.suspends_on is None else draft.suspends_on.isoformat(),
        "paid_on": None if invoice.paid_on is None else invoice.paid_on.isoformat(),
        "void": invoice.void,
    }
