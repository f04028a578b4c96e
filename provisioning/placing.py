"""Tenants on nodes: placed when they first order, moved when their node dies, brought home when it is back.

A move holds from its commit, because the switch asks for the serving node at every registration and call. What lives
on a node that still runs is not cut by a move: calls end where they are, phones come over when they register anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.rules import placement as rule
from switch import nodes, placements
from switch.commands import CommandFailed, NodeControl
from switch.errors import PlacementChanged
from switch.models import Node, Placement

ACTIVE = "active"
JOINING = "joining"
LOST_STATES = ("dead", "left")
"""States of a node that serves nobody any more."""

LEAVING_STATES = ("draining", "drained")
"""States of a node that still runs and whose tenants are to be served elsewhere."""

EMPTIED_STATES = (*LOST_STATES, *LEAVING_STATES)

MAX_TENANTS_A_RUN = 10_000
"""More than this many wait for the next run, a minute later."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Homecoming:
    """A tenant that is served away from a home that is back."""

    tenant_id: str
    generation: int
    home: str
    serving: str


async def ensure_placed(session: AsyncSession, tenant_id: str) -> Placement | None:
    """The tenant's placement, chosen now when it has none; None while the cluster has no node.

    Nodes that answer are preferred; before any has answered, those that are expected to.
    """
    placement = await placements.find(session, tenant_id)
    if placement is not None:
        return placement
    weights = await _weights(session, ACTIVE) or await _weights(session, JOINING)
    chosen = rule.home_and_spare(tenant_id, weights)
    if chosen is None:
        return None
    return await placements.assign(session, tenant_id, home_node=chosen[0], spare_node=chosen[1])


async def evacuate_node(runtime: Runtime, name: str) -> list[str]:
    """Move every tenant that a lost or draining node serves to its spare, its home, or the best node alive.

    Returns their ids. One transaction a tenant. A node that is back by then keeps its tenants.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        served = [each.tenant_id for each in await placements.tenants_on(session, name)][:MAX_TENANTS_A_RUN]
    moved = [tenant_id for tenant_id in served if await _flee(runtime, tenant_id, name)]
    if served:
        log.info("node.evacuated", node=name, served=len(served), moved=len(moved))
    return moved


async def settle_placements(runtime: Runtime, *, control: NodeControl | None = None) -> None:
    """Bring every placement to what it should be: off lost and draining nodes, with a spare, home where that is quiet.

    It repeats what the moments of a node's death and return do, so that nothing depends on one message.
    """
    for name in await _lost_and_serving(runtime):
        await evacuate_node(runtime, name)
    await _give_spares(runtime)
    await bring_home(runtime, control=control)


async def bring_home(runtime: Runtime, *, control: NodeControl | None = None) -> list[str]:
    """Move tenants back to homes that have been up long enough, each in a moment when it has no live call.

    A node that does not tell its calls keeps its tenants. Returns the ids of those that moved.
    """
    away: dict[str, list[Homecoming]] = defaultdict(list)
    for homecoming in await _homecomings(runtime):
        away[homecoming.serving].append(homecoming)
    told = control or NodeControl.of(runtime)
    moved: list[str] = []
    for serving, homecomings in away.items():
        contexts = await _live_contexts(runtime, told, serving)
        if contexts is None:
            continue
        for homecoming in homecomings:
            if rule.is_quiet(homecoming.tenant_id, contexts) and await _go_home(runtime, homecoming):
                moved.append(homecoming.tenant_id)
    return moved


async def return_tenants(runtime: Runtime, name: str, since: datetime) -> list[str]:
    """Bring a node's own tenants back that were moved from it since then: its drain was cancelled. Returns their ids.

    They do not wait for a quiet moment: most of their phones have not moved yet.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        query = (
            select(Placement)
            .where(Placement.home_node == name, Placement.serving_node != name, Placement.changed_at >= since)
            .order_by(Placement.tenant_id)
            .limit(MAX_TENANTS_A_RUN)
        )
        away = [
            Homecoming(each.tenant_id, each.generation, name, each.serving_node)
            for each in (await session.execute(query)).scalars()
        ]
    moved = [each.tenant_id for each in away if await _go_home(runtime, each, reason="drain_cancelled")]
    if away:
        log.info("node.tenants_returned", node=name, away=len(away), moved=len(moved))
    return moved


async def _weights(session: AsyncSession, state: str) -> dict[str, int]:
    query = select(Node.name, Node.capacity_seats).where(Node.state == state)
    return {row.name: row.capacity_seats for row in await session.execute(query)}


async def _emptied_state(session: AsyncSession, name: str) -> str | None:
    """The state of a node that is to serve nobody (an unknown name has left); None for one that may."""
    state = (await session.execute(select(Node.state).where(Node.name == name))).scalar() or "left"
    return state if state in EMPTIED_STATES else None


async def _lost_and_serving(runtime: Runtime) -> list[str]:
    async with runtime.database.transaction(Scope.platform()) as session:
        query = (
            select(Placement.serving_node)
            .outerjoin(Node, Node.name == Placement.serving_node)
            .where(Node.name.is_(None) | Node.state.in_(EMPTIED_STATES))
            .distinct()
        )
        return sorted((await session.execute(query)).scalars())


async def _flee(runtime: Runtime, tenant_id: str, lost: str) -> bool:
    async with runtime.database.transaction(Scope.platform()) as session:
        placement = await placements.find(session, tenant_id, for_update=True)
        state = await _emptied_state(session, lost)
        if placement is None or placement.serving_node != lost or state is None:
            return False
        alive = await _weights(session, ACTIVE)
        target = rule.refuge(tenant_id, home=placement.home_node, spare=placement.spare_node, lost=lost, alive=alive)
        if target is None:
            if state in LOST_STATES:
                log.error("tenant.stranded", tenant_id=tenant_id, node=lost)
            else:  # somebody drains the last node; `tenants_left` of the drain says so
                log.warning("tenant.has_nowhere_to_go", tenant_id=tenant_id, node=lost)
            return False
        reason = "node_draining" if state in LEAVING_STATES else "node_lost"
        await placements.move(session, tenant_id, target, reason=reason, generation=placement.generation)
    return True


async def _give_spares(runtime: Runtime) -> None:
    """A tenant that was placed when there was one node, or whose spare has left, gets a spare among those alive."""
    async with runtime.database.transaction(Scope.platform()) as session:
        alive = await _weights(session, ACTIVE)
        spare_stays = select(Node.name).where(Node.name == Placement.spare_node, Node.state != "left").exists()
        query = select(Placement).where(~spare_stays).order_by(Placement.tenant_id).limit(MAX_TENANTS_A_RUN)
        without = list((await session.execute(query)).scalars())
    for placement in without:
        others = {name: weight for name, weight in alive.items() if name != placement.home_node}
        best = rule.ranked(placement.tenant_id, others)
        if best:
            async with runtime.database.transaction(Scope.platform()) as session:
                await placements.settle(session, placement.tenant_id, home_node=placement.home_node, spare_node=best[0])


async def _homecomings(runtime: Runtime) -> list[Homecoming]:
    async with runtime.database.transaction(Scope.platform()) as session:
        query = (
            select(Placement, Node.state_changed_at)
            .join(Node, Node.name == Placement.home_node)
            .where(Node.state == ACTIVE, Placement.serving_node != Placement.home_node)
            .order_by(Placement.tenant_id)
            .limit(MAX_TENANTS_A_RUN)
        )
        rows = (await session.execute(query)).all()
    now = clock.now()
    return [
        Homecoming(placement.tenant_id, placement.generation, placement.home_node, placement.serving_node)
        for placement, up_since in rows
        if rule.may_go_home(now=now, home_up_since=up_since, moved_at=placement.changed_at)
    ]


async def _live_contexts(runtime: Runtime, control: NodeControl, name: str) -> list[str] | None:
    """The dialplan contexts of a node's live legs; None when it cannot be asked."""
    async with runtime.database.transaction(Scope.platform()) as session:
        node = await nodes.get_by_name(session, name)
    if node.state not in nodes.LIVE_STATES:
        return None
    try:
        return [leg.context for leg in await control.live_calls(node)]
    except CommandFailed as failure:
        log.warning("node.calls_not_told", node=name, reason=str(failure))
        return None


async def _go_home(runtime: Runtime, homecoming: Homecoming, *, reason: str = "home_is_back") -> bool:
    try:
        async with runtime.database.transaction(Scope.platform()) as session:
            if await _emptied_state(session, homecoming.home) is not None:
                return False
            await placements.move(
                session,
                homecoming.tenant_id,
                homecoming.home,
                reason=reason,
                generation=homecoming.generation,
            )
    except PlacementChanged:
        return False
    return True


def served_first(placement: Placement) -> Iterable[tuple[str, str]]:
    """The nodes of a tenant in the order in which a phone should try them, with what each is: `serving` comes first."""
    yield "serving", placement.serving_node
    for role, name in (("home", placement.home_node), ("spare", placement.spare_node)):
        if name is not None and name != placement.serving_node:
            yield role, name
