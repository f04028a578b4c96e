"""The periodic jobs of completeness."""

from __future__ import annotations

from infra.kit import jobs, logs
from infra.kit.jobs import Runtime
from switch.completeness import reconciling

log = logs.get(__name__)


@jobs.task("switch.reconcile_records")
async def reconcile_records(runtime: Runtime) -> None:
    """Compare the calls that nodes began with the records that came."""
    incomplete = await reconciling.reconcile(runtime.database)
    if incomplete:
        log.info("call_records.reconciled", incomplete_hours=incomplete)
