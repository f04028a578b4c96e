"""The audit trail: written in the same transaction as what it tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.ids import new_id
from infra.kit.models import AuditEntry

SYSTEM = "system"
actor: ContextVar[str] = ContextVar("seatline_actor", default=SYSTEM)
"""Who acts in this request or job: a client id, or `system`."""

Watcher = Callable[[AsyncSession, AuditEntry], Awaitable[None]]
_watchers: list[Watcher] = []


@contextmanager
def acting_as(who: str) -> Generator[None]:
    """Entries within stand under this name: of somebody who is found only while the request is carried out."""
    signed = actor.set(who)
    try:
        yield
    finally:
        actor.reset(signed)


def watch(watcher: Watcher) -> Watcher:
    """Have every entry shown to `watcher` in the transaction that makes it; once for each process and watcher.

    It runs in the transactions of all others: it must be quick, and it sees the entry before it is flushed.
    """
    if watcher not in _watchers:
        _watchers.append(watcher)
    return watcher


async def record(
    session: AsyncSession, tenant_id: str, action: str, object_id: str | None = None, **facts: Any
) -> None:
    """Add one entry. Facts are JSON values; never secrets."""
    now = clock.now()
    entry = AuditEntry(
        tenant_id=tenant_id,
        month=clock.local_date(now).replace(day=1),
        entry_id=new_id("aud"),
        occurred_at=now,
        actor=actor.get(),
        action=action,
        object_id=object_id,
        facts=facts,
    )
    session.add(entry)
    for watcher in _watchers:
        await watcher(session, entry)
