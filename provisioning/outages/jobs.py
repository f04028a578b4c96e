"""Background work around faults that the cluster is seen with, and around its maintenance. Each may run twice."""

from __future__ import annotations

from infra.kit import jobs
from provisioning.outages import conducting, observing


@jobs.task("provisioning.observe_faults")
async def observe_faults(runtime: jobs.Runtime) -> None:
    """Look at the cluster and keep faults in step with what is seen; periodic."""
    await observing.look(runtime)


@jobs.task("provisioning.conduct_maintenance")
async def conduct_maintenance(runtime: jobs.Runtime) -> None:
    """Drain the nodes of a window that has begun one after another, and give them back; periodic."""
    await conducting.conduct(runtime)
