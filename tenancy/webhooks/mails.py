"""The mail when an endpoint was switched off by itself: nobody looks at a log that nothing comes from."""

from __future__ import annotations

from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, moment_text
from tenancy import readers, tenants
from tenancy.webhooks.models import WebhookEndpoint

DISABLED = "webhook_disabled"


async def post(session: AsyncSession, endpoint: WebhookEndpoint) -> int:
    """Put the mail into the outbox for each who reads the tenant's mail; returns how many."""
    told = await readers.of_tenant(session, endpoint.tenant_id)
    for recipient, language in told.items():
        await posting.put(
            session,
            kind=DISABLED,
            subject_id=endpoint.endpoint_id,
            tenant_id=endpoint.tenant_id,
            recipient=recipient,
            language=language,
        )
    return len(told)


@kind(DISABLED)
async def webhook_disabled(desk: Desk) -> Draft | None:
    """Tell that nothing is sent to a target any more; pointless once it was enabled again or removed."""
    endpoint = await desk.session.get(WebhookEndpoint, (desk.mail.tenant_id, desk.mail.subject_id))
    if endpoint is None or endpoint.state != "disabled" or endpoint.failing_since is None:
        return None
    tenant = await tenants.get(desk.session, endpoint.tenant_id)
    language = desk.mail.language
    values = {
        "tenant_name": tenant.name,
        "host": urlsplit(endpoint.url).hostname or "",  # the rest of a URL may hold a key
        "endpoint_id": endpoint.endpoint_id,
        "failing_since": moment_text(endpoint.failing_since, language),
        "failures": endpoint.failures,
    }
    words = compose(DISABLED, language, values, desk.settings.operator, alarming=True)
    return Draft(words, desk.settings.operator.name)
