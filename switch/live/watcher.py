"""The part of a node's supervisor that keeps the live view: takes events in, compares with the node, writes batches.

Events may be lost (FreeSWITCH drops them under load, connections break), so the node's own lists have the last word:
they are read after every connection, whenever events were dropped, and every `compare_interval_seconds`. What cannot be
written stays in memory, one entry a leg or registration, and is written later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal
from switch import node_lease
from switch.commands import read_channels
from switch.documents.directory import INTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused, EslConnectionLost, EslError
from switch.esl.frames import Event
from switch.esl.link import EslLink
from switch.live import store
from switch.live.legs import LEG_EVENTS, LiveLegs
from switch.live.registrations import REGISTRATION_EVENTS, LiveRegistrations, read_listed
from switch.node_lease import Lease

EVENTS = (*LEG_EVENTS, *REGISTRATION_EVENTS)
"""What the link has to subscribe to."""

MAX_QUESTIONS_A_ROUND = 200
"""Legs that the node is asked about in one round; the rest follow in the next."""

WRITE_INTERVAL_SECONDS = 0.5
COMPARE_INTERVAL_SECONDS = 15.0
FIGURES_INTERVAL_SECONDS = 5.0
LIST_TIMEOUT_SECONDS = 10.0
"""For the lists, which are long on a full node and therefore asked for by `bgapi`, so that they hold up no probe of the
node's life; other questions take `answer_timeout_seconds`."""

CUSTOM = "CUSTOM"
_HEADERS = msgspec.json.Decoder(dict[str, Any])

log = logs.get(__name__)


class LiveWatch:
    """The live view of one node, for as long as its supervisor lives; `run` keeps it while a lease lasts."""

    def __init__(
        self,
        database: Database,
        node: str,
        *,
        answer_timeout_seconds: float,
        write_interval_seconds: float = WRITE_INTERVAL_SECONDS,
        compare_interval_seconds: float = COMPARE_INTERVAL_SECONDS,
        on_listed: Callable[[Collection[str], float], None] | None = None,
    ) -> None:
        self.legs = LiveLegs()
        self.registrations = LiveRegistrations()
        self._database = database
        self._node = node
        self._timeout_seconds = answer_timeout_seconds
        self._write_interval_seconds = write_interval_seconds
        self._compare_interval_seconds = compare_interval_seconds
        self._on_listed = on_listed
        """Is told the legs that the node lists, and when it was asked for them."""
        self._is_dead = False
        self._must_clear = False
        """Whether the tables may still show what was there before the node died."""
        self._is_restarted = True
        self._must_compare = True
        self._has_corrected = False
        """Whether a comparison has taken rows away, which whoever listens has to be told."""
        self._has_to_tell = False
        self._compared_at: datetime | None = None
        self._compared_seconds = 0.0
        self._figures_seconds = 0.0
        self._without_tenant = 0
        self._dropped_events = 0

    def note(self, event: Event) -> None:
        """Take in an event of the link, if it is one of `EVENTS`. Never waits."""
        if event.name in LEG_EVENTS:
            self.legs.apply(event.name, event, now=clock.now(), at_seconds=time.monotonic())
        elif event.name == CUSTOM and event.subclass in REGISTRATION_EVENTS:
            self.registrations.apply(event, now=clock.now(), at_seconds=time.monotonic())

    def connected(self) -> None:
        """There is a new connection, or events were dropped: the node must be compared with."""
        self._must_compare = True

    def died(self) -> None:
        """The node is dead: what was there is no more, whoever wrote it into the tables."""
        if not self._is_dead:
            self._is_dead = self._must_clear = True
            self.legs.forget_all()
            self.registrations.forget_all()

    async def run(self, lease: Lease, link: EslLink) -> None:
        """Keep the view until cancelled. A database or node that is away is waited for."""
        self._must_compare = self._is_restarted = True
        self._must_clear = self._is_dead
        while True:
            try:
                await self._round(lease, link)
            except (Refusal, SQLAlchemyError, OSError, EslError) as error:
                log.warning("live.interrupted", node=self._node, reason=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(self._write_interval_seconds)

    async def _round(self, lease: Lease, link: EslLink) -> None:
        self._dropped_events = link.dropped_events
        if self._must_clear:  # before the node is asked, which does not answer
            await self._compare_with_tables(lease)
            self._must_clear = False
        try:
            connection = link.connection
        except EslConnectionLost:
            connection = None
        if connection is not None:
            await self._look(lease, connection)
        await self._write(lease)

    async def _look(self, lease: Lease, connection: EslConnection) -> None:
        """Compare where it is time to, and ask about legs that have not said whose they are."""
        is_due = time.monotonic() - self._compared_seconds >= self._compare_interval_seconds
        if self._must_compare or is_due:
            await self._compare(connection)
            await self._compare_with_tables(lease)
        for leg_id in self.legs.to_ask_about(MAX_QUESTIONS_A_ROUND):
            await self._ask_about(connection, leg_id)

    async def _compare(self, connection: EslConnection) -> None:
        self._must_compare = False
        try:
            asked_at = time.monotonic()
            listed = read_channels(
                await connection.bgapi("show channels as json", timeout_seconds=LIST_TIMEOUT_SECONDS)
            )
            if listed is not None:
                leg_ids = [leg.leg_id for leg in listed]
                if self._on_listed is not None:
                    self._on_listed(leg_ids, asked_at)
                missing = self.legs.compare(leg_ids, asked_at_seconds=asked_at)
                for leg_id in missing[:MAX_QUESTIONS_A_ROUND]:
                    await self._ask_about(connection, leg_id)
                self._must_compare = len(missing) > MAX_QUESTIONS_A_ROUND
            asked_at = time.monotonic()
            command = f"sofia status profile {INTERNAL_PROFILE} reg"
            text = await connection.bgapi(command, timeout_seconds=LIST_TIMEOUT_SECONDS)
            found = read_listed(text, now=clock.now())
            if found is not None:
                self.registrations.compare(found, asked_at_seconds=asked_at, at_seconds=time.monotonic())
        except EslError:
            self._must_compare = True
            raise
        if listed is None or found is None:
            log.warning("live.list_unreadable", node=self._node, calls=listed is None, registrations=found is None)
        self._is_dead = False
        self._compared_at, self._compared_seconds = clock.now(), time.monotonic()

    async def _ask_about(self, connection: EslConnection, leg_id: str) -> None:
        try:
            text = await connection.api(f"uuid_dump {leg_id} json", timeout_seconds=self._timeout_seconds)
        except EslCommandRefused:
            return  # it has ended; its last event is on the way, or the next comparison lets go of it
        headers = _read_dump(text)
        if headers is not None:
            self.legs.learn(Event(headers), now=clock.now(), at_seconds=time.monotonic())

    async def _compare_with_tables(self, lease: Lease) -> None:
        """Make the tables say what is known here: they are unlogged, and another supervisor may have written them."""
        async with self._database.transaction(Scope.platform()) as session:
            if await node_lease.held_node(session, lease) is None:
                return
            legs = await store.written_legs(session, self._node)
            shown = self.legs.shown
            stale = [leg_id for leg_id, tenant_id in legs.items() if shown.get(leg_id) != tenant_id]
            await store.delete_legs(session, self._node, stale)
            rows = await store.written_registrations(session, self._node)
            registered = self.registrations.shown
            left_behind = [row for key, row in rows.items() if key not in registered]
            await store.delete_registrations(session, self._node, left_behind)
        # After a restart every row is written anew: what it says may be old although its key is right.
        again = self._is_restarted
        self.legs.write_again([leg_id for leg_id in shown if again or leg_id not in legs])
        self.registrations.write_again([key for key in registered if again or key not in rows])
        self._is_restarted = False
        self._has_to_tell = True
        self._has_corrected = self._has_corrected or bool(stale or left_behind)

    async def _write(self, lease: Lease) -> None:
        legs = self.legs.take_changes(store.MAX_CHANGES_A_WRITE)
        registrations = self.registrations.take_changes(store.MAX_CHANGES_A_WRITE)
        is_changed = self._has_corrected or legs.is_any or registrations.is_any
        is_due = time.monotonic() - self._figures_seconds >= FIGURES_INTERVAL_SECONDS
        if not (is_changed or is_due or self._has_to_tell):
            return
        try:
            async with self._database.transaction(Scope.platform()) as session:
                if await node_lease.held_node(session, lease) is None:
                    raise LeaseLost(lease.name)
                self._without_tenant = await store.write(
                    session, self._node, legs, registrations, self._figures(), is_changed=is_changed
                )
        except (Refusal, SQLAlchemyError, OSError):
            self.legs.put_back(legs)
            self.registrations.put_back(registrations)
            raise
        self._has_to_tell = self._has_corrected = False
        self._figures_seconds = time.monotonic()

    def _figures(self) -> store.Figures:
        return store.Figures(
            legs=len(self.legs),
            registrations=len(self.registrations),
            unassigned=self.legs.unassigned + self._without_tenant,
            corrections=self.legs.corrections + self.registrations.corrections,
            unknown_events=self.legs.unknown_events,
            dropped_events=self._dropped_events,
            overflow=self.legs.overflow + self.registrations.overflow,
            compared_at=self._compared_at,
        )


class LeaseLost(OSError):
    """Another supervisor has the node now; nothing was written."""


def _read_dump(text: str) -> Mapping[str, str] | None:
    """The headers of `uuid_dump … json`; None where it is no such answer."""
    try:
        decoded = _HEADERS.decode(text)
    except msgspec.MsgspecError:
        return None
    return {name: value for name, value in decoded.items() if isinstance(value, str)}
