"""Background work of the spend caps."""

from __future__ import annotations

from billing.spending import caps, running
from billing.spending.caps import WATCH_SPENDING
from infra.kit import clock, jobs, logs
from infra.kit.database import Scope
from infra.kit.problems import Unavailable
from switch import nodes
from switch.commands import NodeControl

log = logs.get(__name__)


class SpendingNotWatched(Exception):
    """The spending of some tenants could not be compared with their caps; that of all others was."""


@jobs.task(WATCH_SPENDING)
async def watch_spending(runtime: jobs.Runtime, *, tenant_id: str | None = None) -> None:
    """Compare every capped tenant's day (or one's) with its cap; a transaction each.

    Every node is asked, also one that a tenant has moved away from: its calls run on there. What runs on a node that
    does not answer is not known; until it is, what was seen there last counts on. What is seen belongs to the day that
    the nodes were asked on: a look that midnight overtakes is left to the next one.
    """
    day = clock.today()
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant_ids = await caps.tenants_with_cap(session) if tenant_id is None else [tenant_id]
        if not tenant_ids:
            return
        asked = await nodes.live_nodes(session)
        unheard = await nodes.unheard_nodes(session)
    live = await running.live_legs(NodeControl.of(runtime), asked, tenant_ids)
    if live.silent_nodes:
        log.warning("spending.node_silent", nodes=live.silent_nodes)
    silent = {*live.silent_nodes, *unheard}
    failed: list[str] = []
    for each in tenant_ids:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await caps.hold(session, each)
                if clock.today() != day:
                    break
                legs = live.legs_by_tenant.get(each, {})
                ahead = await running.estimate(session, each, legs, day)
                await caps.consider(session, each, day, ahead, silent=silent)
        except Unavailable:
            raise
        except Exception:  # the other tenants are not to wait for this one
            log.exception("spending.not_watched", tenant_id=each)
            failed.append(each)
    if failed:
        raise SpendingNotWatched(f"The spending of {', '.join(failed)} could not be looked at; see the log.")
