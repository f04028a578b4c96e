"""From what happened to what has to be sent: in the transaction of the change itself, or not at all.

A tenant without an endpoint for an event costs one look at a small table and leaves no row behind.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.models import AuditEntry
from tenancy.webhooks import event_types
from tenancy.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.webhooks.retrying import ATTEMPTS_LIMIT

TELL_EVERY_TENANT = "tenancy.tell_every_tenant"


def new_event_id() -> str:
    """An event's id."""
    return new_id("evt")


async def publish(
    session: AsyncSession,
    tenant_id: str,
    event_type: str,
    data: dict[str, Any],
    *,
    occurred_at: datetime | None = None,
    event_id: str | None = None,
) -> bool:
    """Put an event on its way to every endpoint of the tenant that wants it; False where there is none.

    With the `event_id` of an event that is known nothing happens again.
    """
    endpoint_ids = await subscribed(session, tenant_id, event_type)
    if not endpoint_ids:
        return False
    occurred_at = occurred_at or clock.now()
    event_id = event_id or new_event_id()
    await add(session, tenant_id, endpoint_ids, event_type, data, occurred_at=occurred_at, event_id=event_id)
    return True


async def subscribed(session: AsyncSession, tenant_id: str, event_type: str) -> list[str]:
    """The tenant's enabled endpoints that want such events."""
    query = select(WebhookEndpoint.endpoint_id).where(
        WebhookEndpoint.tenant_id == tenant_id,
        WebhookEndpoint.state == "enabled",
        WebhookEndpoint.event_types.contains([event_type]),
    )
    with session.no_autoflush:  # the change that is being told may be half made
        return list((await session.execute(query)).scalars())


async def add(
    session: AsyncSession,
    tenant_id: str,
    endpoint_ids: list[str],
    event_type: str,
    data: dict[str, Any],
    *,
    occurred_at: datetime,
    event_id: str,
) -> None:
    """Keep an event and a delivery for each of these endpoints, each once."""
    now = clock.now()
    event = {
        "tenant_id": tenant_id,
        "event_id": event_id,
        "event_type": event_type,
        "occurred_at": occurred_at,
        "data": data,
    }
    deliveries = [
        {
            "tenant_id": tenant_id,
            "delivery_id": new_id("whd"),
            "endpoint_id": endpoint_id,
            "event_id": event_id,
            "state": "waiting",
            "attempts": 0,
            "attempts_left": ATTEMPTS_LIMIT,
            "next_attempt_at": now,
            "created_at": now,
        }
        for endpoint_id in endpoint_ids
    ]
    with session.no_autoflush:
        await session.execute(insert(WebhookEvent).values(event).on_conflict_do_nothing())
        await session.execute(insert(WebhookDelivery).values(deliveries).on_conflict_do_nothing())


@audit.watch
async def tell_of_entry(session: AsyncSession, entry: AuditEntry) -> None:
    """Publish what an audit entry tells, where tenants may hear of it; of the platform's own every tenant hears."""
    told = event_types.BY_ACTION.get(entry.action)
    if told is None:
        return
    if entry.tenant_id == PLATFORM:
        await jobs.defer(
            session,
            TELL_EVERY_TENANT,
            event_id=new_event_id(),
            event_type=told.event_type,
            object_name=told.object_name,
            object_id=entry.object_id,
            facts={name: entry.facts[name] for name in told.facts if name in entry.facts},
            occurred_at=entry.occurred_at.isoformat(),
        )
        return
    data = event_types.data_of(told, entry.tenant_id, entry.object_id, entry.facts)
    await publish(session, entry.tenant_id, told.event_type, data, occurred_at=entry.occurred_at)
