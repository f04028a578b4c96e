"""Which node a tenant lives on, where it flees to, and when it goes home. Pure.

Rendezvous hashing with weights: each node gets a score from the tenant and its own name alone, so that a node that
joins or leaves moves only the tenants that it wins or loses, and every process comes to the same answer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from infra.kit.ids import is_id

HOME_UP_FOR = timedelta(minutes=10)
"""How long a home node must have been up before its tenants go back to it; a node that comes and goes gets none."""

STAY_FOR = timedelta(minutes=10)
"""How long a tenant stays where it was moved before it moves again of its own accord."""

_HASH_BITS = 64


def score(tenant_id: str, node: str, weight: float) -> float:
    """How much a node wants a tenant: −weight / ln(u), u being a hash of both in (0, 1); the highest wins.

    With this form a node wins in proportion to its weight (weighted rendezvous hashing by logarithms).
    """
    digest = hashlib.sha256(f"{tenant_id}\n{node}".encode()).digest()
    uniform = (int.from_bytes(digest[: _HASH_BITS // 8]) + 0.5) / 2**_HASH_BITS
    return -weight / math.log(uniform)


def ranked(tenant_id: str, weights: Mapping[str, int]) -> list[str]:
    """Nodes (name → capacity in seats) from the best to the worst for a tenant; those without capacity are left out."""
    able = {node: weight for node, weight in weights.items() if weight > 0}
    return sorted(able, key=lambda node: (-score(tenant_id, node, able[node]), node))


def home_and_spare(tenant_id: str, weights: Mapping[str, int]) -> tuple[str, str | None] | None:
    """The two best nodes for a tenant; None when there is no node, no spare when there is only one."""
    order = ranked(tenant_id, weights)
    if not order:
        return None
    return order[0], order[1] if len(order) > 1 else None


def refuge(tenant_id: str, *, home: str, spare: str | None, lost: str, alive: Mapping[str, int]) -> str | None:
    """Where a tenant goes when the node `lost` serves it no more: its spare, its home, else the best one alive."""
    others = {node: weight for node, weight in alive.items() if node != lost}
    for preferred in (spare, home):
        if preferred is not None and preferred in others:
            return preferred
    order = ranked(tenant_id, others)
    return order[0] if order else None


def may_go_home(*, now: datetime, home_up_since: datetime, moved_at: datetime) -> bool:
    """Whether the home has been up, and the tenant away, long enough for a return without flapping."""
    return now - home_up_since >= HOME_UP_FOR and now - moved_at >= STAY_FOR


def is_quiet(tenant_id: str, leg_contexts: Iterable[str]) -> bool:
    """Whether a node surely has no live leg of a tenant.

    A leg's dialplan context names its tenant; legs from outside run in a shared context. So only a leg in the context
    of another tenant is known to be somebody else's: every other one counts as this tenant's.
    """
    return all(context != tenant_id and is_id("ten", context) for context in leg_contexts)
