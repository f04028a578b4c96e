"""The mails of a departure: announced, called off. They go to who gets mail about contracts (C26)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.reminders import contacts
from billing.reminders.topics import DEFAULT_LANGUAGE
from infra.kit import clock
from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, day_text
from provisioning.departure import readiness
from provisioning.departure.models import Departure
from provisioning.rules import departure as rules
from tenancy import tenants

ANNOUNCED = "departure_announced"
CANCELLED = "departure_cancelled"
OPERATOR_WAITS = "operator_departure_waits"
TOPIC = "contracts"


async def post(session: AsyncSession, departure: Departure, mail: str) -> int:
    """Put the mail `ANNOUNCED` or `CANCELLED` into the outbox for each contact; returns how many.

    Without billing contacts it goes to the tenant's own address; a tenant with neither is noted as not reached.
    """
    tenant = await tenants.get(session, departure.tenant_id)
    recipients = {
        each.address: each.language
        for each in await contacts.of_tenant(session, tenant.tenant_id)
        if TOPIC in each.topics
    } or {tenant.contact_email or "": DEFAULT_LANGUAGE}
    for recipient, language in recipients.items():
        await posting.put(
            session,
            kind=mail,
            subject_id=departure.departure_id,
            tenant_id=tenant.tenant_id,
            recipient=recipient,
            language=language,
        )
    return len(recipients)


@kind(ANNOUNCED)
async def departure_announced(desk: Desk) -> Draft | None:
    """Tell from when on the data is erased, and how to take it along; pointless once it was called off."""
    return await _draft(desk, ANNOUNCED, state="announced", alarming=True)


@kind(CANCELLED)
async def departure_cancelled(desk: Desk) -> Draft | None:
    """Tell that nothing is erased."""
    return await _draft(desk, CANCELLED, state="cancelled", alarming=False)


@kind(OPERATOR_WAITS)
async def operator_departure_waits(desk: Desk) -> Draft | None:
    """Tell the operator that a tenant's end waits for its announcement; pointless once it is announced, or not settled
    any more."""
    known = select(Departure).where(Departure.tenant_id == desk.mail.tenant_id, Departure.state != "cancelled")
    account = await readiness.account_of(desk.session, desk.mail.tenant_id)
    if (await desk.session.execute(known)).first() is not None or account.last_end is None or rules.obstacles(account):
        return None
    tenant = await tenants.get(desk.session, desk.mail.tenant_id)
    language, settings = desk.mail.language, desk.settings
    values = {
        "tenant_name": tenant.name,
        "tenant_id": tenant.tenant_id,
        "last_end": day_text(account.last_end, language),
        "earliest": day_text(
            rules.earliest_day(
                account.last_end,
                clock.today(),
                retention_days=settings.retention_days,
                notice_days=settings.departure_notice_days,
            ),
            language,
        ),
    }
    words = compose(OPERATOR_WAITS, language, values, settings.operator, alarming=False)
    return Draft(words, settings.operator.name)


async def _draft(desk: Desk, template: str, *, state: str, alarming: bool) -> Draft | None:
    departure = await desk.session.get(Departure, (desk.mail.tenant_id, desk.mail.subject_id))
    if departure is None or departure.state != state:
        return None
    tenant = await tenants.get(desk.session, departure.tenant_id)
    language = desk.mail.language
    values = {
        "tenant_name": tenant.name,
        "tenant_id": tenant.tenant_id,
        "erase_on": day_text(departure.erase_on, language),
    }
    words = compose(template, language, values, desk.settings.operator, alarming=alarming)
    return Draft(words, desk.settings.operator.name)
