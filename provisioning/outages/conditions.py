"""What is wrong with the cluster at this moment, tenant by tenant, as its tables tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, true
from sqlalchemy.ext.asyncio import AsyncSession

from provisioning.outages.models import Observation
from provisioning.rules.observed_faults import Kind
from switch.draining.models import NodeDrain
from switch.draining.states import PAUSED_PHASES
from switch.gateway_choice import ANY_NUMBER
from switch.models import Gateway, GatewayState, Node, Placement
from tenancy.models import Tenant

LOST_STATES = ("dead", "left")
KEPT_OUT_STATES = ("draining", "drained")
CUT_OFF = "cut_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that keeps a tenant's seats from working: since when, whose cause where that is clear, and in words.

    `subject` is the node. `extensions`: of the seats concerned, None for everything that is open.
    """

    tenant_id: str
    kind: Kind
    subject: str
    began_at: datetime
    cause: str | None
    note: str
    extensions: tuple[str, ...] | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """There is one observation at a time of each."""
        return self.tenant_id, self.kind.value, self.subject


async def nodes_down(session: AsyncSession, now: datetime, *, tenant_id: str | None = None) -> list[Condition]:
    """Tenants (or this one) whose serving node is dead, gone, cut off or kept out, and whom no other has taken over.

    A node died when it was last heard of, not when that was noticed; it was cut off when it got no answers any more.
    """
    out = Node.state.in_((*LOST_STATES, CUT_OFF)) | (
        Node.state.in_(KEPT_OUT_STATES) & NodeDrain.phase.in_([phase.value for phase in PAUSED_PHASES])
    )
    query = (
        select(Placement, Node)
        .join(Tenant, Tenant.tenant_id == Placement.tenant_id)
        .join(Node, Node.name == Placement.serving_node)
        .outerjoin(NodeDrain, NodeDrain.node_id == Node.node_id)
        .where(Tenant.standing == "active", out)
        .order_by(Placement.tenant_id)
    )
    if tenant_id is not None:
        query = query.where(Placement.tenant_id == tenant_id)
    found: list[Condition] = []
    for placement, node in (await session.execute(query)).all():
        since = node.state_changed_at
        if node.state in LOST_STATES and node.heartbeat_at is not None:
            since = min(since, node.heartbeat_at)
        if node.state == CUT_OFF and node.unanswered_since is not None:
            since = min(since, node.unanswered_since)
        what = {"dead": "fell silent", CUT_OFF: "gets no answers from the API"}.get(node.state, f"is {node.state}")
        found.append(
            Condition(
                tenant_id=placement.tenant_id,
                kind=Kind.NODE_DOWN,
                subject=node.name,
                began_at=min(now, max(since, placement.changed_at)),
                cause="operator",
                note=f"The node {node.name} {what}, and no other node serves its seats.",
            )
        )
    return found


async def gateways_down(session: AsyncSession, now: datetime) -> list[Condition]:
    """Tenants of nodes at which no gateway that takes every number is up, so that no call goes out or comes in.

    Where only gateways for certain numbers exist, all of them. What a node has not told of yet counts as up. Switching
    off the last gateway of a node is no fault by itself, and none ends by it.
    """
    query = (
        select(Node.name, Gateway.prefixes, GatewayState.is_up, GatewayState.changed_at)
        .join_from(Node, Gateway, true())
        .outerjoin(GatewayState, (GatewayState.node == Node.name) & (GatewayState.gateway_id == Gateway.gateway_id))
        .where(Node.state == "active", Gateway.is_enabled)
    )
    routes: defaultdict[str, list[tuple[bool, bool, datetime]]] = defaultdict(list)
    for node, prefixes, is_up, changed_at in await session.execute(query):
        routes[node].append((_takes_all(prefixes), is_up is not False, changed_at or now))
    found: list[Condition] = []
    for node, known in sorted(routes.items()):
        general = [each for each in known if each[0]] or known
        if any(is_up for _, is_up, _ in general):
            continue
        since = max(changed_at for _, _, changed_at in general)
        served = (
            select(Placement.tenant_id, Placement.changed_at)
            .join(Tenant, Tenant.tenant_id == Placement.tenant_id)
            .where(Placement.serving_node == node, Tenant.standing == "active")
            .order_by(Placement.tenant_id)
        )
        found += [
            Condition(
                tenant_id=tenant_id,
                kind=Kind.GATEWAYS_DOWN,
                subject=node,
                began_at=min(now, max(since, moved_at)),
                cause="operator",
                note=f"No gateway is in reach of {node}: no call goes out or comes in.",
            )
            for tenant_id, moved_at in await session.execute(served)
        ]
    return found + await _left_without_gateways(session, routes.keys())


async def _left_without_gateways(session: AsyncSession, with_gateways: Collection[str]) -> list[Condition]:
    """What lasts although the gateways that were down have been switched off or taken away: no other is there."""
    query = (
        select(Observation)
        .join(
            Placement, (Placement.tenant_id == Observation.tenant_id) & (Placement.serving_node == Observation.subject)
        )
        .join(Node, Node.name == Observation.subject)
        .join(Tenant, Tenant.tenant_id == Observation.tenant_id)
        .where(
            Observation.kind == Kind.GATEWAYS_DOWN.value,
            Observation.state == "open",
            Observation.subject.not_in(sorted(with_gateways)),
            Node.state == "active",
            Tenant.standing == "active",
        )
        .order_by(Observation.tenant_id)
    )
    return [
        Condition(
            tenant_id=row.tenant_id,
            kind=Kind.GATEWAYS_DOWN,
            subject=row.subject,
            began_at=row.began_at,
            cause=row.cause,
            note=row.note,
        )
        for row in (await session.execute(query)).scalars()
    ]


async def gateways_again_at(session: AsyncSession, tenant_id: str, node: str, began_at: datetime) -> datetime | None:
    """When a tenant without gateways had one again: one of its node came up, or another node took over."""
    query = (
        select(Gateway.prefixes, GatewayState.is_up, GatewayState.changed_at)
        .join(GatewayState, GatewayState.gateway_id == Gateway.gateway_id)
        .where(GatewayState.node == node, Gateway.is_enabled)
    )
    known = [(_takes_all(prefixes), is_up, changed_at) for prefixes, is_up, changed_at in await session.execute(query)]
    general = [each for each in known if each[0]] or known
    moved = select(Placement.changed_at).where(Placement.tenant_id == tenant_id, Placement.serving_node != node)
    moments = [changed_at for _, is_up, changed_at in general if is_up] + list((await session.execute(moved)).scalars())
    return min((moment for moment in moments if moment > began_at), default=None)


def _takes_all(prefixes: Collection[str]) -> bool:
    return not prefixes or ANY_NUMBER in prefixes


async def served_again_at(session: AsyncSession, tenant_id: str, node: str, began_at: datetime) -> datetime | None:
    """When a tenant whose node was down was served again: another node took over, or the node came back."""
    query = (
        select(Placement.serving_node, Placement.changed_at, Node.state, Node.state_changed_at)
        .outerjoin(Node, Node.name == node)
        .where(Placement.tenant_id == tenant_id)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    moments = [row.changed_at] if row.serving_node != node else []
    moments += [row.state_changed_at] if row.state == "active" else []
    return min((moment for moment in moments if moment > began_at), default=None)
