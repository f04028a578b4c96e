"""SIP edges as they are kept, and what each must know of the placement now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import Conflict, InvalidInput
from switch import placements
from switch.edge import documents
from switch.edge.documents import EdgeAddress, NodeAddress, ServedDomain
from switch.edge.errors import EdgeNameTaken, EdgeUnknown
from switch.edge.models import SipEdge
from switch.models import Node, Placement
from tenancy import tenants
from tenancy.models import Tenant

MAX_EDGES = 50
MAX_PORT = 65_535
NAME_LIMIT_CHARACTERS = 63


@dataclass(frozen=True, slots=True)
class EdgeMap:
    """Every node that has not left, and every tenant's domain with its nodes, the serving one first."""

    nodes: tuple[NodeAddress, ...]
    domains: tuple[ServedDomain, ...]


async def create_edge(
    session: AsyncSession, *, name: str, host: str, sip_port: int, sip_tls_port: int | None
) -> SipEdge:
    """Tell of an edge: phones are told it, and `seatline edge-config` writes its files.

    `host`: the name or address that phones reach. Raises `InvalidInput` naming the field, `EdgeNameTaken`.
    """
    for field, text in (("name", name), ("host", host)):
        if not documents.is_host(text) or (field == "name" and len(text) > NAME_LIMIT_CHARACTERS):
            raise InvalidInput(f"`{field}` is a name of letters, digits, - and ., or an address.", field=field)
    for field, port in (("sip_port", sip_port), ("sip_tls_port", sip_tls_port)):
        if port is not None and not 1 <= port <= MAX_PORT:
            raise InvalidInput(f"A port is a number from 1 to {MAX_PORT}.", field=field)
    if sip_port == sip_tls_port:
        raise InvalidInput("SIP over TLS needs another port than `sip_port`.", field="sip_tls_port")
    if (await session.execute(select(func.count()).select_from(SipEdge))).scalar_one() >= MAX_EDGES:
        raise Conflict(f"There are {MAX_EDGES} edges already; remove one first.")
    edge = SipEdge(
        edge_id=new_id("edge"),
        name=name,
        host=host,
        sip_port=sip_port,
        sip_tls_port=sip_tls_port,
        created_at=clock.now(),
    )
    try:
        async with session.begin_nested():
            session.add(edge)
    except IntegrityError as error:
        raise EdgeNameTaken(f"There is an edge {name} already; choose another name.", field="name") from error
    await audit.record(session, PLATFORM, "sip_edge.created", edge.edge_id, name=name, host=host)
    return edge


async def get_edge(session: AsyncSession, name_or_id: str) -> SipEdge:
    """An edge by its id or name. Raises `EdgeUnknown`."""
    query = select(SipEdge).where((SipEdge.edge_id == name_or_id) | (SipEdge.name == name_or_id))
    edge = (await session.execute(query)).scalar_one_or_none()
    if edge is None:
        raise EdgeUnknown(f"There is no SIP edge {name_or_id}; GET /v1/sip-edges lists them.", field="edge_id")
    return edge


async def delete_edge(session: AsyncSession, edge_id: str) -> None:
    """Tell phones of this edge no more. Raises `EdgeUnknown`."""
    edge = await get_edge(session, edge_id)
    await session.delete(edge)
    await audit.record(session, PLATFORM, "sip_edge.deleted", edge.edge_id, name=edge.name)


async def addresses(session: AsyncSession) -> list[EdgeAddress]:
    """Every edge, by name."""
    found = (await session.execute(select(SipEdge).order_by(SipEdge.name).limit(MAX_EDGES))).scalars()
    return [address_of(edge) for edge in found]


def address_of(edge: SipEdge) -> EdgeAddress:
    """Where an edge is reached."""
    return EdgeAddress(edge.name, edge.host, edge.sip_port, edge.sip_tls_port)


async def current_map(session: AsyncSession) -> EdgeMap:
    """What edges must know now. Closed tenants are left out: nothing of theirs is served."""
    query = (
        select(Tenant.sip_domain, Placement.serving_node, Placement.home_node, Placement.spare_node)
        .join(Placement, Placement.tenant_id == Tenant.tenant_id)
        .where(Tenant.standing != "closed")
    )
    domains = tuple(
        ServedDomain(domain, tuple(dict.fromkeys(node for node in (serving, home, spare) if node is not None)))
        for domain, serving, home, spare in await session.execute(query)
    )
    found = (await session.execute(select(Node).where(Node.state != "left").order_by(Node.name))).scalars()
    return EdgeMap(tuple(_address(node) for node in found), domains)


async def zone_of(session: AsyncSession, tenant_id: str) -> str:
    """The SRV records of a tenant's domain as a zone fragment: edges, home, spare. Raises `NotPlaced`."""
    tenant = await tenants.get(session, tenant_id)
    placement = await placements.get(session, tenant_id)
    return await zone(session, [(tenant.sip_domain, placement.home_node, placement.spare_node)])


async def whole_zone(session: AsyncSession) -> str:
    """The SRV records of every tenant that is not closed, by domain."""
    query = (
        select(Tenant.sip_domain, Placement.home_node, Placement.spare_node)
        .join(Placement, Placement.tenant_id == Tenant.tenant_id)
        .where(Tenant.standing != "closed")
        .order_by(Tenant.sip_domain)
    )
    return await zone(session, [(row[0], row[1], row[2]) for row in await session.execute(query)])


async def zone(session: AsyncSession, homes: Sequence[tuple[str, str, str | None]]) -> str:
    """Zone fragments of domains (domain, home, spare), one after another."""
    edges = await addresses(session)
    nodes = (await session.execute(select(Node).where(Node.state != "left"))).scalars()
    by_name = {node.name: _address(node) for node in nodes}
    return "".join(
        documents.srv_records(domain, [by_name[name] for name in (home, spare) if name in by_name], edges)
        for domain, home, spare in homes
    )


def _address(node: Node) -> NodeAddress:
    return NodeAddress(node.name, node.sip_host, node.sip_port, node.sip_tls_port)
