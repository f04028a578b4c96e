"""Which deliveries are next, and what came of them: each step one short transaction of one tenant.

The endpoint that has waited longest is served next. One that fails gets one message at a time, after a rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.sealing import Seal
from tenancy.webhooks import mails, retrying
from tenancy.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.webhooks.posting import TIMEOUT_SECONDS, Posted

IN_FLIGHT_LIMIT = 4
"""Messages under way to one endpoint at once."""
CLAIM = timedelta(seconds=6 * TIMEOUT_SECONDS)
"""How long a claimed delivery is left to whoever claimed it."""
SLOW_MILLISECONDS = 2_000
_OPEN = ("waiting", "sending")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint with something to be sent now."""

    tenant_id: str
    endpoint_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One message to be sent now, with the secrets that sign it, the newest first."""

    tenant_id: str
    endpoint_id: str
    delivery_id: str
    event_id: str
    url: str
    body: bytes
    secrets: tuple[str, ...] = field(repr=False)
    is_slow: bool


async def candidates(session: AsyncSession, now: datetime, *, slow: bool, limit: int) -> list[Candidate]:
    """Endpoints whose turn it is, slow ones or the others; the one that was served longest ago first."""
    if limit <= 0:
        return []
    due = exists().where(
        WebhookDelivery.tenant_id == WebhookEndpoint.tenant_id,
        WebhookDelivery.endpoint_id == WebhookEndpoint.endpoint_id,
        WebhookDelivery.state.in_(_OPEN),
        WebhookDelivery.next_attempt_at <= now,
    )
    query = (
        select(WebhookEndpoint.tenant_id, WebhookEndpoint.endpoint_id)
        .where(
            WebhookEndpoint.state == "enabled",
            WebhookEndpoint.is_slow.is_(slow),
            or_(WebhookEndpoint.resume_at.is_(None), WebhookEndpoint.resume_at <= now),
            due,
        )
        .order_by(WebhookEndpoint.served_at.nulls_first(), WebhookEndpoint.endpoint_id)
        .limit(limit)
    )
    return [Candidate(*row) for row in await session.execute(query)]


async def claim(session: AsyncSession, candidate: Candidate, seal: Seal, *, limit: int) -> list[Claimed]:
    """Take up to `limit` messages for one endpoint; none when another process is at it or its state has changed."""
    now = clock.now()
    query = (
        select(WebhookEndpoint)
        .where(
            WebhookEndpoint.tenant_id == candidate.tenant_id,
            WebhookEndpoint.endpoint_id == candidate.endpoint_id,
            WebhookEndpoint.state == "enabled",
            or_(WebhookEndpoint.resume_at.is_(None), WebhookEndpoint.resume_at <= now),
        )
        .with_for_update(skip_locked=True)
    )
    endpoint = (await session.execute(query)).scalar_one_or_none()
    if endpoint is None:
        return []
    endpoint.served_at = now
    most = 1 if endpoint.failing_since is not None else IN_FLIGHT_LIMIT
    free = min(limit, most - await _in_flight(session, endpoint, now))
    if free <= 0:
        return []
    query = (
        select(WebhookDelivery, WebhookEvent)
        .join(
            WebhookEvent,
            (WebhookEvent.tenant_id == WebhookDelivery.tenant_id) & (WebhookEvent.event_id == WebhookDelivery.event_id),
        )
        .where(
            WebhookDelivery.tenant_id == endpoint.tenant_id,
            WebhookDelivery.endpoint_id == endpoint.endpoint_id,
            WebhookDelivery.state.in_(_OPEN),
            WebhookDelivery.next_attempt_at <= now,
        )
        .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.delivery_id)
        .limit(free)
        .with_for_update(of=WebhookDelivery)
    )
    secrets = _secrets(endpoint, seal, now)
    claimed: list[Claimed] = []
    for delivery, event in await session.execute(query):
        delivery.state = "sending"
        delivery.next_attempt_at = now + CLAIM
        claimed.append(
            Claimed(
                tenant_id=endpoint.tenant_id,
                endpoint_id=endpoint.endpoint_id,
                delivery_id=delivery.delivery_id,
                event_id=event.event_id,
                url=endpoint.url,
                body=body_of(event),
                secrets=secrets,
                is_slow=endpoint.is_slow,
            )
        )
    return claimed


def body_of(event: WebhookEvent) -> bytes:
    """The message as it goes over the wire, the same in every attempt."""
    message = {"type": event.event_type, "timestamp": event.occurred_at.isoformat(), "data": event.data}
    return msgspec.json.encode(message, order="sorted")


async def note(session: AsyncSession, claimed: Claimed, begun_at: datetime, posted: Posted) -> None:
    """Keep what came of an attempt, and when to try again; a target that is gone or hopeless is switched off."""
    endpoint = await session.get(
        WebhookEndpoint, (claimed.tenant_id, claimed.endpoint_id), with_for_update=True, populate_existing=True
    )
    delivery = await session.get(
        WebhookDelivery, (claimed.tenant_id, claimed.delivery_id), with_for_update=True, populate_existing=True
    )
    if endpoint is None or delivery is None or delivery.state != "sending":
        return  # removed, or another process took it over after ours was too slow
    now = clock.now()
    delivery.attempts += 1
    delivery.attempts_left -= 1
    delivery.last_status, delivery.last_problem = posted.status, posted.problem
    session.add(
        WebhookAttempt(
            tenant_id=delivery.tenant_id,
            delivery_id=delivery.delivery_id,
            number=delivery.attempts,
            begun_at=begun_at,
            duration_milliseconds=posted.duration_milliseconds,
            address=posted.address,
            status=posted.status,
            problem=posted.problem,
            answer=posted.answer,
        )
    )
    if posted.problem is None:
        delivery.state, delivery.delivered_at = "delivered", now
        endpoint.failing_since, endpoint.failures, endpoint.resume_at = None, 0, None
        endpoint.is_slow = posted.duration_milliseconds > SLOW_MILLISECONDS
        return
    pause = retrying.pause_after(delivery.attempts_left, posted.retry_after)
    if pause is None:
        delivery.state = "given_up"
    else:
        delivery.state, delivery.next_attempt_at = "waiting", now + pause
    await _note_failure(session, endpoint, posted, now)


async def _note_failure(session: AsyncSession, endpoint: WebhookEndpoint, posted: Posted, now: datetime) -> None:
    endpoint.is_slow = True
    endpoint.failures += 1
    failing_since = endpoint.failing_since or now
    endpoint.failing_since = failing_since
    endpoint.resume_at = now + retrying.rest_after(endpoint.failures)
    if endpoint.state != "enabled":
        return
    if posted.is_gone:
        reason = "the target answered 410 Gone"
    elif retrying.is_hopeless(failing_since, endpoint.failures, now):
        reason = f"it has failed since {failing_since.isoformat()}: {posted.problem}"
    else:
        return
    endpoint.state, endpoint.disabled_reason, endpoint.changed_at = "disabled", reason, now
    await session.flush()
    await audit.record(
        session, endpoint.tenant_id, "webhook_endpoint.disabled", endpoint.endpoint_id, reason=reason, by_itself=True
    )
    await mails.post(session, endpoint)


async def _in_flight(session: AsyncSession, endpoint: WebhookEndpoint, now: datetime) -> int:
    query = select(func.count()).where(
        WebhookDelivery.tenant_id == endpoint.tenant_id,
        WebhookDelivery.endpoint_id == endpoint.endpoint_id,
        WebhookDelivery.state == "sending",
        WebhookDelivery.next_attempt_at > now,
    )
    return (await session.execute(query)).scalar_one()


def _secrets(endpoint: WebhookEndpoint, seal: Seal, now: datetime) -> tuple[str, ...]:
    sealed: Sequence[bytes] = [endpoint.sealed_secret]
    until = endpoint.former_secret_until
    if endpoint.sealed_former_secret is not None and until is not None and now < until:
        sealed = [endpoint.sealed_secret, endpoint.sealed_former_secret]
    return tuple(seal.open(each) for each in sealed)
