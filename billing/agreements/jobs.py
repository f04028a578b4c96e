"""Background work around contracts: reminders of their end, and the contracts that a transfer opens."""

from __future__ import annotations

from billing.agreements import consents, reminders
from billing.contracts import get_contract
from infra.kit import clock, jobs, logs
from infra.kit.database import Scope

log = logs.get(__name__)


class RemindersFailed(Exception):
    """Some contracts' reminders could not be made; all others were. The job is tried again."""


@jobs.task("billing.remind_of_contract_ends")
async def remind_of_contract_ends(runtime: jobs.Runtime) -> None:
    """Make the reminders that today has reached; one transaction a contract, each reminder once."""
    today = clock.today()
    failed: list[str] = []
    async with runtime.database.transaction(Scope.platform()) as session:
        near = await reminders.contracts_to_look_at(session, today)
    for tenant_id, contract_id in near:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await reminders.remind(session, tenant_id, contract_id, today)
        except Exception:  # the other contracts are not to wait for this one
            log.exception("contract_reminder.failed", tenant_id=tenant_id, contract_id=contract_id)
            failed.append(contract_id)
    if failed:
        raise RemindersFailed(f"No reminder could be made for {', '.join(failed)}; see the log.")


@jobs.task(consents.OPEN_TRANSFERRED)
async def open_transferred_contract(runtime: jobs.Runtime, *, tenant_id: str, consent_id: str) -> None:
    """Open the receiving tenant's contract of a transfer; safe to run again."""
    async with runtime.database.transaction(Scope.platform()) as session:
        consent = await consents.find(session, consent_id, tenant_id)
        from_contract = await get_contract(session, tenant_id, consent.contract_id)
    async with runtime.database.transaction(Scope.platform()) as session:
        await consents.open_transferred(session, consent=consent, from_contract=from_contract)
