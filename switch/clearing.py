"""Clears a suspended tenant from the nodes: what it already has there, since new things are refused by themselves."""

from __future__ import annotations

import asyncio

from infra.kit import logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from switch import nodes
from switch.commands import Clearing, NodeControl, TenantService
from switch.errors import NodesNotReached
from switch.models import Node
from tenancy import tenants

MAX_NODES_AT_ONCE = 50

log = logs.get(__name__)


async def clear_tenant(
    runtime: Runtime, tenant_id: str, generation: int, *, control: NodeControl | None = None
) -> dict[str, Clearing]:
    """End a tenant's registrations and live calls on every live node, except its emergency calls (rule 7).

    Returns what happened by node name; nothing when the tenant has changed since this `generation` or is active.
    Raises `NodesNotReached` when a node was not told for certain: clearing again does no harm.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id)
        if tenant.generation != generation or tenant.standing == "active":
            return {}
        service = TenantService(tenant.tenant_id, tenant.sip_domain)
        live = await nodes.live_nodes(session)
    told = control or NodeControl.of(runtime)
    at_once = asyncio.Semaphore(MAX_NODES_AT_ONCE)

    async def clear(node: Node) -> Clearing:
        async with at_once:
            return await told.clear_tenant(node, service)

    results = await asyncio.gather(*(clear(node) for node in live))
    clearings = {node.name: clearing for node, clearing in zip(live, results, strict=True)}
    for name, clearing in clearings.items():
        log.info(
            "tenant.cleared" if clearing.is_done else "tenant.not_cleared",
            tenant_id=tenant_id,
            node=name,
            registrations=clearing.registrations.verdict.value,
            calls=clearing.calls.verdict.value,
        )
    failed = [name for name, clearing in clearings.items() if not clearing.is_done]
    if failed:
        raise NodesNotReached(f"The tenant {tenant_id} was not cleared for certain from {', '.join(failed)}.")
    return clearings
