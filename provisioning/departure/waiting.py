"""Tenants whose lease is over and settled, and whose end nobody has announced (C26): announced, or told of.

The announcement is due when its notice fits just before the end of the retention: from then on it alone keeps what is
personal from being erased in time. A departure that a person has called off since the lease ended is their decision.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Contract
from infra.kit import clock, jobs, logs
from infra.kit.database import Scope
from infra.kit.outbox import posting
from infra.kit.settings import Settings
from provisioning.departure import departures, mails, readiness
from provisioning.departure.models import Departure
from provisioning.rules import departure as rules
from tenancy import tenants
from tenancy.models import Tenant

log = logs.get(__name__)
REASON = "The last contract ended on {last_end}, everything is settled, and the retention time ends."


async def tend(runtime: jobs.Runtime) -> None:
    """See to each such tenant in a transaction of its own; raises at the end where one failed."""
    async with runtime.database.transaction(Scope.platform()) as session:
        found = list((await session.execute(_over(clock.today(), runtime.settings))).scalars())
    failed: list[str] = []
    for tenant_id in found:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await _see_to(session, runtime.settings, tenant_id)
        except Exception:  # the others' leases are over all the same
            log.exception("departures.not_announced", tenant_id=tenant_id)
            failed.append(tenant_id)
    if failed:
        raise RuntimeError(f"The end of {len(failed)} tenants was not seen to: {', '.join(failed[:5])}.")


async def waiting_account(session: AsyncSession, settings: Settings, tenant_id: str) -> rules.Account | None:
    """The account of a tenant whose end is to be announced now; None of any other."""
    due = _over(clock.today(), settings).where(Contract.tenant_id == tenant_id)
    if (await session.execute(due)).first() is None:
        return None
    account = await readiness.account_of(session, tenant_id)
    if account.last_end is None or rules.obstacles(account):
        return None
    known = (await session.execute(select(Departure).where(Departure.tenant_id == tenant_id))).scalars()
    is_decided = any(each.state != "cancelled" or clock.local_date(each.begun_at) > account.last_end for each in known)
    return None if is_decided else account


async def _see_to(session: AsyncSession, settings: Settings, tenant_id: str) -> None:
    await tenants.get(session, tenant_id, for_update=True)
    account = await waiting_account(session, settings, tenant_id)
    if account is None or account.last_end is None:
        return
    if settings.departures == "automatic":
        reason = REASON.format(last_end=account.last_end)
        await departures.announce(session, settings, tenant_id=tenant_id, reason=reason, erase_on=None)
    elif settings.finance_mail is not None:
        due = rules.announcement_due(
            account.last_end, retention_days=settings.retention_days, notice_days=settings.departure_notice_days
        )
        await posting.put(
            session,
            kind=mails.OPERATOR_WAITS,
            subject_id=tenant_id,
            tenant_id=tenant_id,
            recipient=settings.finance_mail,
            day=rules.reminder_day(due, clock.today()),
        )


def _over(today: date, settings: Settings) -> Select[str]:
    """The tenants whose contracts have all ended so long ago that an announcement is due."""
    since_end = rules.announcement_due(
        today, retention_days=settings.retention_days, notice_days=settings.departure_notice_days
    )
    is_running = func.bool_or(Contract.state.not_in(("ended", "lapsed")))
    return (
        select(Contract.tenant_id)
        .join(Tenant, Tenant.tenant_id == Contract.tenant_id)
        .where(Tenant.standing != "closed")
        .group_by(Contract.tenant_id)
        .having(readiness.last_end() <= today - (since_end - today), ~is_running)
        .order_by(Contract.tenant_id)
    )
