"""HTTP for gateways."""

from __future__ import annotations

from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.sealing import Seal
from switch import gateways
from switch.gateway_schemas import GatewayChange, GatewayView, NewGateway, gateway_view
from switch.models import Gateway

TAGS = ["Gateways"]
READ, WRITE = "nodes:read", "gateways:write"


@post("/v1/gateways", permission=WRITE, tags=TAGS, operation_id="CreateGateway")
async def create_gateway(
    data: JSONBody[NewGateway], session: NamedDependency[AsyncSession], seal: NamedDependency[Seal]
) -> GatewayView:
    """Add a gateway; running nodes take calls out and in by it within seconds."""
    return gateway_view(await gateways.create_gateway(session, seal, **data.details()))


@get("/v1/gateways", permission=READ, tags=TAGS, operation_id="ListGateways")
async def list_gateways(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[GatewayView]:
    """The gateways, newest first."""
    rows, following = await fetch_page(session, select(Gateway), keys=(Gateway.gateway_id,), limit=limit, after=after)
    states = await gateways.states_of(session, [row.gateway_id for row in rows])
    return Page(items=[gateway_view(row, states[row.gateway_id]) for row in rows], next=following)


@get("/v1/gateways/{gateway_id:str}", permission=READ, tags=TAGS, operation_id="GetGateway")
async def get_gateway(gateway_id: FromPath[str], session: NamedDependency[AsyncSession]) -> GatewayView:
    """One gateway, and how each live node sees it."""
    return await _view(session, await gateways.get(session, gateway_id))


@put("/v1/gateways/{gateway_id:str}", permission=WRITE, tags=TAGS, operation_id="ChangeGateway")
async def change_gateway(
    gateway_id: FromPath[str],
    data: JSONBody[GatewayChange],
    session: NamedDependency[AsyncSession],
    seal: NamedDependency[Seal],
) -> GatewayView:
    """Change a gateway, switch it off or on; what is left out stays. Calls that run go on."""
    return await _view(session, await gateways.change_gateway(session, seal, gateway_id, data.changes()))


@delete("/v1/gateways/{gateway_id:str}", permission=WRITE, tags=TAGS, operation_id="DeleteGateway")
async def delete_gateway(gateway_id: FromPath[str], session: NamedDependency[AsyncSession]) -> None:
    """Take a gateway away; nodes forget it within seconds, calls that run go on."""
    await gateways.delete_gateway(session, gateway_id)


async def _view(session: AsyncSession, gateway: Gateway) -> GatewayView:
    return gateway_view(gateway, (await gateways.states_of(session, [gateway.gateway_id]))[gateway.gateway_id])


ROUTES = [create_gateway, list_gateways, get_gateway, change_gateway, delete_gateway]
