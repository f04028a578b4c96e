"""Mails about a tenant's spend cap: nearly used up, and used up."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from billing.reminders import contacts
from billing.reminders.topics import SPENDING_KINDS
from infra.kit import clock
from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, day_text, sum_text
from tenancy import tenants


async def put(
    session: AsyncSession, tenant_id: str, alert: str, day: date, *, alert_id: str, spent: str, daily_cap: str
) -> None:
    """Have everybody written to who wants to know; once an alert. `spent`, `daily_cap`: decimal text, CNY."""
    notice = f"spending_{alert}"
    for reader in await contacts.readers_of(session, tenant_id, notice):
        await posting.put(
            session,
            kind=notice,
            subject_id=alert_id,
            tenant_id=tenant_id,
            recipient=reader.address,
            language=reader.language,
            day=day,
            facts={"spent": spent, "daily_cap": daily_cap},
        )


async def write(desk: Desk) -> Draft | None:
    """The mail as the alert was raised; None once its day is over, with which the alert ends."""
    if desk.mail.day != clock.today():
        return None
    tenant = await tenants.get(desk.session, desk.mail.tenant_id)
    language = desk.mail.language
    values = {
        "tenant_name": tenant.name,
        "day": day_text(desk.mail.day, language),
        "spent": sum_text(Decimal(desk.mail.facts["spent"]), language),
        "daily_cap": sum_text(Decimal(desk.mail.facts["daily_cap"]), language),
    }
    words = compose(desk.mail.kind, language, values, desk.settings.operator, alarming=True)
    return Draft(words, desk.settings.operator.name)


for _kind in SPENDING_KINDS:
    kind(_kind)(write)
