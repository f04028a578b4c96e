"""Background tasks of the switch room."""

from __future__ import annotations

from infra.kit import jobs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from switch import canary, clearing, set_aside_records, stray_calls
from switch.doctor import rounds
from switch.number_pool import stock
from switch.refused_sign_ins import keeping

CLEAR_TENANT = "switch.clear_tenant"
CHECK_CANARY = "switch.check_canary"
FREE_NUMBERS = "switch.free_numbers"
EXAMINE_CLUSTER = "switch.examine_cluster"
FORGET_RECORDS = "switch.forget_records"
FORGET_SIGN_INS = "switch.forget_refused_sign_ins"


@jobs.task(CLEAR_TENANT)
async def clear_tenant(runtime: Runtime, *, tenant_id: str, generation: int) -> None:
    """End a suspended tenant's registrations and live calls on every live node; tried again until all were told."""
    await clearing.clear_tenant(runtime, tenant_id, generation)


@jobs.task(CHECK_CANARY)
async def check_canary(runtime: Runtime, *, tenant_id: str, generation: int) -> None:
    """Prove that a change of standing took effect on every live node; an effect that fails to show is an alarm."""
    await canary.check(runtime, tenant_id, generation)


@jobs.task(FREE_NUMBERS)
async def free_numbers(runtime: Runtime) -> None:
    """Make numbers free again whose quarantine is over."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await stock.free_what_is_due(session)


@jobs.task(FORGET_SIGN_INS)
async def forget_refused_sign_ins(runtime: Runtime) -> None:
    """Delete refused sign-ins of more than a month ago."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await keeping.forget_old(session)


@jobs.task(FORGET_RECORDS)
async def forget_records(runtime: Runtime) -> None:
    """Remove what nobody asks for any more: counts of nobody's calls, and what was set aside and resolved long ago."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await stray_calls.forget(session)
        await set_aside_records.forget(session)


@jobs.task(EXAMINE_CLUSTER)
async def examine_cluster(runtime: Runtime) -> None:
    """Examine every node in service and every edge, and tell in the log what is wrong."""
    await rounds.examine_cluster(runtime)
