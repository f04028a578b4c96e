"""Refusals of webhooks."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, NotFound


class TargetRefused(InvalidInput):
    """Nothing is sent to such a URL."""

    code = "webhook_target_refused"


class EventTypeUnknown(InvalidInput):
    """There is no such event."""

    code = "webhook_event_type_unknown"


class EndpointNotFound(NotFound):
    """There is no such endpoint for this caller."""

    code = "webhook_endpoint_not_found"


class DeliveryNotFound(NotFound):
    """There is no such delivery for this caller."""

    code = "webhook_delivery_not_found"


class EndpointNotEnabled(Conflict):
    """The endpoint is switched off."""

    code = "webhook_endpoint_not_enabled"


class TooManyEndpoints(Conflict):
    """The tenant has as many endpoints as it may."""

    code = "too_many_webhook_endpoints"


class DeliveryUnderWay(Conflict):
    """The delivery still waits or is being sent."""

    code = "webhook_delivery_under_way"
