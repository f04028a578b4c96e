"""The part of a node's supervisor that looks after its drain, beside the watching."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from infra.kit import logs
from infra.kit.database import Database
from infra.kit.problems import Refusal
from switch.draining.carry_out import Drainer
from switch.esl.client import EslConnection
from switch.esl.errors import EslConnectionLost
from switch.esl.link import EslLink
from switch.node_lease import Lease

log = logs.get(__name__)


async def attend(
    database: Database,
    lease: Lease,
    link: EslLink,
    *,
    answer_timeout_seconds: float,
    look_interval_seconds: float,
    tell: Callable[[bool], None],
) -> None:
    """Look after the node's drain until cancelled; `tell` hears after each look whether the node is held back.

    A database that is away is waited for.
    """
    drainer = Drainer(database, lease, answer_timeout_seconds=answer_timeout_seconds)
    while True:
        try:
            tell(await drainer.advance(_connection(link)))
        except (Refusal, SQLAlchemyError, OSError) as error:
            log.warning("drain.interrupted", node=lease.name, reason=f"{type(error).__name__}: {error}"[:300])
        await asyncio.sleep(look_interval_seconds)


def _connection(link: EslLink) -> EslConnection | None:
    try:
        return link.connection
    except EslConnectionLost:
        return None
