"""Background work of the reminders."""

from __future__ import annotations

import billing.reminders.writing
from billing.reminders import planning
from infra.kit import clock, jobs, logs
from infra.kit.database import Scope
from infra.kit.outbox import sending
from infra.kit.problems import Unavailable

log = logs.get(__name__)
WRITERS = billing.reminders.writing
"""Imported for its registrations: the kinds of mail."""


class RemindersFailed(Exception):
    """Some reminders could not be written; all others were. The job is tried again."""


@jobs.task("billing.send_reminders")
async def send_reminders(runtime: jobs.Runtime) -> None:
    """Write down what today brings to every tenant, then send what waits; one transaction a tenant and mail."""
    today = clock.today()
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant_ids = planning.tenants_among(await planning.owed_today(session, today))
    failed: list[str] = []
    for tenant_id in tenant_ids:
        try:
            await _plan(runtime, tenant_id)
        except Unavailable:
            raise
        except Exception:  # the other tenants are not to wait for this one
            log.exception("reminders.not_planned", tenant_id=tenant_id)
            failed.append(tenant_id)
    run = await sending.send_waiting(runtime)
    if failed or run.failed:
        raise RemindersFailed(f"Not all reminders could be made ({', '.join(failed + run.failed)}); see the log.")


@jobs.task("billing.remind_tenant")
async def remind_tenant(runtime: jobs.Runtime, *, tenant_id: str) -> None:
    """The same for one tenant whose standing has just changed."""
    await _plan(runtime, tenant_id)
    run = await sending.send_waiting(runtime)
    if run.failed:
        raise RemindersFailed(f"Not all reminders could be made ({', '.join(run.failed)}); see the log.")


async def _plan(runtime: jobs.Runtime, tenant_id: str) -> None:
    async with runtime.database.transaction(Scope.platform()) as session:
        await planning.put_into_outbox(session, tenant_id, clock.today(), finance_mail=runtime.settings.finance_mail)
