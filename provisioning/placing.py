"""Tenants on nodes: placed when they first order, moved when their node is lost, brought home when it is back.

A node's capacity bounds the seats that live there; what is sold beyond it is refused (`require_room`).

A move holds from its commit, because the switch asks for the serving node at every registration and call. What lives
on a node that still runs is not cut by a move: calls end where they are, phones come over when they register anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.ids import is_id
from infra.kit.jobs import Runtime
from provisioning.errors import ClusterFull, NodeTakesNobody
from provisioning.models import Seat
from provisioning.outages import observing
from provisioning.rules import placement as rule
from provisioning.rules import seat_states
from switch import node_answers, nodes, placements
from switch.commands import CommandFailed, NodeControl
from switch.errors import PlacementChanged
from switch.live import store
from switch.models import Node, Placement

ACTIVE = "active"
JOINING = "joining"
LOST_STATES = ("dead", "left")
"""States of a node that serves nobody any more."""

LEAVING_STATES = ("draining", "drained")
"""States of a node that still runs and whose tenants are to be served elsewhere."""

CUT_OFF = "cut_off"
"""A node that still runs and alone gets no answers from the API, so that nobody registers or calls there."""

EMPTIED_STATES = (*LOST_STATES, *LEAVING_STATES, CUT_OFF)
_REASONS: dict[str, str] = {
    **dict.fromkeys(LOST_STATES, "node_lost"),
    **dict.fromkeys(LEAVING_STATES, "node_draining"),
    CUT_OFF: "node_cut_off",
}

_TAKES_ROOM = (Seat.item == "seat", Seat.state.in_(seat_states.HELD))

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
    """The tenant's placement, chosen now when it has none; None while no node has room for its seats.

    Nodes that answer are preferred; before any has answered, those that are expected to. Runs as the platform.
    """
    placement = await placements.find(session, tenant_id)
    if placement is not None:
        return placement
    chosen = await _settled(session, tenant_id, None)
    if chosen is None or chosen.home is None:
        return None
    return await placements.assign(session, tenant_id, home_node=chosen.home, spare_node=chosen.spare)


async def require_room(session: AsyncSession, tenant_id: str) -> None:
    """Place a tenant where all its seats, the just ordered among them, have room; raises `ClusterFull`.

    Its home stays where that has room, else it changes: the tenant then moves in a quiet moment (`bring_home`). Orders
    of all tenants pass here one after another, last in their transaction, so that the nodes' rows are locked briefly.
    """
    await session.execute(
        select(Node.node_id).where(Node.state != "left").order_by(Node.node_id).with_for_update(key_share=True)
    )
    placement = await placements.find(session, tenant_id, for_update=True)
    chosen = await _settled(session, tenant_id, placement)
    if chosen is None or chosen.home is None:
        raise await _cluster_full(session, tenant_id)
    if placement is None:
        await placements.assign(session, tenant_id, home_node=chosen.home, spare_node=chosen.spare)
    else:
        await placements.settle(session, tenant_id, home_node=chosen.home, spare_node=chosen.spare)


async def spare_for(session: AsyncSession, placement: Placement, *, home: str) -> str | None:
    """The spare of a tenant that gets this home, by the rule. Raises `NodeTakesNobody` where it has no room for it."""
    seats = await _held(session, placement.tenant_id)
    spare = placement.spare_node if placement.spare_node != home else None
    capacities = await _capacities(session)
    others = await _claims(session, but=placement.tenant_id)
    able = await able_nodes(session)
    chosen = rule.settled(rule.Claim(placement.tenant_id, seats, home, spare), others, capacities=capacities, able=able)
    if chosen is None or chosen.home != home:
        free = rule.rooms(capacities, others)[home].free
        raise NodeTakesNobody(
            f"The tenant has {seats} seats and {home} room for {free}; raise its `capacity_seats` or choose another.",
            field="home_node",
        )
    return chosen.spare


async def able_nodes(session: AsyncSession) -> dict[str, int]:
    """The nodes that tenants may be given, with their capacity: those in service; before any is, those expected."""
    return await _weights(session, ACTIVE) or await _weights(session, JOINING)


async def rooms(session: AsyncSession) -> dict[str, rule.Room]:
    """The room of every node that has not left, by name."""
    return rule.rooms(await _capacities(session), await _claims(session))


async def evacuate_node(runtime: Runtime, name: str) -> list[str]:
    """Move every tenant that a lost, draining or cut-off node serves to its spare, its home, or the best node alive.

    Returns their ids. One transaction a tenant. A node that is back by then keeps its tenants.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        served = [each.tenant_id for each in await placements.tenants_on(session, name)][:MAX_TENANTS_A_RUN]
    moved = [tenant_id for tenant_id in served if await _flee(runtime, tenant_id, name)]
    if served:
        log.info("node.evacuated", node=name, served=len(served), moved=len(moved))
    return moved


async def settle_placements(runtime: Runtime, *, control: NodeControl | None = None) -> None:
    """Bring every placement to what it should be: off nodes that serve nobody, with a spare, home where that is quiet.

    It repeats what the moments of a node's death and return do, so that nothing depends on one message.
    """
    for name in await _lost_and_serving(runtime):
        await evacuate_node(runtime, name)
    await _settle_anew(runtime)
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
        owners = await _owners_of_live_legs(runtime, told, serving)
        if owners is None:
            continue
        for homecoming in homecomings:
            if rule.is_quiet(homecoming.tenant_id, owners) and await _go_home(runtime, homecoming):
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


async def _settled(session: AsyncSession, tenant_id: str, placement: Placement | None) -> rule.Claim | None:
    """Where a tenant is to belong, with all its seats; None where no node has room for them."""
    seats = await _held(session, tenant_id)
    home, spare = (placement.home_node, placement.spare_node) if placement is not None else (None, None)
    capacities = await _capacities(session)
    able = await able_nodes(session) or capacities
    claim = rule.Claim(tenant_id, seats, home, spare)
    return rule.settled(claim, await _claims(session, but=tenant_id), capacities=capacities, able=able)


async def _held(session: AsyncSession, tenant_id: str) -> int:
    query = select(func.count()).select_from(Seat).where(Seat.tenant_id == tenant_id, *_TAKES_ROOM)
    return (await session.execute(query)).scalar_one()


async def _claims(session: AsyncSession, *, but: str | None = None) -> list[rule.Claim]:
    """The seats that live on each home with each spare, as one claim a pair; without those of one tenant."""
    query = (
        select(Placement.home_node, Placement.spare_node, func.count())
        .join(Seat, Seat.tenant_id == Placement.tenant_id)
        .where(*_TAKES_ROOM)
        .group_by(Placement.home_node, Placement.spare_node)
    )
    if but is not None:
        query = query.where(Placement.tenant_id != but)
    return [rule.Claim("", seats, home, spare) for home, spare, seats in await session.execute(query)]


async def _capacities(session: AsyncSession) -> dict[str, int]:
    query = select(Node.name, Node.capacity_seats).where(Node.state != "left")
    return {row.name: row.capacity_seats for row in await session.execute(query)}


async def _cluster_full(session: AsyncSession, tenant_id: str) -> ClusterFull:
    wanted = await _held(session, tenant_id)
    free = rule.rooms(await _capacities(session), await _claims(session, but=tenant_id))
    most = max((room.free for room in free.values()), default=0)
    return ClusterFull(
        f"With this order the tenant has {wanted} seats, which live on one node, and no node takes more than {most}; "
        "order fewer, or have a node added.",
        field="quantity",
    )


async def _weights(session: AsyncSession, state: str) -> dict[str, int]:
    query = select(Node.name, Node.capacity_seats).where(Node.state == state)
    return {row.name: row.capacity_seats for row in await session.execute(query)}


async def _refuges(session: AsyncSession, lost: str, state: str) -> dict[str, int]:
    """The nodes to which tenants may flee from one in this state, with their capacity.

    From one that is cut off only to such as were answered since it was not. From any other rather to one that gets
    answers; but where the API is away for all, a node that will serve when it is back is better than one that is gone.
    """
    if state != CUT_OFF:
        alive = await _weights(session, ACTIVE)
        silenced = set(await node_answers.without_answers(session))
        return {name: weight for name, weight in alive.items() if name not in silenced} or alive
    unanswered_since = (await nodes.get_by_name(session, lost)).unanswered_since
    if unanswered_since is None:
        return {}
    answered = await node_answers.answered_after(session, unanswered_since)
    return {node.name: node.capacity_seats for node in answered}


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
        target = rule.refuge(
            tenant_id,
            home=placement.home_node,
            spare=placement.spare_node,
            lost=lost,
            alive=await _refuges(session, lost, state),
            full=[name for name, room in (await rooms(session)).items() if not room.free],
        )
        if target is None:
            if state in LOST_STATES:
                log.error("tenant.stranded", tenant_id=tenant_id, node=lost)
            else:  # somebody drains the last node, as its `tenants_left` says, or no other gets answers any more
                log.warning("tenant.has_nowhere_to_go", tenant_id=tenant_id, node=lost)
            return False
        if state not in LEAVING_STATES:
            await observing.keep_in_mind(session, tenant_id)
        await placements.move(session, tenant_id, target, reason=_REASONS[state], generation=placement.generation)
    return True


async def _settle_anew(runtime: Runtime) -> None:
    """Tenants whose home has left, or that have no spare, are given one among the nodes alive."""
    async with runtime.database.transaction(Scope.platform()) as session:
        home_stays, spare_stays = (
            select(Node.name).where(Node.name == column, Node.state != "left").exists()
            for column in (Placement.home_node, Placement.spare_node)
        )
        query = (
            select(Placement.tenant_id)
            .where(~home_stays | ~spare_stays)
            .order_by(Placement.tenant_id)
            .limit(MAX_TENANTS_A_RUN)
        )
        unsettled = list((await session.execute(query)).scalars())
    for tenant_id in unsettled:
        async with runtime.database.transaction(Scope.platform()) as session:
            placement = await placements.get(session, tenant_id, for_update=True)
            chosen = await _settled(session, tenant_id, placement)
            if chosen is None or chosen.home is None:
                log.error("tenant.has_no_home", tenant_id=tenant_id, home=placement.home_node)
            else:
                await placements.settle(session, tenant_id, home_node=chosen.home, spare_node=chosen.spare)


async def _homecomings(runtime: Runtime) -> list[Homecoming]:
    async with runtime.database.transaction(Scope.platform()) as session:
        query = (
            select(Placement, func.greatest(Node.state_changed_at, Node.answered_since))
            .join(Node, Node.name == Placement.home_node)
            .where(
                Node.state == ACTIVE,
                Node.unanswered_since.is_(None),
                Placement.serving_node != Placement.home_node,
            )
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


async def _owners_of_live_legs(runtime: Runtime, control: NodeControl, name: str) -> list[str | None] | None:
    """The tenant of each live leg of a node, None for one that is not known; None when the node cannot be asked.

    A seat's leg runs in a dialplan context that names its tenant. Legs from and to the outside share one, so of those
    the live view says whose they are.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        node = await nodes.get_by_name(session, name)
    if node.state not in nodes.LIVE_STATES:
        return None
    try:
        legs = await control.live_calls(node)
    except CommandFailed as failure:
        log.warning("node.calls_not_told", node=name, reason=str(failure))
        return None
    async with runtime.database.transaction(Scope.platform()) as session:
        seen = await store.written_legs(session, name)
    return [leg.context if is_id("ten", leg.context) else seen.get(leg.leg_id) for leg in legs]


async def _go_home(runtime: Runtime, homecoming: Homecoming, *, reason: str = "home_is_back") -> bool:
    try:
        async with runtime.database.transaction(Scope.platform()) as session:
            is_out = await _emptied_state(session, homecoming.home) is not None
            if is_out or homecoming.home in await node_answers.without_answers(session):
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
