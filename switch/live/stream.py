"""What a console hears as it happens: a snapshot, then what has changed, as server-sent events.

What a stream tells is read under its own caller's role, so the database itself keeps other tenants' rows from it;
streams of the same role and tenant share what was read. The caller's token is looked at before anything is sent: with
its end, or its client's, the stream ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from litestar.response import ServerSentEventMessage
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.database import Database, Scope
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden, NotFound, Refusal, Unauthenticated
from switch.live.feed import LiveFeed
from switch.live.pictures import Picture

PERMISSION = "live:read"
HEARTBEAT_SECONDS = 10.0
PAUSE_SECONDS = 1.0
"""After a look that failed: what has changed is still to be told, and would be looked for again without end."""

log = logs.get(__name__)

Authenticated = Callable[[AsyncSession], Awaitable[Principal]]
"""The stream's caller as it is now; raises a refusal once its token or session has ended."""


async def follow(
    database: Database,
    feed: LiveFeed,
    principal: Principal,
    authenticated: Authenticated,
    *,
    tenant_id: str | None,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> AsyncGenerator[ServerSentEventMessage]:
    """The events of one stream, until its token ends: `snapshot`, `change`, `end`, and comments as heartbeat.

    `tenant_id`: whose; None is everybody's, for operators. A database that is away only makes the stream wait.
    """
    with feed.listening(principal.client_id, principal.tenant_id):
        async with feed.pictures.following(principal.scope, tenant_id) as shared:
            told: Picture | None = None
            spoke_seconds = time.monotonic()
            while True:
                rest_seconds = spoke_seconds + heartbeat_seconds - time.monotonic()
                await feed.wait(-1 if told is None else told.revision, limit_seconds=max(0.0, rest_seconds))
                try:
                    picture = await shared.current()
                    message = picture.snapshot() if told is None else picture.change_since(told)
                    if message is None and time.monotonic() - spoke_seconds < heartbeat_seconds:
                        told = picture
                        continue  # what has changed is not in this picture
                    if not await _may_listen(database, feed, principal, authenticated):
                        yield ServerSentEventMessage(event="end", data='{"reason":"token_ended"}')
                        return
                except (Refusal, SQLAlchemyError, OSError) as error:
                    log.warning("live.stream_waits", reason=type(error).__name__)
                    yield ServerSentEventMessage(comment="waiting")
                    await asyncio.sleep(pause_seconds)
                else:
                    told = picture
                    yield message or ServerSentEventMessage(comment="heartbeat")
                spoke_seconds = time.monotonic()


async def _may_listen(database: Database, feed: LiveFeed, principal: Principal, authenticated: Authenticated) -> bool:
    async with feed.readers, database.transaction(Scope.platform()) as session:
        try:
            current = await authenticated(session)
        except (Unauthenticated, NotFound, Forbidden):  # signed out; a visit that is over; a role that visits nobody
            return False
    return current.tenant_id == principal.tenant_id and PERMISSION in current.permissions
