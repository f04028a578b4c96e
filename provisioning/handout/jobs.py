"""Background task of hand-outs. It may run twice."""

from __future__ import annotations

from infra.kit import jobs, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.handout import mails, making

log = logs.get(__name__)
KINDS = (mails.HAND_OUT,)
"""Mails that this process can write, because their module is imported here."""


@jobs.task("provisioning.erase_expired_hand_outs")
async def erase_expired_hand_outs(runtime: Runtime) -> None:
    """Erase what nobody opened in time; periodic."""
    async with runtime.database.transaction(Scope.platform()) as session:
        erased = await making.erase_expired(session)
    if erased:
        log.info("hand_outs.erased", links=erased)
