"""Background work of webhooks beside the sending itself: what concerns every tenant, and what has become old."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from infra.kit import clock, jobs
from infra.kit.database import Scope
from tenancy.webhooks import mails, publishing
from tenancy.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent

MAILS = (mails.DISABLED,)
"""Named here so that every worker can write them."""
KEPT = timedelta(days=30)
"""How long events and the log of their deliveries can be seen and replayed."""
CHUNK_ROWS = 1_000


@jobs.task(publishing.TELL_EVERY_TENANT)
async def tell_every_tenant(
    runtime: jobs.Runtime,
    *,
    event_id: str,
    event_type: str,
    object_name: str,
    object_id: str | None,
    facts: dict[str, Any],
    occurred_at: str,
) -> None:
    """Tell each tenant that wants to hear of it, one transaction a tenant; those already told are not told again."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = (
            select(WebhookEndpoint.tenant_id)
            .where(WebhookEndpoint.state == "enabled", WebhookEndpoint.event_types.contains([event_type]))
            .distinct()
            .order_by(WebhookEndpoint.tenant_id)
        )
        tenant_ids = list((await session.execute(query)).scalars())
    for tenant_id in tenant_ids:
        async with runtime.database.transaction(Scope.platform()) as session:
            await publishing.publish(
                session,
                tenant_id,
                event_type,
                {"tenant_id": tenant_id, object_name: object_id} | facts,
                occurred_at=datetime.fromisoformat(occurred_at),
                event_id=event_id,
            )


@jobs.task("tenancy.forget_webhooks")
async def forget_webhooks(runtime: jobs.Runtime) -> None:
    """Remove events that are older than `KEPT` with everything about them, and endpoints removed as long ago."""
    oldest = clock.now() - KEPT
    while await _forget_chunk(runtime, oldest):
        pass
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(
            delete(WebhookEndpoint).where(WebhookEndpoint.state == "removed", WebhookEndpoint.changed_at < oldest)
        )


async def _forget_chunk(runtime: jobs.Runtime, oldest: datetime) -> bool:
    """Remove some events of one tenant; False when none is left."""
    async with runtime.database.transaction(Scope.platform()) as session:
        first = select(WebhookEvent.tenant_id).where(WebhookEvent.occurred_at < oldest).limit(1)
        tenant_id = (await session.execute(first)).scalar_one_or_none()
        if tenant_id is None:
            return False
        query = (
            select(WebhookEvent.event_id)
            .where(WebhookEvent.tenant_id == tenant_id, WebhookEvent.occurred_at < oldest)
            .limit(CHUNK_ROWS)
        )
        event_ids = list((await session.execute(query)).scalars())
        query = select(WebhookDelivery.delivery_id).where(
            WebhookDelivery.tenant_id == tenant_id, WebhookDelivery.event_id.in_(event_ids)
        )
        delivery_ids = list((await session.execute(query)).scalars())
        attempts = WebhookAttempt.tenant_id == tenant_id, WebhookAttempt.delivery_id.in_(delivery_ids)
        sent = WebhookDelivery.tenant_id == tenant_id, WebhookDelivery.delivery_id.in_(delivery_ids)
        told = WebhookEvent.tenant_id == tenant_id, WebhookEvent.event_id.in_(event_ids)
        for table, which in ((WebhookAttempt, attempts), (WebhookDelivery, sent), (WebhookEvent, told)):
            await session.execute(delete(table).where(*which).execution_options(synchronize_session=False))
    return True
