"""Which node a tenant lives on, where it flees to, and when it goes home. Pure.

Rendezvous hashing with weights: each node gets a score from the tenant and its own name alone, so that a node that
joins or leaves moves only the tenants that it wins or loses, and every process comes to the same answer. Capacity
bounds it: a node that is full is passed over for the next in the tenant's own order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

HOME_UP_FOR = timedelta(minutes=10)
"""How long a home node must have been up before its tenants go back to it; a node that comes and goes gets none."""

STAY_FOR = timedelta(minutes=10)
"""How long a tenant stays where it was moved before it moves again of its own accord."""

_HASH_BITS = 64


@dataclass(frozen=True, slots=True)
class Room:
    """What a node has, in seats: how many it takes, how many live there, and what may flee to it.

    `reserve` is what arrives when that one other node dies from which it would inherit most. Homes never exceed the
    capacity; the reserve may, where no node has room for it: a crowded node serves better than none.
    """

    capacity: int
    home: int
    reserve: int

    @property
    def free(self) -> int:
        """How many more seats may live here."""
        return max(0, self.capacity - self.home)

    @property
    def shortfall(self) -> int:
        """How many seats too many this node would serve after the worst death of another."""
        return max(0, self.home + self.reserve - self.capacity)


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant's seats, held and ordered, with its home and spare; None where it has none."""

    tenant_id: str
    seats: int
    home: str | None
    spare: str | None


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


def rooms(capacities: Mapping[str, int], claims: Iterable[Claim]) -> dict[str, Room]:
    """The room of each node (name → capacity in seats) under these claims; claims on other nodes are left out."""
    homes = dict.fromkeys(capacities, 0)
    inherited: dict[str, dict[str, int]] = {node: {} for node in capacities}
    for claim in claims:
        if claim.home in homes:
            homes[claim.home] += claim.seats
        if claim.spare in inherited and claim.home is not None:
            heirs = inherited[claim.spare]
            heirs[claim.home] = heirs.get(claim.home, 0) + claim.seats
    return {
        node: Room(capacity, homes[node], max(inherited[node].values(), default=0))
        for node, capacity in capacities.items()
    }


def settled(
    claim: Claim, others: Collection[Claim], *, capacities: Mapping[str, int], able: Collection[str]
) -> Claim | None:
    """Where a tenant belongs from now on: as little changed as its seats allow. None: no node has room for them all.

    `others` are all other tenants' claims (their sums by home and spare are enough); `capacities` those of every node
    that has not left; only nodes in `able` are newly chosen. Its home stays while all its seats have room there; else
    its spare follows, else the first in its order with room. Its spare stays while it could take these seats besides
    its own and what that home's other tenants bring; else the first in its order that could, or, where none can, it
    stays: changing it for another crowded node helps nobody.
    """
    free = rooms(capacities, others)
    usable = {node: capacities[node] for node in able if node in capacities}
    order = ranked(claim.tenant_id, usable)
    homes = [claim.home, *([claim.spare] if claim.spare in usable else []), *order]
    home = next((node for node in homes if node in free and free[node].free >= claim.seats), None)
    if home is None:
        return None
    spares = [node for node in (claim.spare, *order) if node in capacities and node != home]
    roomy = (node for node in spares if not _crowds(claim, others, home, node, capacities))
    return Claim(claim.tenant_id, claim.seats, home, next(roomy, spares[0] if spares else None))


def _crowds(
    claim: Claim, others: Collection[Claim], home: str, spare: str | None, capacities: Mapping[str, int]
) -> bool:
    """Whether a spare would have to serve more than it takes when this home dies."""
    if spare is None:
        return False
    inherited = sum(other.seats for other in others if (other.home, other.spare) == (home, spare))
    own = sum(other.seats for other in others if other.home == spare)
    return own + inherited + claim.seats > capacities[spare]


def refuge(
    tenant_id: str,
    *,
    home: str,
    spare: str | None,
    lost: str,
    alive: Mapping[str, int],
    full: Collection[str] = (),
) -> str | None:
    """Where a tenant goes when the node `lost` serves it no more: its spare, its home, else the best one alive.

    Of the rest, those in `full` come last: crowded is better than cut off.
    """
    others = {node: weight for node, weight in alive.items() if node != lost}
    for preferred in (spare, home):
        if preferred is not None and preferred in others:
            return preferred
    order = sorted(ranked(tenant_id, others), key=lambda node: node in full)
    return order[0] if order else None


def may_go_home(*, now: datetime, home_up_since: datetime, moved_at: datetime) -> bool:
    """Whether the home has been up, and the tenant away, long enough for a return without flapping."""
    return now - home_up_since >= HOME_UP_FOR and now - moved_at >= STAY_FOR


def is_quiet(tenant_id: str, leg_owners: Iterable[str | None]) -> bool:
    """Whether a node surely has no live leg of a tenant.

    `leg_owners`: the tenant of each leg there, None where it is not known: such a leg counts as this tenant's.
    """
    return all(owner is not None and owner != tenant_id for owner in leg_owners)
