"""Background tasks of the tunnels."""

from __future__ import annotations

from infra.kit import jobs, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.tunnels import gateways

log = logs.get(__name__)


@jobs.task("provisioning.watch_tunnel_gateways")
async def watch_tunnel_gateways(runtime: Runtime) -> None:
    """Raise an alarm for each gateway that has fallen silent: it closes nothing and counts for nobody; periodic."""
    async with runtime.database.transaction(Scope.platform()) as session:
        silent = await gateways.find_silent(session)
    for gateway in silent:
        log.error("tunnel_gateway.silent", gateway=gateway.name, last_seen_at=str(gateway.last_seen_at))
