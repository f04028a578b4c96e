"""The periodic jobs of completeness."""

from __future__ import annotations

from infra.kit import jobs, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from switch import set_aside_records, stray_calls
from switch.completeness import reconciling

log = logs.get(__name__)


@jobs.task("switch.reconcile_records")
async def reconcile_records(runtime: Runtime) -> None:
    """Compare the calls that nodes began with the records that came."""
    async with runtime.database.transaction(Scope.platform()) as session:
        incomplete = await reconciling.reconcile(session)
    if incomplete:
        log.info("call_records.reconciled", incomplete_hours=incomplete)


@jobs.task("switch.forget_records")
async def forget_records(runtime: Runtime) -> None:
    """Remove what nobody asks for any more: counts of nobody's calls, and what was set aside and resolved long ago."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await stray_calls.forget(session)
        await set_aside_records.forget(session)
