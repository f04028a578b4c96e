"""Makes the switch agree with what the tables say: a tenant's standing, a seat's closed or reissued account.

New registrations and calls need no reconciling, because the nodes ask for each; only what was there before does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from infra.kit import jobs, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.models import Seat
from provisioning.order_progress import FLUSH_REGISTRATIONS
from switch import clearing, nodes
from switch.commands import CommandFailed, NodeControl, TenantService
from switch.documents.directory import INTERNAL_PROFILE
from switch.errors import NodesNotReached
from switch.jobs import CHECK_CANARY, CLEAR_TENANT
from switch.models import Node, Placement, SipAccount
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
    runtime: Runtime,
    tenant_id: str,
    seat_ids: Sequence[str],
    *,
    again: bool = False,
    control: NodeControl | None = None,
) -> None:
    """End the registrations of seats on every live node that were not made with what the accounts are now.

    Of an account that is closed that is every one. Of an open one, whose phone may have been given the new password
    already, it is what was registered before: this job may come late, and a phone that is forgotten learns nothing of
    it before it registers again. A registration that was admitted just before the change may be listed only after the
    first look, so a second follows. Live calls go on. Raises `NodesNotReached` when a node was not told for certain;
    repeating does no harm.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id)
        query = (
            select(Seat.extension, SipAccount.is_open, SipAccount.generation)
            .outerjoin(
                SipAccount,
                (SipAccount.tenant_id == Seat.tenant_id) & (SipAccount.seat_id == Seat.seat_id),
            )
            .where(Seat.tenant_id == tenant_id, Seat.seat_id.in_(list(seat_ids)), Seat.extension.is_not(None))
            .order_by(Seat.extension)
        )
        accounts = {
            f"{extension}@{tenant.sip_domain}": str(generation) if is_open else None
            for extension, is_open, generation in await session.execute(query)
        }
        live = await nodes.live_nodes(session)
        if accounts and not again:
            arguments: dict[str, Any] = {"tenant_id": tenant_id, "seat_ids": list(seat_ids), "again": True}
            await jobs.defer(session, FLUSH_REGISTRATIONS, after_seconds=CLEAR_AGAIN_AFTER_SECONDS, **arguments)
    if not accounts:
        return
    told = control or NodeControl.of(runtime)
    at_once = asyncio.Semaphore(MAX_NODES_AT_ONCE)

    async def flush(node: Node) -> bool:
        async with at_once:
            return await _flush_stale(told, node, accounts)

    done = await asyncio.gather(*(flush(node) for node in live))
    failed = [node.name for node, is_done in zip(live, done, strict=True) if not is_done]
    if failed:
        raise NodesNotReached(f"Registrations of {tenant_id} were not flushed for certain on {', '.join(failed)}.")


async def _flush_stale(told: NodeControl, node: Node, accounts: Mapping[str, str | None]) -> bool:
    """`accounts`: address to the generation whose registration stays, None where none does. False: not for certain."""
    stale = [address for address, generation in accounts.items() if generation is None]
    if len(stale) < len(accounts):
        try:
            registered = await told.registered_as(node)
        except CommandFailed as failure:
            log.warning("registrations.not_listed", node=node.name, error=str(failure))
            return False
        kept = {address: generation for address, generation in accounts.items() if generation is not None}
        stale += [address for address, generation in kept.items() if registered.get(address, generation) != generation]
    if not stale:
        return True
    commands = [f"sofia profile {INTERNAL_PROFILE} flush_inbound_reg {address}" for address in stale]
    return all(outcome.is_done for outcome in await told.run(node, *commands))


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
