"""The calculator against worked cases, and what it refuses."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.calculator import quote_text

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name.removesuffix(".expected.json") for path in CASES.glob("*.expected.json"))


def answer(name: str) -> dict[str, Any]:
    return json.loads(quote_text((CASES / f"{name}.json").read_bytes()))


def compared(invoice: dict[str, Any]) -> dict[str, Any]:
    """An invoice as the expected files show it: dates, total and the sum of each kind."""
    kinds: defaultdict[str, Decimal] = defaultdict(lambda: Decimal("0.00"))
    for line in invoice["lines"]:
        kinds[line["kind"]] += Decimal(line["amount"])
    members = ("reason", "issued_on", "due_on", "total", "tax", "void", "suspends_on")
    return {name: invoice[name] for name in members} | {"kinds": {kind: str(amount) for kind, amount in kinds.items()}}


@pytest.mark.parametrize("name", NAMES)
def test_worked_case(name: str) -> None:
    expected = json.loads((CASES / f"{name}.expected.json").read_text("utf-8"))
    found = answer(name)
    assert [compared(invoice) for invoice in found["invoices"]] == expected["invoices"]
    assert found["suspensions"] == expected["suspensions"]
    for member in expected.keys() - {"invoices", "suspensions"}:
        assert found[member] == expected[member]
