"""The mail when an endpoint was switched off by itself: nobody looks at a log that nothing comes from."""

from __future__ import annotations

from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, moment_text
from tenancy import tenants
from tenancy.people.models import Person
from tenancy.webhooks.models import WebhookEndpoint

DISABLED = "webhook_disabled"
DEFAULT_LANGUAGE = "zh"
READERS_LIMIT = 20


async def post(session: AsyncSession, endpoint: WebhookEndpoint) -> int:
    """Put the mail into the outbox for each of the tenant's admins, or where it has none for the address that it signed
    with; returns how many."""
    admins = (
        select(Person.address, Person.language)
        .where(Person.tenant_id == endpoint.tenant_id, Person.role == "tenant_admin", Person.removed_at.is_(None))
        .order_by(Person.person_id)
        .limit(READERS_LIMIT)
    )
    readers = {row.address: row.language for row in await session.execute(admins)}
    if not readers:
        tenant = await tenants.get(session, endpoint.tenant_id)
        readers = {tenant.contact_email or "": DEFAULT_LANGUAGE}
    for recipient, language in readers.items():
        await posting.put(
            session,
            kind=DISABLED,
            subject_id=endpoint.endpoint_id,
            tenant_id=endpoint.tenant_id,
            recipient=recipient,
            language=language,
        )
    return len(readers)


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
