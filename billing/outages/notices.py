"""Mails about maintenance windows to every tenant: announced, moved, cancelled (C12, rule 10)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.outages import windows
from billing.outages.models import MaintenanceWindow
from billing.reminders import contacts
from billing.reminders.topics import MAINTENANCE_KINDS
from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, moment_text
from tenancy import tenants
from tenancy.models import Tenant

KIND_OF_STATE = {"announced": "window_announced", "moved": "window_moved", "cancelled": "window_cancelled"}
_BETWEEN = "@"

log = logs.get(__name__)


class NoticesFailed(Exception):
    """Some tenants could not be written to; all others were. The job is tried again."""


async def tell(runtime: Runtime, window_id: str) -> None:
    """Write to everybody how a window stands now; safe to repeat. One transaction a tenant.

    Raises `NoticesFailed` when a tenant failed, after all others.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        window = await windows.find(session, window_id)
        query = select(Tenant.tenant_id).where(Tenant.standing != "closed").order_by(Tenant.tenant_id)
        tenant_ids = list((await session.execute(query)).scalars())
    notice = KIND_OF_STATE.get(window.state)
    if notice is None or window.begins_at <= clock.now():
        return
    failed: list[str] = []
    for tenant_id in tenant_ids:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await _put(session, tenant_id, window, notice)
        except Exception:  # the other tenants are not to wait for this one
            log.exception("maintenance.not_told", tenant_id=tenant_id, window_id=window_id)
            failed.append(tenant_id)
    if failed:
        raise NoticesFailed(f"{', '.join(failed)} were not told of {window_id}; see the log.")


async def _put(session: AsyncSession, tenant_id: str, window: MaintenanceWindow, notice: str) -> None:
    # A window that is moved twice on a day is announced twice: each announcement is a subject of its own.
    subject = f"{window.window_id}{_BETWEEN}{window.announced_at.isoformat()}"
    for reader in await contacts.readers_of(session, tenant_id, notice):
        await posting.put(
            session,
            kind=notice,
            subject_id=subject,
            tenant_id=tenant_id,
            recipient=reader.address,
            language=reader.language,
        )


async def write(desk: Desk) -> Draft | None:
    """The mail as the window stands now; None once it has been moved again, called off, or has begun."""
    window_id, _, announced_at = desk.mail.subject_id.partition(_BETWEEN)
    window = await windows.find(desk.session, window_id)
    is_current = KIND_OF_STATE.get(window.state) == desk.mail.kind and window.announced_at.isoformat() == announced_at
    if not is_current or window.begins_at <= clock.now():
        return None
    tenant = await tenants.get(desk.session, desk.mail.tenant_id)
    language = desk.mail.language
    values = {
        "tenant_name": tenant.name,
        "begins": moment_text(window.begins_at, language),
        "ends": moment_text(window.ends_at, language),
        "note": window.note,
    }
    words = compose(desk.mail.kind, language, values, desk.settings.operator)
    return Draft(words, desk.settings.operator.name)


for _kind in MAINTENANCE_KINDS:
    kind(_kind)(write)
