"""HTTP for where tenants live and what room the nodes have."""

from __future__ import annotations

from datetime import datetime

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Body, Limit, View
from infra.kit.pages import Page, fetch_page
from provisioning import moving, placing
from switch import placements
from switch.models import Node, Placement

TAGS = ["Placement"]


class PlacementView(View):
    """Where a tenant lives: its home, its spare, and the node that serves it now."""

    tenant_id: str
    home_node: str
    spare_node: str | None
    serving_node: str
    generation: int
    changed_at: datetime


class NodeRoomView(View):
    """A node's room in seats. `reserve_seats` would come from the one other node whose death brings most; with them it
    would serve `shortfall_seats` too many."""

    node_id: str
    name: str
    state: str
    capacity_seats: int
    home_seats: int
    free_seats: int
    reserve_seats: int
    shortfall_seats: int
    tenants_served: int


class TenantMove(Body):
    """Another home for a tenant: a node's id or name, and why."""

    home_node: str
    reason: str


@get("/v1/placements", permission="nodes:read", tags=TAGS, operation_id="ListPlacements")
async def list_placements(
    *,
    session: NamedDependency[AsyncSession],
    tenant_id: FromQuery[str | None] = None,
    node: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PlacementView]:
    """Where tenants live, newest tenant first; `node` narrows to those that it serves now."""
    query = select(Placement)
    if tenant_id is not None:
        query = query.where(Placement.tenant_id == tenant_id)
    if node is not None:
        query = query.where(Placement.serving_node == node)
    rows, following = await fetch_page(session, query, keys=(Placement.tenant_id,), limit=limit, after=after)
    return Page(items=[_view(row) for row in rows], next=following)


@post(
    "/v1/tenants/{tenant_id:str}/move", permission="nodes:write", tags=TAGS, operation_id="MoveTenant", status_code=200
)
async def move_tenant(
    tenant_id: FromPath[str], data: JSONBody[TenantMove], session: NamedDependency[AsyncSession]
) -> PlacementView:
    """Let another node be a tenant's home and serve it from now on; its phones come over when they register anew."""
    return _view(await moving.move(session, tenant_id, home_node=data.home_node, reason=data.reason))


def _view(placement: Placement) -> PlacementView:
    return PlacementView(**{name: getattr(placement, name) for name in PlacementView.__struct_fields__})


@get("/v1/node-rooms", permission="nodes:read", tags=TAGS, operation_id="ListNodeRooms")
async def list_node_rooms(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[NodeRoomView]:
    """How many seats live on each node that has not left, and how many more it takes; newest node first."""
    rooms = await placing.rooms(session)
    query = select(Node).where(Node.state != "left")
    rows, following = await fetch_page(session, query, keys=(Node.node_id,), limit=limit, after=after)
    served = await placements.count_served(session, [row.name for row in rows])
    views = [
        NodeRoomView(
            node_id=row.node_id,
            name=row.name,
            state=row.state,
            capacity_seats=row.capacity_seats,
            home_seats=rooms[row.name].home,
            free_seats=rooms[row.name].free,
            reserve_seats=rooms[row.name].reserve,
            shortfall_seats=rooms[row.name].shortfall,
            tenants_served=served[row.name],
        )
        for row in rows
    ]
    return Page(items=views, next=following)


ROUTES = [list_placements, list_node_rooms, move_tenant]
