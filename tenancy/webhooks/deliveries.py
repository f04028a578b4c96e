"""The delivery log, and replays from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.problems import InvalidInput
from tenancy.webhooks import endpoints
from tenancy.webhooks.errors import DeliveryNotFound, DeliveryUnderWay, EndpointNotEnabled
from tenancy.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEvent
from tenancy.webhooks.retrying import ATTEMPTS_LIMIT

STATES = ("waiting", "sending", "delivered", "given_up", "dropped")
REPLAY_LIMIT = 10_000
"""Deliveries that one request may replay."""


def wanted(*, tenant_id: str | None, endpoint_id: str | None, state: str | None) -> Select[WebhookDelivery]:
    """Deliveries narrowed to a tenant, an endpoint and a state. Raises `InvalidInput` for the state."""
    if state is not None and state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    query = select(WebhookDelivery)
    for column, value in (
        (WebhookDelivery.tenant_id, tenant_id),
        (WebhookDelivery.endpoint_id, endpoint_id),
        (WebhookDelivery.state, state),
    ):
        if value is not None:
            query = query.where(column == value)
    return query


async def find(
    session: AsyncSession, delivery_id: str, tenant_id: str | None, *, for_update: bool = False
) -> WebhookDelivery:
    """A delivery, narrowed to a tenant where the caller belongs to one. Raises `DeliveryNotFound`."""
    query = select(WebhookDelivery).where(WebhookDelivery.delivery_id == delivery_id)
    if tenant_id is not None:
        query = query.where(WebhookDelivery.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    delivery = (await session.execute(query)).scalar_one_or_none()
    if delivery is None:
        raise DeliveryNotFound(f"There is no webhook delivery {delivery_id}.", field="delivery_id")
    return delivery


async def event_of(session: AsyncSession, delivery: WebhookDelivery) -> WebhookEvent:
    """What a delivery tells."""
    return await session.get_one(WebhookEvent, (delivery.tenant_id, delivery.event_id))


async def types_of(session: AsyncSession, rows: Sequence[WebhookDelivery]) -> dict[str, str]:
    """The event types of deliveries, by event."""
    query = select(WebhookEvent.event_id, WebhookEvent.event_type).where(
        WebhookEvent.tenant_id.in_({row.tenant_id for row in rows}),
        WebhookEvent.event_id.in_({row.event_id for row in rows}),
    )
    return {row.event_id: row.event_type for row in await session.execute(query)}


async def attempts_of(session: AsyncSession, delivery: WebhookDelivery) -> list[WebhookAttempt]:
    """Every attempt, the first one first."""
    query = (
        select(WebhookAttempt)
        .where(WebhookAttempt.tenant_id == delivery.tenant_id, WebhookAttempt.delivery_id == delivery.delivery_id)
        .order_by(WebhookAttempt.number)
    )
    return list((await session.execute(query)).scalars())


async def replay(session: AsyncSession, tenant_id: str | None, delivery_id: str) -> WebhookDelivery:
    """Send a message once more, with the same `webhook-id` and every attempt anew.

    Raises `DeliveryUnderWay`, `EndpointNotEnabled`, `EndpointNotFound` where the endpoint was removed.
    """
    delivery = await find(session, delivery_id, tenant_id, for_update=True)
    await _check_enabled(session, delivery.tenant_id, delivery.endpoint_id)
    if delivery.state in ("waiting", "sending"):
        raise DeliveryUnderWay(f"The delivery {delivery_id} is {delivery.state}.", field="delivery_id")
    delivery.state, delivery.attempts_left, delivery.next_attempt_at = "waiting", ATTEMPTS_LIMIT, clock.now()
    await session.flush()
    await audit.record(session, delivery.tenant_id, "webhook_delivery.replayed", delivery_id)
    return delivery


async def replay_since(session: AsyncSession, tenant_id: str | None, endpoint_id: str, since: datetime) -> int:
    """Send everything once more that was given up for an endpoint since a moment; returns how many.

    Raises `EndpointNotEnabled`, and `InvalidInput` when it is more than `REPLAY_LIMIT`.
    """
    endpoint = await endpoints.find(session, endpoint_id, tenant_id)
    await _check_enabled(session, endpoint.tenant_id, endpoint_id)
    given_up = await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.tenant_id == endpoint.tenant_id,
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.state == "given_up",
            WebhookDelivery.created_at >= since,
        )
        .values(state="waiting", attempts_left=ATTEMPTS_LIMIT, next_attempt_at=clock.now())
        .returning(WebhookDelivery.delivery_id)
        .execution_options(synchronize_session=False)
    )
    count = len(given_up.scalars().all())
    if count > REPLAY_LIMIT:
        raise InvalidInput(f"These are {count} deliveries; at most {REPLAY_LIMIT} at a time.", field="since")
    await audit.record(
        session, endpoint.tenant_id, "webhook_endpoint.replayed", endpoint_id, since=since.isoformat(), count=count
    )
    return count


async def _check_enabled(session: AsyncSession, tenant_id: str, endpoint_id: str) -> None:
    endpoint = await endpoints.find(session, endpoint_id, tenant_id)
    if endpoint.state != "enabled":
        raise EndpointNotEnabled(f"The endpoint {endpoint_id} is disabled; enable it first.", field="endpoint_id")
