"""What a console hears as it happens: a snapshot, then what has changed, as server-sent events.

Each stream reads under its own caller's role, so the database itself keeps other tenants' rows from it. The caller's
token is looked at before anything is sent: with its end, or its client's, the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from litestar.response import ServerSentEventMessage
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.database import Database, Scope
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden, NotFound, Refusal, Unauthenticated
from switch.live.feed import LiveFeed
from switch.live.models import LiveLeg, LiveRegistration
from switch.live.schemas import LiveCallView, LiveRegistrationView, live_call_view, live_registration_view

PERMISSION = "live:read"
HEARTBEAT_SECONDS = 10.0
PAUSE_SECONDS = 1.0
"""After a look that failed: what has changed is still to be told, and would be looked for again without end."""
MAX_ROWS = 5_000
"""Legs, and registrations, that one stream follows; beyond that it says `is_cut` and lists are read by page."""

log = logs.get(__name__)

Authenticated = Callable[[AsyncSession], Awaitable[Principal]]
"""The stream's caller as it is now; raises a refusal once its token or session has ended."""

Views = Mapping[str, LiveCallView] | Mapping[str, LiveRegistrationView]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stream has told."""

    calls: dict[str, LiveCallView] = field(default_factory=dict[str, LiveCallView])
    registrations: dict[str, LiveRegistrationView] = field(default_factory=dict[str, LiveRegistrationView])

    @property
    def is_cut(self) -> bool:
        """Whether there is more than a stream follows."""
        return max(len(self.calls), len(self.registrations)) >= MAX_ROWS


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
        told: Seen | None = None
        revision = -1
        while True:
            following = await feed.wait(revision, limit_seconds=heartbeat_seconds)
            try:
                if not await _may_listen(database, principal, authenticated):
                    yield ServerSentEventMessage(event="end", data='{"reason":"token_ended"}')
                    return
                if following == revision and told is not None:
                    yield ServerSentEventMessage(comment="heartbeat")
                    continue
                now = await _read(database, principal.scope, tenant_id)
            except (Refusal, SQLAlchemyError, OSError) as error:
                log.warning("live.stream_waits", reason=type(error).__name__)
                yield ServerSentEventMessage(comment="waiting")
                await asyncio.sleep(pause_seconds)
                continue
            event, content = ("snapshot", _all(now)) if told is None else ("change", _difference(told, now))
            told, revision = now, following
            if content is not None:
                yield ServerSentEventMessage(event=event, data=msgspec.json.encode(content).decode())


async def _may_listen(database: Database, principal: Principal, authenticated: Authenticated) -> bool:
    async with database.transaction(Scope.platform()) as session:
        try:
            current = await authenticated(session)
        except (Unauthenticated, NotFound, Forbidden):  # signed out; a visit that is over; a role that visits nobody
            return False
    return current.tenant_id == principal.tenant_id and PERMISSION in current.permissions


async def _read(database: Database, scope: Scope, tenant_id: str | None) -> Seen:
    legs = select(LiveLeg).order_by(LiveLeg.leg_id).limit(MAX_ROWS)
    registrations = select(LiveRegistration).order_by(LiveRegistration.call_id).limit(MAX_ROWS)
    if tenant_id is not None:
        legs = legs.where(LiveLeg.tenant_id == tenant_id)
        registrations = registrations.where(LiveRegistration.tenant_id == tenant_id)
    async with database.transaction(scope) as session:
        return Seen(
            {leg.leg_id: live_call_view(leg) for leg in (await session.execute(legs)).scalars()},
            {
                f"{each.tenant_id}/{each.username}/{each.call_id}/{each.node}": live_registration_view(each)
                for each in (await session.execute(registrations)).scalars()
            },
        )


def _all(now: Seen) -> dict[str, object]:
    return {
        "calls": list(now.calls.values()),
        "registrations": list(now.registrations.values()),
        "is_cut": now.is_cut,
    }


def _difference(before: Seen, now: Seen) -> dict[str, object] | None:
    """What has changed; None where nothing has."""
    calls, registrations = _changes(before.calls, now.calls), _changes(before.registrations, now.registrations)
    if not any((*calls.values(), *registrations.values())):
        return None
    return {"calls": calls, "registrations": registrations, "is_cut": now.is_cut}


def _changes(before: Views, now: Views) -> dict[str, list[object]]:
    return {
        "changed": [view for key, view in now.items() if before.get(key) != view],
        "ended": [view for key, view in before.items() if key not in now],
    }
