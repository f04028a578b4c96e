"""Background tasks of the provisioning room. Each may run twice."""

from __future__ import annotations

from datetime import datetime

from infra.kit import jobs
from infra.kit.jobs import Runtime
from provisioning import order_progress, orders, placing, reconcile
from tenancy.tenants import TENANT_CHANGED


@jobs.task(orders.ADVANCE_ORDERS)
async def advance_orders(runtime: Runtime, *, tenant_id: str) -> None:
    """Open what is paid and due, let lapse what was not paid in time, close what was returned or has ended."""
    await order_progress.advance_tenant(runtime, tenant_id)


@jobs.task("provisioning.advance_all_orders")
async def advance_all_orders(runtime: Runtime) -> None:
    """The same for every tenant with something due today; periodic."""
    await order_progress.advance_all(runtime)


@jobs.task(TENANT_CHANGED)
async def reconcile_tenant(runtime: Runtime, *, tenant_id: str, generation: int) -> None:
    """Make the nodes agree with a tenant's new standing, and prove it."""
    await reconcile.reconcile_tenant(runtime, tenant_id, generation)


@jobs.task(order_progress.FLUSH_REGISTRATIONS)
async def flush_registrations(runtime: Runtime, *, tenant_id: str, seat_ids: list[str], again: bool = False) -> None:
    """End registrations that closed or reissued accounts have left behind; `again`: the second look."""
    await reconcile.flush_registrations(runtime, tenant_id, seat_ids, again=again)


@jobs.task("provisioning.evacuate_node")
async def evacuate_node(runtime: Runtime, *, node: str) -> None:
    """Move the tenants of a node that has died or is being drained."""
    await placing.evacuate_node(runtime, node)


@jobs.task("provisioning.return_tenants")
async def return_tenants(runtime: Runtime, *, node: str, since: str) -> None:
    """Bring back the tenants that a cancelled drain had moved; its supervisor wakes it."""
    await placing.return_tenants(runtime, node, datetime.fromisoformat(since))


@jobs.task("provisioning.welcome_node")
async def welcome_node(runtime: Runtime, *, node: str) -> None:
    """A node is back: clear what must not be on it, and give homes and spares to those who lack them."""
    await reconcile.clear_returned_node(runtime, node)
    await placing.settle_placements(runtime)


@jobs.task("provisioning.settle_placements")
async def settle_placements(runtime: Runtime) -> None:
    """Tenants off lost nodes, and home again where it is quiet; periodic."""
    await placing.settle_placements(runtime)
