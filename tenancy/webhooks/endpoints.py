"""Endpoints of a tenant: made, changed, given a new secret, switched off and on, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, reasons
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal
from tenancy import tenants
from tenancy.webhooks import publishing, signing, targets
from tenancy.webhooks.errors import (
    DeliveryUnderWay,
    EndpointNotEnabled,
    EndpointNotFound,
    EventTypeUnknown,
    TooManyEndpoints,
)
from tenancy.webhooks.event_types import TEST, TYPES
from tenancy.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent

ENDPOINTS_LIMIT = 10
"""Of one tenant; removed ones do not count."""
DESCRIPTION_LIMIT_CHARACTERS = 200
OVERLAP = timedelta(hours=24)
"""How long messages are signed by the former secret too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where to, and of what."""

    url: str
    event_types: Sequence[str]
    description: str = ""


async def create(
    session: AsyncSession, seal: Seal, tenant_id: str, wanted: Wanted, *, inside_allowed: bool
) -> tuple[WebhookEndpoint, str]:
    """A new endpoint and its secret. Raises `TargetRefused`, `EventTypeUnknown`, `TooManyEndpoints`,
    `TenantClosed`."""
    _check(wanted, inside_allowed=inside_allowed)
    await tenants.get_staying(session, tenant_id, for_update=True)  # two at once would not see each other's endpoints
    query = select(func.count()).where(WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.state != "removed")
    if (await session.execute(query)).scalar_one() >= ENDPOINTS_LIMIT:
        raise TooManyEndpoints(f"A tenant has at most {ENDPOINTS_LIMIT} webhook endpoints; remove one first.")
    now, secret = clock.now(), signing.new_secret()
    endpoint = WebhookEndpoint(
        tenant_id=tenant_id,
        endpoint_id=new_id("whe"),
        url=wanted.url,
        description=wanted.description.strip(),
        event_types=sorted(set(wanted.event_types)),
        state="enabled",
        disabled_reason=None,
        sealed_secret=seal.close(secret),
        sealed_former_secret=None,
        former_secret_until=None,
        failing_since=None,
        failures=0,
        resume_at=None,
        is_slow=False,
        served_at=None,
        created_by=audit.actor.get(),
        created_at=now,
        changed_at=now,
    )
    session.add(endpoint)
    await session.flush()
    await _record(session, endpoint, "created", url=_plain(endpoint.url), event_types=endpoint.event_types)
    return endpoint, secret


async def change(
    session: AsyncSession, tenant_id: str | None, endpoint_id: str, wanted: Wanted, *, inside_allowed: bool
) -> WebhookEndpoint:
    """Another URL, other events or another description. What waits goes to the new URL. Raises as `create`."""
    _check(wanted, inside_allowed=inside_allowed)
    endpoint = await find(session, endpoint_id, tenant_id, for_update=True)
    if endpoint.url != wanted.url:
        endpoint.failing_since, endpoint.failures, endpoint.resume_at, endpoint.is_slow = None, 0, None, False
    endpoint.url, endpoint.description = wanted.url, wanted.description.strip()
    endpoint.event_types = sorted(set(wanted.event_types))
    endpoint.changed_at = clock.now()
    await _record(session, endpoint, "changed", url=_plain(endpoint.url), event_types=endpoint.event_types)
    return endpoint


async def rotate_secret(
    session: AsyncSession, seal: Seal, tenant_id: str | None, endpoint_id: str
) -> tuple[WebhookEndpoint, str]:
    """A new secret; for a day messages carry a signature by the former one too."""
    endpoint = await find(session, endpoint_id, tenant_id, for_update=True)
    now, secret = clock.now(), signing.new_secret()
    endpoint.sealed_former_secret, endpoint.former_secret_until = endpoint.sealed_secret, now + OVERLAP
    endpoint.sealed_secret, endpoint.changed_at = seal.close(secret), now
    await _record(session, endpoint, "secret_rotated")
    return endpoint, secret


async def disable(session: AsyncSession, tenant_id: str | None, endpoint_id: str, *, reason: str) -> WebhookEndpoint:
    """Send nothing more there; what waits goes on waiting, what happens meanwhile is not kept for it."""
    reason = reasons.given(reason)
    endpoint = await find(session, endpoint_id, tenant_id, for_update=True)
    if endpoint.state != "enabled":
        raise EndpointNotEnabled(f"The endpoint {endpoint_id} is disabled already.", field="endpoint_id")
    endpoint.state, endpoint.disabled_reason, endpoint.changed_at = "disabled", reason, clock.now()
    await _record(session, endpoint, "disabled", reason=reason)
    return endpoint


async def enable(session: AsyncSession, tenant_id: str | None, endpoint_id: str) -> WebhookEndpoint:
    """Send again, from a clean sheet; one that is enabled and resting begins at once."""
    endpoint = await find(session, endpoint_id, tenant_id, for_update=True)
    was = endpoint.state
    endpoint.state, endpoint.disabled_reason, endpoint.changed_at = "enabled", None, clock.now()
    endpoint.failing_since, endpoint.failures, endpoint.resume_at = None, 0, None
    await _record(session, endpoint, "enabled", was=was)
    return endpoint


async def remove(session: AsyncSession, tenant_id: str | None, endpoint_id: str) -> None:
    """End an endpoint: what waits for it is dropped, its secrets are wiped, its log can be seen for a month."""
    endpoint = await find(session, endpoint_id, tenant_id, for_update=True)
    endpoint.state, endpoint.changed_at = "removed", clock.now()
    endpoint.sealed_secret, endpoint.sealed_former_secret, endpoint.former_secret_until = b"", None, None
    await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.tenant_id == endpoint.tenant_id,
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.state.in_(("waiting", "sending")),
        )
        .values(state="dropped")
        .execution_options(synchronize_session=False)
    )
    await _record(session, endpoint, "removed")


async def test(session: AsyncSession, tenant_id: str | None, endpoint_id: str) -> str:
    """Send a `webhook.test` to this endpoint alone; returns the delivery's id.

    Raises `EndpointNotEnabled`, and `DeliveryUnderWay` while an earlier one has not arrived.
    """
    endpoint = await find(session, endpoint_id, tenant_id, for_update=True)
    if endpoint.state != "enabled":
        raise EndpointNotEnabled(f"The endpoint {endpoint_id} is disabled; enable it first.", field="endpoint_id")
    waiting = select(WebhookDelivery.delivery_id).join(
        WebhookEvent,
        (WebhookEvent.tenant_id == WebhookDelivery.tenant_id) & (WebhookEvent.event_id == WebhookDelivery.event_id),
    )
    waiting = waiting.where(
        WebhookDelivery.tenant_id == endpoint.tenant_id,
        WebhookDelivery.endpoint_id == endpoint_id,
        WebhookDelivery.state.in_(("waiting", "sending")),
        WebhookEvent.event_type == TEST,
    )
    under_way = (await session.execute(waiting.limit(1))).scalar_one_or_none()
    if under_way is not None:
        raise DeliveryUnderWay(
            f"The test {under_way} has not arrived yet: see what it met at GET /v1/webhook-deliveries/{under_way}.",
            field="endpoint_id",
        )
    event_id = publishing.new_event_id()
    data = {"tenant_id": endpoint.tenant_id, "endpoint_id": endpoint_id}
    await publishing.add(
        session, endpoint.tenant_id, [endpoint_id], TEST, data, occurred_at=clock.now(), event_id=event_id
    )
    query = select(WebhookDelivery.delivery_id).where(
        WebhookDelivery.tenant_id == endpoint.tenant_id, WebhookDelivery.event_id == event_id
    )
    return (await session.execute(query)).scalar_one()


async def find(
    session: AsyncSession, endpoint_id: str, tenant_id: str | None, *, for_update: bool = False
) -> WebhookEndpoint:
    """An endpoint that was not removed, narrowed to a tenant where the caller belongs to one."""
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.endpoint_id == endpoint_id, WebhookEndpoint.state != "removed"
    )
    if tenant_id is not None:
        query = query.where(WebhookEndpoint.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    endpoint = (await session.execute(query)).scalar_one_or_none()
    if endpoint is None:
        raise EndpointNotFound(f"There is no webhook endpoint {endpoint_id}.", field="endpoint_id")
    return endpoint


def _check(wanted: Wanted, *, inside_allowed: bool) -> None:
    targets.read(wanted.url, inside_allowed=inside_allowed)
    if not wanted.event_types:
        raise EventTypeUnknown(f"Name at least one event, such as {TYPES[0]}.", field="event_types")
    for index, each in enumerate(wanted.event_types):
        if each not in TYPES:
            raise EventTypeUnknown(
                f"{each[:60]!r} is no event; GET /v1/webhook-event-types lists them.", field=f"event_types[{index}]"
            )
    if len(wanted.description) > DESCRIPTION_LIMIT_CHARACTERS:
        raise InvalidInput(f"A description has at most {DESCRIPTION_LIMIT_CHARACTERS} characters.", field="description")


async def _record(session: AsyncSession, endpoint: WebhookEndpoint, what: str, **facts: object) -> None:
    await session.flush()
    await audit.record(session, endpoint.tenant_id, f"webhook_endpoint.{what}", endpoint.endpoint_id, **facts)


def _plain(url: str) -> str:
    """A URL without its query, which often holds a key."""
    return url.partition("?")[0]
