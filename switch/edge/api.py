"""HTTP for SIP edges and for the DNS records by which phones find edges and nodes."""

from __future__ import annotations

from datetime import datetime

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Scope, enter_scope
from infra.kit.http import DEFAULT_PAGE, After, Body, Limit, View
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from switch.edge import edges
from switch.edge.models import SipEdge
from tenancy import tenants

TAGS = ["SIP edges"]


class NewSipEdge(Body):
    """An edge to tell phones of. `host` is what they reach: a name or an address."""

    name: str
    host: str
    sip_port: int = 5060
    sip_tls_port: int | None = None


class SipEdgeView(View):
    """An edge in front of the nodes; `sip_port` is UDP and TCP."""

    edge_id: str
    name: str
    host: str
    sip_port: int
    sip_tls_port: int | None
    created_at: datetime


class ZoneView(View):
    """The records of one domain as lines of a zone file: SRV, and the addresses of what has no name of its own."""

    tenant_id: str
    domain: str
    zone: str


def _view(edge: SipEdge) -> SipEdgeView:
    return SipEdgeView(**{name: getattr(edge, name) for name in SipEdgeView.__struct_fields__})


@post("/v1/sip-edges", permission="nodes:write", tags=TAGS, operation_id="CreateSipEdge")
async def create_sip_edge(data: JSONBody[NewSipEdge], session: NamedDependency[AsyncSession]) -> SipEdgeView:
    """Add an edge; `seatline edge-config` then writes its files."""
    edge = await edges.create_edge(
        session, name=data.name, host=data.host, sip_port=data.sip_port, sip_tls_port=data.sip_tls_port
    )
    return _view(edge)


@get("/v1/sip-edges", permission="nodes:read", tags=TAGS, operation_id="ListSipEdges")
async def list_sip_edges(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[SipEdgeView]:
    """The edges, newest first."""
    rows, following = await fetch_page(session, select(SipEdge), keys=(SipEdge.edge_id,), limit=limit, after=after)
    return Page(items=[_view(row) for row in rows], next=following)


@delete("/v1/sip-edges/{edge_id:str}", permission="nodes:write", tags=TAGS, operation_id="DeleteSipEdge")
async def delete_sip_edge(edge_id: FromPath[str], session: NamedDependency[AsyncSession]) -> None:
    """Tell phones of this edge no more; what is registered through it stays so until it expires."""
    await edges.delete_edge(session, edge_id)


@get("/v1/tenants/{tenant_id:str}/srv-records", permission="tenants:read", tags=TAGS, operation_id="GetSrvRecords")
async def get_srv_records(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ZoneView:
    """What to put into the DNS so that phones find the tenant's edges, home and spare by its domain."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    await enter_scope(session, Scope.platform())  # the cluster's addresses are the platform's tables
    zone = await edges.zone_of(session, tenant.tenant_id)
    return ZoneView(tenant_id=tenant.tenant_id, domain=tenant.sip_domain, zone=zone)


ROUTES = [create_sip_edge, list_sip_edges, delete_sip_edge, get_srv_records]
