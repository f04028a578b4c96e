"""Background tasks of the switch room."""

from __future__ import annotations

import asyncio

from infra.kit import jobs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from switch import canary, clearing, nodes
from switch.commands import NodeControl
from switch.errors import NodesNotReached

CLEAR_TENANT = "switch.clear_tenant"
CHECK_CANARY = "switch.check_canary"
RESCAN_GATEWAYS = "switch.rescan_gateways"


@jobs.task(CLEAR_TENANT)
async def clear_tenant(runtime: Runtime, *, tenant_id: str, generation: int) -> None:
    """End a suspended tenant's registrations and live calls on every live node; tried again until all were told."""
    await clearing.clear_tenant(runtime, tenant_id, generation)


@jobs.task(CHECK_CANARY)
async def check_canary(runtime: Runtime, *, tenant_id: str, generation: int) -> None:
    """Prove that a change of standing took effect on every live node; an effect that fails to show is an alarm."""
    await canary.check(runtime, tenant_id, generation)


@jobs.task(RESCAN_GATEWAYS)
async def rescan_gateways(runtime: Runtime) -> None:
    """Let every live node ask for its gateways again; tried again until all were told."""
    async with runtime.database.transaction(Scope.platform()) as session:
        live = await nodes.live_nodes(session)
    control = NodeControl.of(runtime)
    outcomes = await asyncio.gather(*(control.rescan_gateways(node) for node in live))
    failed = [node.name for node, outcome in zip(live, outcomes, strict=True) if not outcome.is_done]
    if failed:
        raise NodesNotReached(f"These nodes were not told of the gateways for certain: {', '.join(failed)}.")
