"""Supervises a node: keeps a link to it, notes its signs of life, and tells when it dies.

Each node has one supervisor at a time (switch/node_lease.py). All waits are measured in real seconds, since the clock
of a demo may jump by months.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import node_lease
from switch.api_watch import ApiWatch
from switch.commands import read_status
from switch.completeness import watching
from switch.completeness.counting import SessionCount
from switch.completeness.watching import CHANNEL_EVENTS, LegWatch
from switch.draining import attendant
from switch.esl.client import EslConnection
from switch.esl.errors import EslError
from switch.esl.frames import Event
from switch.esl.link import HEARTBEAT, Backoff, EslLink, LinkSettings
from switch.gateway_keeper import GATEWAY_STATE, GatewayKeeper
from switch.live import watcher
from switch.live.watcher import LiveWatch
from switch.node_lease import Lease, Sighting
from switch.place_watch import PlaceWatch
from switch.refused_sign_ins import keeping
from switch.refused_sign_ins.counting import REGISTER_FAILURE, RefusedSignIns
from switch.relay_watch import EVENTS as RELAY_EVENTS
from switch.relay_watch import RelayWatch
from switch.tenure import Tenure

MAX_PROBE_INTERVAL_SECONDS = 5.0
MAX_REFRESH_INTERVAL_SECONDS = 2.0
MIN_LEASE_SECONDS = 15.0
LONGEST_RECONNECT_SECONDS = 5.0
SILENCE_LIMIT_SECONDS = 65.0
"""A connection without even a HEARTBEAT for this long is made anew (FreeSWITCH sends one every 10 to 20 s)."""

FAILURES_BEFORE_ALARM = 5
"""So many attempts in a row to read the state of a node that answers, and somebody has to look."""

STOP_SECONDS = 10.0

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a supervisor looks, and how patient it is, in seconds.

    `dead_after`: this long without an answer and a node is dead. `probe_interval`: between two questions. `lease`: how
    long a supervisor that vanished keeps others from taking over. `refresh_interval`: between two looks at the table.
    """

    dead_after_seconds: float
    probe_interval_seconds: float
    answer_timeout_seconds: float
    lease_seconds: float
    refresh_interval_seconds: float
    first_reconnect_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """From `node_heartbeat_timeout_seconds`, with at least three questions before a node is called dead."""
        probe_interval = min(MAX_PROBE_INTERVAL_SECONDS, settings.node_heartbeat_timeout_seconds / 4)
        answer_timeout = min(settings.switch_command_timeout_seconds, max(1.0, probe_interval))
        return cls(
            dead_after_seconds=settings.node_heartbeat_timeout_seconds,
            probe_interval_seconds=probe_interval,
            answer_timeout_seconds=answer_timeout,
            lease_seconds=max(MIN_LEASE_SECONDS, 3 * (probe_interval + answer_timeout)),
            refresh_interval_seconds=min(MAX_REFRESH_INTERVAL_SECONDS, probe_interval),
            first_reconnect_seconds=min(0.5, probe_interval),
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node's event socket is; a change of it means a new link."""

    host: str
    port: int
    sealed_password: bytes


class NodeSupervisor:
    """Supervises one node while `run` runs."""

    def __init__(
        self, database: Database, seal: Seal, pace: Pace, *, node_id: str, name: str, address: Address, holder: str
    ) -> None:
        self.name = name
        self.address = address
        self._database = database
        self._seal = seal
        self._pace = pace
        self._node_id = node_id
        self._holder = holder
        self._news = asyncio.Event()
        self._is_heard = False
        self._version: str | None = None
        self._is_held_back = False
        self._legs = LegWatch(name, pace.answer_timeout_seconds)
        self._live = LiveWatch(
            database, name, answer_timeout_seconds=pace.answer_timeout_seconds, on_listed=self._legs.compare
        )
        self._gateways = GatewayKeeper(database, name, look_interval_seconds=pace.refresh_interval_seconds)
        self._api_watch = ApiWatch(
            name,
            is_drained=lambda: self._is_held_back,
            answer_timeout_seconds=pace.answer_timeout_seconds,
            look_interval_seconds=pace.refresh_interval_seconds,
        )
        self._relays = RelayWatch(
            name,
            answer_timeout_seconds=pace.answer_timeout_seconds,
            retry_interval_seconds=pace.probe_interval_seconds,
        )
        self._place = PlaceWatch(name, pace.answer_timeout_seconds)
        self._sign_ins = RefusedSignIns()
        self._sessions: SessionCount | None = None
        self._tenure = Tenure(pace.lease_seconds)
        self._is_deaf = False

    async def run(self) -> None:
        """Hold the node's lease and watch the node, until cancelled; wait while another process holds it."""
        while True:
            try:
                lease = await self._claim()
                if lease is not None:
                    await self._hold(lease)
            except (Refusal, SQLAlchemyError, OSError) as error:
                log.warning("supervisor.interrupted", node=self.name, reason=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(self._pace.probe_interval_seconds)

    async def _claim(self) -> Lease | None:
        asked_at_seconds = self._tenure.now_seconds()
        async with self._database.transaction(Scope.platform()) as session:
            lease = await node_lease.claim(session, self._node_id, self._holder, lease_seconds=self._pace.lease_seconds)
        if lease is not None:
            self._tenure.renewed(asked_at_seconds)
        return lease

    async def _hold(self, lease: Lease) -> None:
        log.info("supervisor.started", node=self.name, fencing=lease.fencing)
        link = self._link()
        linking = asyncio.create_task(link.run(), name=f"link {self.name}")
        tasks = [linking, *self._beside(lease, link)]
        try:
            await self._watch(lease, link, tasks)
        finally:
            self._tenure.end()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._release(lease)
            log.info("supervisor.ended", node=self.name, fencing=lease.fencing)

    def _beside(self, lease: Lease, link: EslLink) -> list[asyncio.Task[None]]:
        """What else is done for the node while the lease lasts."""
        draining = attendant.attend(
            self._database,
            lease,
            link,
            answer_timeout_seconds=self._pace.answer_timeout_seconds,
            look_interval_seconds=self._pace.probe_interval_seconds,
            tell=self._note_drain,
        )
        return [
            asyncio.create_task(draining, name=f"drain {self.name}"),
            asyncio.create_task(self._live.run(lease, link), name=f"live view {self.name}"),
            asyncio.create_task(self._gateways.run(lease, link), name=f"gateways {self.name}"),
            asyncio.create_task(self._api_watch.run(link), name=f"API watch {self.name}"),
            asyncio.create_task(self._relays.run(link), name=f"relays {self.name}"),
        ]

    def _link(self) -> EslLink:
        settings = LinkSettings(
            self.address.host,
            self.address.port,
            self._seal.open(self.address.sealed_password),
            events=(*RELAY_EVENTS, GATEWAY_STATE, REGISTER_FAILURE, *CHANNEL_EVENTS, *watcher.EVENTS),
            connect_timeout_seconds=self._pace.answer_timeout_seconds,
            silence_limit_seconds=SILENCE_LIMIT_SECONDS,
            backoff=Backoff(
                first_seconds=self._pace.first_reconnect_seconds, longest_seconds=LONGEST_RECONNECT_SECONDS
            ),
        )
        return EslLink(
            settings,
            on_connected=self._resynchronise,
            on_event=self._note_event,
            may_tell=lambda: self._tenure.holds,
        )

    async def _resynchronise(self, connection: EslConnection) -> None:
        """Read back what events cannot be followed without; each part bounds its own questions, the link all of it.

        What takes its time on a busy node is only begun here: it goes on beside the reading of events.
        """
        self._live.connected()
        self._gateways.connected()
        self._relays.connected()
        await self._api_watch.recall(connection)
        await self._legs.begin(connection)
        await self._ask_status(connection)

    async def _ask_status(self, connection: EslConnection) -> None:
        """Put one question to the node; any answer is a sign of life, `not ready` is none.

        A node that was paused, for its drain or because it gets no answers, calls itself not ready.
        """
        asked_at = clock.now()
        answer = await connection.api("status", timeout_seconds=self._pace.answer_timeout_seconds)
        status = read_status(answer)
        if status is not None and status.sessions_since_startup is not None:
            self._sessions = self._legs.count(connection, status.sessions_since_startup, asked_at)
        if status is not None and (status.is_ready or self._is_held_back or self._api_watch.holds):
            self._version = status.version
            await self._place.look(connection)
            self._hear()

    async def _note_event(self, event: Event) -> None:
        self._live.note(event)
        self._gateways.note(event)
        self._relays.note(event)
        if event.name == HEARTBEAT:
            self._hear()
        elif event.subclass == REGISTER_FAILURE:
            self._note_refusal(event)
        elif event.name in CHANNEL_EVENTS:
            self._legs.note(event)

    def _note_refusal(self, event: Event) -> None:
        for alarm in self._sign_ins.note(event, now=clock.now()):
            of = {"domain": alarm.domain, "username": alarm.username, "source": alarm.source}
            log.error("sign_ins.many_refused", node=self.name, **of)

    def _note_drain(self, is_held_back: bool) -> None:
        self._is_held_back = is_held_back

    def _hear(self) -> None:
        self._is_heard = True
        self._news.set()

    async def _watch(self, lease: Lease, link: EslLink, tasks: list[asyncio.Task[None]]) -> None:
        """Ask, report, rest; returns when the lease is lost."""
        silent_seconds = 0.0
        longest_round_seconds = self._pace.probe_interval_seconds + self._pace.answer_timeout_seconds
        looked_at = self._tenure.now_seconds()
        while True:
            for task in tasks:
                if task.done():
                    task.result()  # such a task ends only by a defect, which must not look like a dead node
            await self._probe(link)
            now = self._tenure.now_seconds()
            heard, self._is_heard = self._is_heard, False
            # A round that took longer than it can was our own sleep (a machine suspended, a process stopped) and is
            # no sign of the node's death.
            silent_seconds = 0.0 if heard else silent_seconds + min(now - looked_at, longest_round_seconds)
            looked_at = now
            self._note_deafness(link, heard=heard)
            sighting = Sighting(
                is_heard=heard,
                is_silent=silent_seconds > self._pace.dead_after_seconds,
                version=self._version,
                sessions=self._sessions,
                answers=self._api_watch.answers(patience_seconds=self._pace.dead_after_seconds),
                profiles=self._place.profiles,
            )
            try:
                async with self._database.transaction(Scope.platform()) as session:
                    state = await node_lease.report(session, lease, sighting, lease_seconds=self._pace.lease_seconds)
                if state is None:
                    log.warning("supervisor.lease_lost", node=self.name, fencing=lease.fencing)
                    return
                self._tenure.renewed(now)
                self._place.note(is_heard=heard, state=state)
                if state == "dead":
                    self._live.died()
                await watching.keep(self._database, lease, self._legs)
                await self._write_sign_ins()
            except (Refusal, SQLAlchemyError, OSError) as error:
                self._is_heard = self._is_heard or heard
                log.warning("supervisor.report_failed", node=self.name, reason=type(error).__name__)
                if not self._tenure.holds:
                    raise
            await self._rest()

    def _note_deafness(self, link: EslLink, *, heard: bool) -> None:
        """A node that answers, but whose state cannot be read: nothing that it tells of is seen."""
        if link.failures_in_a_row == 0:
            self._is_deaf = False
        elif heard and link.failures_in_a_row >= FAILURES_BEFORE_ALARM and not self._is_deaf:
            self._is_deaf = True
            reason = str(link.last_error)
            log.error("node.events_unread", node=self.name, attempts=link.failures_in_a_row, reason=reason)

    async def _write_sign_ins(self) -> None:
        """Keep what was counted of refused sign-ins; what cannot be written now is written next time."""
        counts = self._sign_ins.take()
        if not counts:
            return
        try:
            async with self._database.transaction(Scope.platform()) as session:
                await keeping.write(session, self.name, counts)
        except (Refusal, SQLAlchemyError, OSError):
            self._sign_ins.give_back(counts)
            raise

    async def _probe(self, link: EslLink) -> None:
        try:
            await self._ask_status(link.connection)
        except EslError as error:
            log.debug("supervisor.no_answer", node=self.name, reason=str(error))

    async def _rest(self) -> None:
        """Until the next probe is due, or the node was heard of: news of a return must not wait."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.probe_interval_seconds):
                await self._news.wait()

    async def _release(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS), self._database.transaction(Scope.platform()) as session:
                await node_lease.release(session, lease)
        except (Refusal, SQLAlchemyError, OSError) as error:
            log.warning("supervisor.lease_not_released", node=self.name, reason=type(error).__name__)
