"""Builders for the tests of the rules: events as they stand in a quote document, and answers that read easily."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

from billing.calculator import quote

Events = list[dict[str, Any]]


def add(on: str, seats: int, **more: Any) -> dict[str, Any]:
    return {"type": "add", "on": on, "seats": seats, **more}


def give_back(on: str, seats: list[int] | str, **more: Any) -> dict[str, Any]:
    return {"type": "return", "on": on, "seats": seats, **more}


def fault(
    begins: str, ends: str, seats: list[int] | str = "all", cause: str = "operator", **more: Any
) -> dict[str, Any]:
    return {
        "type": "fault",
        "from": f"{begins}+08:00",
        "to": f"{ends}+08:00",
        "seats": seats,
        "cause": cause,
        **more,
    }


def window(begins: str, ends: str) -> dict[str, Any]:
    return {"type": "maintenance", "from": f"{begins}+08:00", "to": f"{ends}+08:00"}


def charge(on: str, kind: str, amount: str) -> dict[str, Any]:
    return {"type": "charge", "on": on, "kind": kind, "amount": amount}


def usage(on: str, kind: str, amount: str) -> dict[str, Any]:
    return {"type": "usage", "on": on, "kind": kind, "amount": amount}


def pay(on: str, amount: str = "all") -> dict[str, Any]:
    return {"type": "pay", "on": on, "amount": amount}


def end(on: str) -> dict[str, Any]:
    return {"type": "end", "on": on}


def document(preset: str, opens_on: str, until: str, events: Events, terms: dict[str, Any] | None = None) -> Any:
    """A quote document, decoded from JSON text as a caller's would be."""
    contract = {"preset": preset, "opens_on": opens_on, "terms": terms or {}}
    return json.loads(json.dumps({"contract": contract, "until": until, "events": events}))


class Answer:
    """An answer of the calculator, with the questions that tests ask."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.plain = answer
        self.invoices: list[dict[str, Any]] = answer["invoices"]

    def invoice(self, reason: str, issued_on: str | None = None) -> dict[str, Any]:
        """The only invoice of this reason (and day)."""
        found = [
            each
            for each in self.invoices
            if each["reason"] == reason and (issued_on is None or each["issued_on"] == issued_on)
        ]
        assert len(found) == 1, [(each["reason"], each["issued_on"]) for each in self.invoices]
        return found[0]

    def kinds(self, reason: str, issued_on: str | None = None) -> dict[str, str]:
        """The sum per kind of an invoice."""
        sums: defaultdict[str, Decimal] = defaultdict(lambda: Decimal("0.00"))
        for line in self.invoice(reason, issued_on)["lines"]:
            sums[line["kind"]] += Decimal(line["amount"])
        return {kind: str(amount) for kind, amount in sums.items()}

    def dates(self) -> list[tuple[str, str]]:
        """(reason, issue day) of each invoice in order."""
        return [(each["reason"], each["issued_on"]) for each in self.invoices]

    def suspensions(self) -> list[tuple[str, str | None]]:
        return [(each["from"], each["to"]) for each in self.plain["suspensions"]]


def quoted(preset: str, opens_on: str, until: str, events: Events, terms: dict[str, Any] | None = None) -> Answer:
    """What the calculator answers."""
    return Answer(quote(document(preset, opens_on, until, events, terms)))
