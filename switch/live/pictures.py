"""Calls and registrations as they are now, read once for all streams that are told of the same ones.

A picture is read as rows without objects, since a busy tenant has thousands and the loop that reads them answers nodes
besides. It is read when something has changed, by whoever asks first; the others wait for the same reading. What is
said of it is written out once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec
from litestar.response import ServerSentEventMessage
from sqlalchemy import Select, select
from sqlalchemy.exc import SQLAlchemyError

from infra.kit import logs
from infra.kit.database import Database, Scope
from infra.kit.http import View
from infra.kit.problems import Refusal, Unavailable
from switch.live.models import LiveLeg, LiveRegistration
from switch.live.schemas import LiveCallView, LiveRegistrationView

MAX_ROWS = 5_000
"""Legs, and registrations, that one stream follows; beyond that it says `is_cut` and lists are read by page."""

MAX_KEPT_CHANGES = 20
"""Of one picture: what has changed since each of so many earlier ones. Streams that keep up all need the same."""

log = logs.get(__name__)

Row = tuple[Any, ...]
"""The values of a view, in the order of its fields."""

Rows = Mapping[Any, Row]
"""By what says which each is."""


class Message(ServerSentEventMessage):
    """What many streams say; written out once."""

    _written: bytes | None = None

    def encode(self) -> bytes:
        """As it goes over the wire."""
        if self._written is None:
            self._written = super().encode()
        return self._written


@dataclass(slots=True)
class Picture:
    """What there was at a revision of the feed, or later."""

    revision: int
    calls: Rows
    registrations: Rows
    _snapshot: Message | None = None
    _changes: dict[int, Message | None] = field(default_factory=dict[int, Message | None])
    """By the revision of the earlier picture."""

    @property
    def is_cut(self) -> bool:
        """Whether there is more than a stream follows."""
        return max(len(self.calls), len(self.registrations)) >= MAX_ROWS

    def snapshot(self) -> Message:
        """All of it."""
        if self._snapshot is None:
            self._snapshot = self._message(
                "snapshot",
                _views(LiveCallView, self.calls.values()),
                _views(LiveRegistrationView, self.registrations.values()),
            )
        return self._snapshot

    def change_since(self, before: Picture) -> Message | None:
        """What has changed since an earlier picture of the same rows; None where nothing has."""
        if before is self:
            return None
        if before.revision not in self._changes:
            if len(self._changes) >= MAX_KEPT_CHANGES:
                self._changes.clear()
            self._changes[before.revision] = self._difference(before)
        return self._changes[before.revision]

    def _difference(self, before: Picture) -> Message | None:
        calls = _changes(LiveCallView, before.calls, self.calls)
        registrations = _changes(LiveRegistrationView, before.registrations, self.registrations)
        if not any((*calls.values(), *registrations.values())):
            return None
        return self._message("change", calls, registrations)

    def _message(self, event: str, calls: object, registrations: object) -> Message:
        content = {"calls": calls, "registrations": registrations, "is_cut": self.is_cut}
        return Message(event=event, data=msgspec.json.encode(content).decode())


class SharedPicture:
    """The picture that all streams of one caller's scope and one tenant are told of."""

    def __init__(
        self,
        database: Database,
        scope: Scope,
        tenant_id: str | None,
        *,
        revision: Callable[[], int],
        readers: asyncio.Semaphore,
    ) -> None:
        self.followers = 0
        self._database = database
        self._scope = scope
        self._tenant_id = tenant_id
        self._revision = revision
        self._readers = readers
        self._picture: Picture | None = None
        self._reading: asyncio.Task[bool] | None = None

    async def current(self) -> Picture:
        """The picture at the feed's revision now, or later. Raises `Unavailable` when it cannot be read now."""
        wanted = self._revision()
        while self._picture is None or self._picture.revision < wanted:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(self._revision()), name="live picture")
            reading = self._reading
            await asyncio.wait({reading})  # goes on where this stream is cancelled: others wait for it too
            if not reading.result():
                raise Unavailable("The live view cannot be read now; try again shortly.")
        return self._picture

    async def close(self) -> None:
        """Nobody follows any more. A reading under way comes to its end: cancelled while it connects, it would leave a
        connection behind that nobody closes.
        """
        if self._reading is not None:
            await asyncio.wait({self._reading})

    async def _read(self, revision: int) -> bool:
        legs = _values(LiveCallView, LiveLeg).order_by(LiveLeg.leg_id)
        registrations = _values(LiveRegistrationView, LiveRegistration).order_by(LiveRegistration.call_id)
        if self._tenant_id is not None:
            legs = legs.where(LiveLeg.tenant_id == self._tenant_id)
            registrations = registrations.where(LiveRegistration.tenant_id == self._tenant_id)
        try:
            async with self._readers, self._database.transaction(self._scope) as session:
                calls = {_CALL(row): tuple(row) for row in await session.execute(legs)}
                registered = {_REGISTRATION(row): tuple(row) for row in await session.execute(registrations)}
        except (Refusal, SQLAlchemyError, OSError) as error:
            log.warning("live.picture_not_read", reason=type(error).__name__)
            return False
        finally:
            self._reading = None
        self._picture = Picture(revision, calls, registered)
        return True


class Pictures:
    """The pictures that streams of one process follow; one that nobody follows is forgotten."""

    def __init__(self, database: Database, *, revision: Callable[[], int], readers: asyncio.Semaphore) -> None:
        self._database = database
        self._revision = revision
        self._readers = readers
        self._shared: dict[tuple[Scope, str | None], SharedPicture] = {}

    @asynccontextmanager
    async def following(self, scope: Scope, tenant_id: str | None) -> AsyncGenerator[SharedPicture]:
        """The picture of a tenant's calls (None: everybody's), read under the role of `scope`."""
        key = scope, tenant_id
        shared = self._shared.get(key)
        if shared is None:
            shared = SharedPicture(self._database, scope, tenant_id, revision=self._revision, readers=self._readers)
            self._shared[key] = shared
        shared.followers += 1
        try:
            yield shared
        finally:
            shared.followers -= 1
            if not shared.followers:
                del self._shared[key]
                await shared.close()


def _values(view: type[View], table: type[LiveLeg | LiveRegistration]) -> Select[*tuple[Any, ...]]:
    return select(*(getattr(table, name) for name in view.__struct_fields__)).limit(MAX_ROWS)


def _key(view: type[View], *names: str) -> Callable[[Sequence[Any]], Any]:
    """What of a row says which it is."""
    return itemgetter(*(view.__struct_fields__.index(name) for name in names))


def _views(view: type[View], rows: Iterable[Row]) -> list[View]:
    names = view.__struct_fields__
    return [view(**dict(zip(names, row, strict=True))) for row in rows]


def _changes(view: type[View], before: Rows, now: Rows) -> dict[str, list[View]]:
    return {
        "changed": _views(view, (row for key, row in now.items() if before.get(key) != row)),
        "ended": _views(view, (row for key, row in before.items() if key not in now)),
    }


_CALL = _key(LiveCallView, "leg_id")
_REGISTRATION = _key(LiveRegistrationView, "tenant_id", "username", "call_id", "node")
