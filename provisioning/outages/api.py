"""HTTP for what the cluster was seen with, and for maintenance as the cluster keeps it."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.api import read_month
from billing.outages import windows
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput
from provisioning.outages import conducting, giving_back, proposing
from provisioning.outages.models import Observation
from provisioning.outages.schemas import (
    ObservationView,
    ProposalView,
    WindowNodesView,
    WindowNodeView,
    observation_view,
    proposal_view,
    window_node_view,
)

STATES = ("suspected", "open", "ended")
ObservationState = Annotated[str | None, QueryParameter(name="state", description="`suspected`, `open` or `ended`")]


@get("/v1/observations", permission="faults:read", tags=["Faults"], operation_id="ListObservations")
async def list_observations(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    observation_state: ObservationState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ObservationView]:
    """What the cluster was seen with, newest first; an open one stands behind faults that last."""
    if observation_state is not None and observation_state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    query = principal.narrowed(select(Observation), Observation.tenant_id, tenant_id)
    if observation_state is not None:
        query = query.where(Observation.state == observation_state)
    rows, following = await fetch_page(session, query, keys=(Observation.observation_id,), limit=limit, after=after)
    return Page(items=[observation_view(row) for row in rows], next=following)


@get(
    "/v1/maintenance-windows/proposal",
    permission="maintenance:propose",
    tags=["Maintenance"],
    operation_id="ProposeMaintenanceWindow",
)
async def propose_window(
    session: NamedDependency[AsyncSession], month: FromQuery[str | None] = None, hours: FromQuery[int] = 2
) -> ProposalView:
    """The quietest `hours` hours of a month (`2026-07`; by default the next one) that can still be announced in time,
    with figures from the call records of the last four weeks."""
    wanted = Month.of(clock.today()).following if month is None else read_month(month)
    return proposal_view(await proposing.propose(session, wanted, hours=hours))


@get(
    "/v1/maintenance-windows/{window_id:str}/nodes",
    permission="nodes:read",
    tags=["Maintenance"],
    operation_id="ListWindowNodes",
)
async def list_window_nodes(window_id: FromPath[str], session: NamedDependency[AsyncSession]) -> WindowNodesView:
    """How a window goes through its nodes: one after another, each back before the next."""
    window = await windows.find(session, window_id)
    rows = await conducting.nodes_of(session, window.window_id)
    return WindowNodesView(window_id=window.window_id, nodes=[window_node_view(row) for row in rows])


@post(
    "/v1/maintenance-windows/{window_id:str}/nodes/{node:str}/done",
    permission="maintenance:write",
    tags=["Maintenance"],
    operation_id="FinishWindowNode",
    status_code=HTTP_200_OK,
)
async def finish_window_node(
    window_id: FromPath[str], node: FromPath[str], session: NamedDependency[AsyncSession]
) -> WindowNodeView:
    """Say that the work on a node (by its name) is done: it is given back now, and the next one has its turn."""
    return window_node_view(await giving_back.finish(session, window_id, node))


ROUTES = [list_observations, propose_window, list_window_nodes, finish_window_node]
