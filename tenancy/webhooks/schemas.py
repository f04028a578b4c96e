"""Request and response bodies of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from infra.kit.http import Body, View
from tenancy.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent


class EndpointChange(Body):
    """Where webhooks go and of which events."""

    url: str
    event_types: list[str]
    description: str = ""


class NewEndpoint(EndpointChange):
    """An endpoint to create; `tenant_id` is the caller's own."""

    tenant_id: str | None = None


class Disabling(Body):
    """Why nothing more is sent there."""

    reason: str


class ReplayRequest(Body):
    """Everything given up since this moment (with its offset) is sent once more."""

    since: datetime


class EndpointView(View):
    """An endpoint without its secret.

    `state` is `enabled` or `disabled`; `failing_since` tells of the first failure after the last success, and
    `resume_at` until when the endpoint is given a rest.
    """

    endpoint_id: str
    tenant_id: str
    url: str
    description: str
    event_types: list[str]
    state: str
    disabled_reason: str | None
    failing_since: datetime | None
    failures: int
    resume_at: datetime | None
    former_secret_until: datetime | None
    created_by: str
    created_at: datetime
    changed_at: datetime


class EndpointWithSecret(EndpointView):
    """An endpoint with a new secret: the only time it is shown."""

    secret: str


class DeliveryView(View):
    """A message on its way to an endpoint. `state` is `waiting`, `sending`, `delivered`, `given_up` or `dropped`."""

    delivery_id: str
    tenant_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_problem: str | None
    created_at: datetime
    delivered_at: datetime | None


class AttemptView(View):
    """One attempt; `problem` is null when the message was taken."""

    number: int
    begun_at: datetime
    duration_milliseconds: int
    address: str | None
    status: int | None
    problem: str | None
    answer: str


class DeliveryDetails(DeliveryView):
    """A delivery with what it tells and what came of each attempt."""

    occurred_at: datetime
    data: dict[str, Any]
    attempt_log: list[AttemptView]


class ReplayView(View):
    """How many deliveries are sent once more."""

    replayed: int


class EventTypesView(View):
    """Every event that an endpoint may subscribe to."""

    event_types: list[str]


def endpoint_view(endpoint: WebhookEndpoint) -> EndpointView:
    """An endpoint as the API shows it."""
    return EndpointView(**_endpoint_members(endpoint))


def endpoint_with_secret(endpoint: WebhookEndpoint, secret: str) -> EndpointWithSecret:
    """An endpoint with the secret that is shown once."""
    return EndpointWithSecret(**_endpoint_members(endpoint), secret=secret)


def delivery_view(delivery: WebhookDelivery, event_type: str) -> DeliveryView:
    """A delivery as lists show it."""
    return DeliveryView(**_delivery_members(delivery, event_type))


def delivery_details(
    delivery: WebhookDelivery, event: WebhookEvent, attempts: Sequence[WebhookAttempt]
) -> DeliveryDetails:
    """A delivery with its log."""
    return DeliveryDetails(
        **_delivery_members(delivery, event.event_type),
        occurred_at=event.occurred_at,
        data=event.data,
        attempt_log=[
            AttemptView(**{name: getattr(each, name) for name in AttemptView.__struct_fields__}) for each in attempts
        ],
    )


def _endpoint_members(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in EndpointView.__struct_fields__}


def _delivery_members(delivery: WebhookDelivery, event_type: str) -> dict[str, Any]:
    open_still = delivery.state in ("waiting", "sending")
    return {
        name: getattr(delivery, name)
        for name in DeliveryView.__struct_fields__
        if name not in ("event_type", "next_attempt_at")
    } | {"event_type": event_type, "next_attempt_at": delivery.next_attempt_at if open_still else None}
