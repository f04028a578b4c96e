"""What the tests of a contract over time share: bodies as both sides sign them."""

from __future__ import annotations

from typing import Any

from infra.kit import clock

SIGNED = {"reason": "prices have risen", "signed_by_operator": "王经理", "signed_by_tenant": "李总"}


def amendment(effective_on: str, terms: dict[str, Any], *, noticed_on: str | None = None, **other: Any) -> Any:
    """New terms, noticed today where no day is named."""
    noticed = noticed_on or clock.today().isoformat()
    return SIGNED | {"effective_on": effective_on, "noticed_on": noticed, "terms": terms} | other


def agreed_end(ends_on: str, *, noticed_on: str | None = None, **other: Any) -> dict[str, Any]:
    """An early end, noticed today where no day is named."""
    noticed = noticed_on or clock.today().isoformat()
    return SIGNED | {"ends_on": ends_on, "noticed_on": noticed, "reason": "the office moves"} | other


def extraordinary_end(ends_on: str, *, noticed_on: str | None = None, **other: Any) -> dict[str, Any]:
    """The operator's end, noticed today where no day is named."""
    noticed = noticed_on or clock.today().isoformat()
    body = {"ends_on": ends_on, "noticed_on": noticed, "ground": "unlawful_use", "reason": "police report 17"}
    return body | {"signed_by_operator": "王经理"} | other


def renewal(**other: Any) -> dict[str, Any]:
    """Another term."""
    return SIGNED | {"reason": "both want to go on"} | other
