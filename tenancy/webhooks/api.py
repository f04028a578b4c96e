"""HTTP for webhooks: endpoints, their secrets, and the log of deliveries."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from tenancy.webhooks import deliveries, endpoints
from tenancy.webhooks.endpoints import Wanted
from tenancy.webhooks.event_types import TYPES
from tenancy.webhooks.models import WebhookDelivery, WebhookEndpoint
from tenancy.webhooks.schemas import (
    DeliveryDetails,
    DeliveryView,
    Disabling,
    EndpointChange,
    EndpointView,
    EndpointWithSecret,
    EventTypesView,
    NewEndpoint,
    ReplayRequest,
    ReplayView,
    delivery_details,
    delivery_view,
    endpoint_view,
    endpoint_with_secret,
)

TAGS = ["Webhooks"]
DeliveryState = Annotated[str | None, QueryParameter(name="state", description=", ".join(deliveries.STATES))]


@post("/v1/webhook-endpoints", permission="webhooks:write", tags=TAGS, operation_id="CreateWebhookEndpoint")
async def create_endpoint(
    data: JSONBody[NewEndpoint],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    seal: NamedDependency[Seal],
    settings: NamedDependency[Settings],
) -> EndpointWithSecret:
    """Have events sent to a URL as signed POSTs (Standard Webhooks). The secret is shown this once."""
    wanted = Wanted(url=data.url, event_types=data.event_types, description=data.description)
    endpoint, secret = await endpoints.create(
        session, seal, principal.tenant_for(data.tenant_id), wanted, inside_allowed=_inside_allowed(settings)
    )
    return endpoint_with_secret(endpoint, secret)


@get("/v1/webhook-endpoints", permission="webhooks:read", tags=TAGS, operation_id="ListWebhookEndpoints")
async def list_endpoints(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[EndpointView]:
    """Endpoints, newest first."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.state != "removed")
    query = principal.narrowed(query, WebhookEndpoint.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(WebhookEndpoint.endpoint_id,), limit=limit, after=after)
    return Page(items=[endpoint_view(row) for row in rows], next=following)


@get(
    "/v1/webhook-endpoints/{endpoint_id:str}",
    permission="webhooks:read",
    tags=TAGS,
    operation_id="GetWebhookEndpoint",
)
async def get_endpoint(
    endpoint_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> EndpointView:
    """One endpoint."""
    return endpoint_view(await endpoints.find(session, endpoint_id, principal.tenant_id))


@put(
    "/v1/webhook-endpoints/{endpoint_id:str}",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="ChangeWebhookEndpoint",
)
async def change_endpoint(
    endpoint_id: FromPath[str],
    data: JSONBody[EndpointChange],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> EndpointView:
    """Another URL, other events, another description; what still waits goes to the new URL."""
    wanted = Wanted(url=data.url, event_types=data.event_types, description=data.description)
    allowed = _inside_allowed(settings)
    return endpoint_view(
        await endpoints.change(session, principal.tenant_id, endpoint_id, wanted, inside_allowed=allowed)
    )


@delete(
    "/v1/webhook-endpoints/{endpoint_id:str}",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="RemoveWebhookEndpoint",
)
async def remove_endpoint(
    endpoint_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> None:
    """End an endpoint; what waits for it is dropped."""
    await endpoints.remove(session, principal.tenant_id, endpoint_id)


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/secret-rotation",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="RotateWebhookSecret",
    status_code=HTTP_200_OK,
)
async def rotate_secret(
    endpoint_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    seal: NamedDependency[Seal],
) -> EndpointWithSecret:
    """A new secret, shown this once; for 24 hours messages carry a signature by the former one too."""
    return endpoint_with_secret(*await endpoints.rotate_secret(session, seal, principal.tenant_id, endpoint_id))


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/deactivation",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="DisableWebhookEndpoint",
    status_code=HTTP_200_OK,
)
async def disable_endpoint(
    endpoint_id: FromPath[str],
    data: JSONBody[Disabling],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> EndpointView:
    """Send nothing more there for now. What happens meanwhile is not kept for it."""
    return endpoint_view(await endpoints.disable(session, principal.tenant_id, endpoint_id, reason=data.reason))


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/activation",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="EnableWebhookEndpoint",
    status_code=HTTP_200_OK,
)
async def enable_endpoint(
    endpoint_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> EndpointView:
    """Send again, also to one that was switched off because it had failed for days."""
    return endpoint_view(await endpoints.enable(session, principal.tenant_id, endpoint_id))


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/test",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="TestWebhookEndpoint",
)
async def test_endpoint(
    endpoint_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> DeliveryDetails:
    """Send a `webhook.test` to this endpoint; the answer names the delivery to look at."""
    delivery_id = await endpoints.test(session, principal.tenant_id, endpoint_id)
    return await _details(session, await deliveries.find(session, delivery_id, principal.tenant_id))


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/replay",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="ReplayWebhookEndpoint",
    status_code=HTTP_200_OK,
)
async def replay_endpoint(
    endpoint_id: FromPath[str],
    data: JSONBody[ReplayRequest],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> ReplayView:
    """Send everything once more that was given up since a moment."""
    return ReplayView(replayed=await deliveries.replay_since(session, principal.tenant_id, endpoint_id, data.since))


@get("/v1/webhook-event-types", permission="webhooks:read", tags=TAGS, operation_id="ListWebhookEventTypes")
async def list_event_types() -> EventTypesView:
    """The events that an endpoint may subscribe to."""
    return EventTypesView(event_types=list(TYPES))


@get("/v1/webhook-deliveries", permission="webhooks:read", tags=TAGS, operation_id="ListWebhookDeliveries")
async def list_deliveries(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    endpoint_id: FromQuery[str | None] = None,
    delivery_state: DeliveryState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[DeliveryView]:
    """The delivery log of the last 30 days, newest first."""
    query = deliveries.wanted(
        tenant_id=principal.tenant_filter(tenant_id), endpoint_id=endpoint_id, state=delivery_state
    )
    rows, following = await fetch_page(session, query, keys=(WebhookDelivery.delivery_id,), limit=limit, after=after)
    types = await deliveries.types_of(session, rows)
    return Page(items=[delivery_view(row, types[row.event_id]) for row in rows], next=following)


@get(
    "/v1/webhook-deliveries/{delivery_id:str}",
    permission="webhooks:read",
    tags=TAGS,
    operation_id="GetWebhookDelivery",
)
async def get_delivery(
    delivery_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> DeliveryDetails:
    """One delivery with its message and every attempt."""
    return await _details(session, await deliveries.find(session, delivery_id, principal.tenant_id))


@post(
    "/v1/webhook-deliveries/{delivery_id:str}/replay",
    permission="webhooks:write",
    tags=TAGS,
    operation_id="ReplayWebhookDelivery",
    status_code=HTTP_200_OK,
)
async def replay_delivery(
    delivery_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> DeliveryDetails:
    """Send one message once more, with the same `webhook-id`."""
    return await _details(session, await deliveries.replay(session, principal.tenant_id, delivery_id))


async def _details(session: AsyncSession, delivery: WebhookDelivery) -> DeliveryDetails:
    event = await deliveries.event_of(session, delivery)
    return delivery_details(delivery, event, await deliveries.attempts_of(session, delivery))


def _inside_allowed(settings: Settings) -> bool:
    return settings.environment == "development"


ROUTES = [
    create_endpoint,
    list_endpoints,
    get_endpoint,
    change_endpoint,
    remove_endpoint,
    rotate_secret,
    disable_endpoint,
    enable_endpoint,
    test_endpoint,
    replay_endpoint,
    list_event_types,
    list_deliveries,
    get_delivery,
    replay_delivery,
]
