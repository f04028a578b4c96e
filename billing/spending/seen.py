"""What was seen of calls that ran, kept from one look to the next until their records say what they cost. Pure.

Between the end of a call and its record there is a gap: a moment as a rule, more where its node cannot deliver it. What
the call had cost when it was seen last fills that gap, or its end would lift the bar that it brought about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

RunningCosts: TypeAlias = Mapping[str, Mapping[str, Decimal]]
"""What calls that run would cost if they ended now (CNY): by leg, by node."""

UNRECORDED_FOR = timedelta(minutes=15)
"""How long a call counts that its node no longer lists and whose record has not come: one that is lost, or waits on a
node's disk for longer, bars nobody for the rest of the day. It counts again when it is imported and charged."""


@dataclass(frozen=True, slots=True)
class SeenLeg:
    """A call that ran when it was seen last; `cost` (CNY) is what it had cost then."""

    node: str
    cost: Decimal
    gone_at: datetime | None = None
    """Since when its node answers and no longer lists it."""


def kept(
    before: Mapping[str, SeenLeg],
    listed: RunningCosts,
    *,
    silent: Collection[str],
    recorded: Collection[str],
    now: datetime,
) -> dict[str, SeenLeg]:
    """The calls that count by what was seen of them, by leg: those listed now, and those seen before without an end.

    `silent`: nodes that give no answer; what was seen there stays as it was. `recorded`: legs whose call record has
    come and therefore counts in their place, also of those that a list from a moment ago still names.
    """
    found = {leg_id: SeenLeg(node, cost) for node, legs in listed.items() for leg_id, cost in legs.items()}
    for leg_id, leg in before.items():
        if leg_id in found:
            continue
        gone_at = leg.gone_at if leg.gone_at is not None or leg.node in silent else now
        if gone_at is None or now - gone_at < UNRECORDED_FOR:
            found[leg_id] = replace(leg, gone_at=gone_at)
    return {leg_id: leg for leg_id, leg in found.items() if leg_id not in recorded}


def as_stored(legs: Mapping[str, SeenLeg]) -> dict[str, Any]:
    """As JSON: by node and leg the cost as text, or of a call that is gone a pair of the cost and since when."""
    found: dict[str, dict[str, Any]] = {}
    for leg_id, leg in legs.items():
        cost = str(leg.cost)
        found.setdefault(leg.node, {})[leg_id] = cost if leg.gone_at is None else [cost, leg.gone_at.isoformat()]
    return found


def read_stored(stored: Mapping[str, Mapping[str, Any]] | None) -> dict[str, SeenLeg]:
    """What `as_stored` made of them."""
    return {leg_id: _read(node, value) for node, legs in (stored or {}).items() for leg_id, value in legs.items()}


def _read(node: str, value: Any) -> SeenLeg:
    if isinstance(value, str):
        return SeenLeg(node, Decimal(value))
    cost, gone_at = value
    return SeenLeg(node, Decimal(cost), datetime.fromisoformat(gone_at))
