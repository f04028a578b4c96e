"""HTTP for what goes on now: calls, registrations, hanging up, and a stream of changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import ServerSentEvent
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Database
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import presented
from switch.commands import NodeControl
from switch.live import hang_up, stream
from switch.live.feed import LiveFeed
from switch.live.models import LiveLeg, LiveNode, LiveRegistration
from switch.live.schemas import (
    HangUpView,
    LiveCallView,
    LiveNodeView,
    LiveRegistrationView,
    live_call_view,
    live_node_view,
    live_registration_view,
)
from tenancy.callers import Callers

TAGS = ["Live view"]


@get("/v1/live/calls", permission="live:read", tags=TAGS, operation_id="ListLiveCalls")
async def list_live_calls(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    node: FromQuery[str | None] = None,
    seat_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[LiveCallView]:
    """The call legs that run now, as the nodes told within the last seconds."""
    query = principal.narrowed(select(LiveLeg), LiveLeg.tenant_id, tenant_id)
    if node is not None:
        query = query.where(LiveLeg.node == node)
    if seat_id is not None:
        query = query.where(LiveLeg.seat_id == seat_id)
    rows, following = await fetch_page(session, query, keys=(LiveLeg.leg_id,), limit=limit, after=after)
    return Page(items=[live_call_view(row) for row in rows], next=following)


@get("/v1/live/registrations", permission="live:read", tags=TAGS, operation_id="ListLiveRegistrations")
async def list_live_registrations(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    node: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[LiveRegistrationView]:
    """The phones that are registered now, as the nodes told within the last seconds."""
    query = principal.narrowed(select(LiveRegistration), LiveRegistration.tenant_id, tenant_id)
    if node is not None:
        query = query.where(LiveRegistration.node == node)
    keys = (LiveRegistration.tenant_id, LiveRegistration.username, LiveRegistration.call_id, LiveRegistration.node)
    rows, following = await fetch_page(session, query, keys=keys, limit=limit, after=after)
    return Page(items=[live_registration_view(row) for row in rows], next=following)


@get("/v1/live/nodes", permission="nodes:read", tags=TAGS, operation_id="ListLiveNodes")
async def list_live_nodes(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[LiveNodeView]:
    """How well each node is seen: when it was last compared, and what could not be placed."""
    rows, following = await fetch_page(session, select(LiveNode), keys=(LiveNode.node,), limit=limit, after=after)
    return Page(items=[live_node_view(row) for row in rows], next=following)


@post(
    "/v1/live/calls/{leg_id:str}/hangup",
    permission="live:hang_up",
    tags=TAGS,
    operation_id="HangUpLiveCall",
    status_code=HTTP_200_OK,
)
async def hang_up_live_call(
    *,
    leg_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    seal: NamedDependency[Seal],
) -> HangUpView:
    """End a leg that runs now, and with it its call; 404 when it has ended, 409 for an emergency call."""
    control = NodeControl(seal, settings.switch_command_timeout_seconds)
    leg = await hang_up.hang_up(session, database, control, leg_id, tenant_id=principal.tenant_filter(None))
    return HangUpView(leg_id=leg.leg_id, node=leg.node, hangup_cause=hang_up.HANG_UP_CAUSE)


@get(
    "/v1/live/events",
    permission="live:read",
    tags=TAGS,
    operation_id="FollowLiveEvents",
    media_type="text/event-stream",
)
async def follow_live_events(
    *,
    request: Request[Any, Any, Any],
    principal: NamedDependency[Principal],
    database: NamedDependency[Database],
    live_feed: NamedDependency[LiveFeed],
    settings: NamedDependency[Settings],
    tenant_id: FromQuery[str | None] = None,
) -> ServerSentEvent:
    """Calls and registrations as they change (server-sent events): `snapshot`, then `change`; `end` with the token."""
    wanted = principal.tenant_filter(tenant_id)
    live_feed.check(principal.client_id, principal.tenant_id)
    shown = replace(presented(dict(request.scope)), is_activity=False)
    authenticated = partial(Callers(settings).authenticate, presented=shown)
    return ServerSentEvent(stream.follow(database, live_feed, principal, authenticated, tenant_id=wanted))


ROUTES = [list_live_calls, list_live_registrations, list_live_nodes, hang_up_live_call, follow_live_events]
