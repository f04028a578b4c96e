"""Makes the switch agree with what the tables say: a tenant's standing, a seat's closed or reissued account.

New registrations and calls need no reconciling, because the nodes ask for each; only what was there before does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from infra.kit import jobs, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.models import Seat
from switch import clearing, nodes
from switch.commands import NodeControl, TenantService
from switch.documents.directory import INTERNAL_PROFILE
from switch.errors import NodesNotReached
from switch.jobs import CHECK_CANARY, CLEAR_TENANT
from switch.models import Node, Placement
from tenancy import tenants
from tenancy.models import Tenant

CLEAR_AGAIN_AFTER_SECONDS = 2
"""A call that was admitted just before a suspension committed may be marked as its tenant's only after the first
clearing has passed; by then it is."""

MAX_NODES_AT_ONCE = 50

log = logs.get(__name__)


async def reconcile_tenant(
    runtime: Runtime, tenant_id: str, generation: int, *, control: NodeControl | None = None
) -> None:
    """Clear a suspended or closed tenant from every live node, and have the canary prove what now holds.

    Nothing happens when the tenant has changed since `generation`: that change has a job of its own. Raises
    `NodesNotReached` when a node was not told for certain, so that the task tries again; repeating does no harm.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id)
        if tenant.generation != generation:
            log.info("tenant.reconcile_stale", tenant_id=tenant_id, generation=generation)
            return
    unreached: NodesNotReached | None = None
    if tenant.standing != "active":
        try:
            await clearing.clear_tenant(runtime, tenant_id, generation, control=control)
        except NodesNotReached as failure:
            unreached = failure
    async with runtime.database.transaction(Scope.platform()) as session:
        arguments: dict[str, Any] = {"tenant_id": tenant_id, "generation": generation}
        if tenant.standing != "active":
            await jobs.defer(session, CLEAR_TENANT, after_seconds=CLEAR_AGAIN_AFTER_SECONDS, **arguments)
        await jobs.defer(session, CHECK_CANARY, lock=f"canary:{tenant_id}", **arguments)
    if unreached is not None:
        raise unreached
    log.info("tenant.reconciled", tenant_id=tenant_id, generation=generation, standing=tenant.standing)


async def flush_registrations(
    runtime: Runtime, tenant_id: str, seat_ids: Sequence[str], *, control: NodeControl | None = None
) -> None:
    """End the registrations of seats on every live node; their phones must register anew, where they still may.

    Live calls go on. Raises `NodesNotReached` when a node was not told for certain; repeating does no harm.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id)
        query = select(Seat.extension).where(
            Seat.tenant_id == tenant_id, Seat.seat_id.in_(list(seat_ids)), Seat.extension.is_not(None)
        )
        extensions = sorted(str(each) for each in (await session.execute(query)).scalars())
        live = await nodes.live_nodes(session)
    if not extensions:
        return
    told = control or NodeControl.of(runtime)
    commands = [
        f"sofia profile {INTERNAL_PROFILE} flush_inbound_reg {extension}@{tenant.sip_domain}"
        for extension in extensions
    ]
    at_once = asyncio.Semaphore(MAX_NODES_AT_ONCE)

    async def flush(node: Node) -> bool:
        async with at_once:
            return all(outcome.is_done for outcome in await told.run(node, *commands))

    done = await asyncio.gather(*(flush(node) for node in live))
    failed = [node.name for node, is_done in zip(live, done, strict=True) if not is_done]
    if failed:
        raise NodesNotReached(f"Registrations of {tenant_id} were not flushed for certain on {', '.join(failed)}.")


async def clear_returned_node(runtime: Runtime, name: str, *, control: NodeControl | None = None) -> None:
    """Clear from a node that is back whoever was suspended or closed while no command could reach it.

    Raises `NodesNotReached` when it was not told for certain.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        node = await nodes.get_by_name(session, name)
        if node.state not in nodes.LIVE_STATES:
            return
        query = (
            select(Tenant.tenant_id, Tenant.sip_domain)
            .join(Placement, Placement.tenant_id == Tenant.tenant_id)
            .where(Tenant.standing != "active")
            .order_by(Tenant.tenant_id)
        )
        out_of_service = (await session.execute(query)).all()
    told = control or NodeControl.of(runtime)
    for tenant_id, domain in out_of_service:
        outcome = await told.clear_tenant(node, TenantService(tenant_id, domain))
        if not outcome.is_done:
            raise NodesNotReached(f"The tenant {tenant_id} was not cleared for certain from {name}.")
