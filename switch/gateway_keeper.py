"""The part of a node's supervisor that keeps its gateways: tells the node of every change, notes which are up.

What the node must know stands in the tables; each gateway has a generation, and the state that is kept of it names the
one the node was told. Who may call in (`reloadacl`) and where calls go out (`rescan`, after `killgw` for what changed,
since mod_sofia keeps a gateway that it has) are told together, after every connection and within seconds of a change.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal
from switch import node_lease
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused, EslConnectionLost, EslError
from switch.esl.frames import Event
from switch.esl.link import EslLink
from switch.gateways import MAX_GATEWAYS
from switch.models import Gateway, GatewayState
from switch.node_lease import Lease

GATEWAY_STATE = "sofia::gateway_state"
"""The event that the link has to subscribe to."""

LOOK_INTERVAL_SECONDS = 2.0
COMPARE_INTERVAL_SECONDS = 15.0
COMMAND_TIMEOUT_SECONDS = 10.0
"""For each command, by `bgapi`: while the node asks the API for its gateways, no probe of its life waits."""

MAX_PROBLEM_CHARACTERS = 200

SIGNING_IN = frozenset({"UNREGED", "TRYING", "REGISTER"})
"""FreeSWITCH's words while the carrier has not answered yet: it calls such a gateway down until it has."""

NO_ANSWER = "TIMEOUT"
"""Its word, without any of the carrier's, where no answer came."""

_GATEWAY = re.compile(r"<gateway>(.*?)</gateway>", re.DOTALL)
_VALUE = re.compile(r"<(?P<name>name|profile|username|proxy|pingfreq|state|status)>(?P<value>[^<]*)</(?P=name)>")

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A gateway as the node should have it; `shown`: what the node's own list shows of its settings."""

    gateway_id: str
    name: str
    generation: int
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A gateway as the node has it."""

    name: str
    shown: tuple[str, ...]
    is_up: bool
    registration: str


class GatewayKeeper:
    """Keeps the gateways of one node; `run` works while a lease lasts."""

    def __init__(
        self,
        database: Database,
        node: str,
        *,
        look_interval_seconds: float = LOOK_INTERVAL_SECONDS,
        compare_interval_seconds: float = COMPARE_INTERVAL_SECONDS,
    ) -> None:
        self._database = database
        self._node = node
        self._look_interval_seconds = look_interval_seconds
        self._compare_interval_seconds = compare_interval_seconds
        self._news = asyncio.Event()
        self._must_tell = True
        self._must_compare = True
        self._told: frozenset[Wanted] | None = None
        self._told_seconds = self._compared_seconds = 0.0
        self._problems: dict[str, str] = {}

    def connected(self) -> None:
        """There is a new connection: the node may have missed changes, and events of it were missed."""
        self._must_tell = True
        self._news.set()

    def note(self, event: Event) -> None:
        """Take in an event of the link. Never waits."""
        if event.subclass != GATEWAY_STATE:
            return
        self._note_problem(event)
        self._must_compare = True
        self._news.set()

    def _note_problem(self, event: Event) -> None:
        """Keep what the carrier said last; most events about a gateway only tell its next state, without any words."""
        name, status = event.get("Gateway"), event.get("Status")
        said = f"{status} {event.get('Phrase')}".strip()
        if event.get("State") == NO_ANSWER:
            said = said or "no answer"
        if status.startswith("2"):
            self._problems.pop(name, None)
        elif said and (len(self._problems) < MAX_GATEWAYS or name in self._problems):
            self._problems[name] = "".join(filter(str.isprintable, said))[:MAX_PROBLEM_CHARACTERS]

    async def run(self, lease: Lease, link: EslLink) -> None:
        """Keep them until cancelled. A database or node that is away is waited for."""
        self._must_tell = True
        while True:
            try:
                await self._round(lease, link)
            except (Refusal, SQLAlchemyError, OSError, EslError) as error:
                log.warning("gateways.interrupted", node=self._node, reason=f"{type(error).__name__}: {error}"[:300])
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_interval_seconds):
                    await self._news.wait()
            self._news.clear()

    async def _round(self, lease: Lease, link: EslLink) -> None:
        try:
            connection = link.connection
        except EslConnectionLost:
            return
        async with self._database.transaction(Scope.platform()) as session:
            wanted = await wanted_gateways(session)
            known = await _known_generations(session, self._node)
        is_due = time.monotonic() - self._compared_seconds >= self._compare_interval_seconds
        if self._has_to_tell(wanted, known):
            await self._tell(connection, wanted, known)
        elif not (self._must_compare or is_due):
            return
        await self._compare(lease, connection, wanted)

    def _has_to_tell(self, wanted: list[Wanted], known: dict[str, int]) -> bool:
        if self._must_tell or self._told != frozenset(wanted):
            return True
        if known == {each.gateway_id: each.generation for each in wanted}:
            return False
        # It was told and does not have them all: again, but not every two seconds.
        return time.monotonic() - self._told_seconds >= self._compare_interval_seconds

    async def _tell(self, connection: EslConnection, wanted: list[Wanted], known: dict[str, int]) -> None:
        listed = await _list(connection)
        outdated = outdated_gateways(listed, wanted, known, told=self._told or ())
        # First who may call in, so that no carrier is turned away whose gateway is there already.
        await _command(connection, "reloadacl")
        for name in outdated:
            with suppress(EslCommandRefused):  # it is gone already
                await _command(connection, f"sofia profile {EXTERNAL_PROFILE} killgw {name}")
        await _command(connection, f"sofia profile {EXTERNAL_PROFILE} rescan")
        self._must_tell = False
        self._told, self._told_seconds = frozenset(wanted), time.monotonic()
        if outdated:
            log.info("gateways.told", node=self._node, replaced=outdated)

    async def _compare(self, lease: Lease, connection: EslConnection, wanted: list[Wanted]) -> None:
        self._must_compare = False
        try:
            listed = await _list(connection)
            now = clock.now()
            async with self._database.transaction(Scope.platform()) as session:
                if await node_lease.held_node(session, lease) is None:
                    return
                await self._write(session, wanted, listed, now)
        except (Refusal, SQLAlchemyError, OSError, EslError):
            self._must_compare = True
            raise
        self._compared_seconds = time.monotonic()

    async def _write(
        self, session: AsyncSession, wanted: list[Wanted], listed: dict[str, Listed], now: datetime
    ) -> None:
        query = select(GatewayState).where(GatewayState.node == self._node)
        rows = {row.gateway_id: row for row in (await session.execute(query)).scalars()}
        for each in wanted:
            found = listed.get(each.name)
            if found is None or found.shown != each.shown:
                log.warning("gateways.not_taken", node=self._node, gateway=each.name, listed=found is not None)
                continue
            row = rows.pop(each.gateway_id, None)
            if row is None:
                row = GatewayState(
                    node=self._node, gateway_id=each.gateway_id, is_up=True, registration="", changed_at=now
                )
                session.add(row)
            self._update(row, each, found, now)
        gone = list(rows)
        await session.execute(
            delete(GatewayState).where(GatewayState.node == self._node, GatewayState.gateway_id.in_(gone))
        )

    def _update(self, row: GatewayState, wanted: Wanted, found: Listed, now: datetime) -> None:
        if found.is_up and not row.is_up:
            log.info("gateway.up", node=self._node, gateway=wanted.name)
        elif _is_alarm(row, found):
            log.error("gateway.down", node=self._node, gateway=wanted.name)
        if (row.is_up, row.registration) != (found.is_up, found.registration):
            row.changed_at = now
        row.generation, row.checked_at = wanted.generation, now
        row.is_up, row.registration = found.is_up, found.registration
        row.problem = None if found.is_up else self._problems.get(wanted.name) or row.problem


def _is_alarm(row: GatewayState, found: Listed) -> bool:
    """Whether a gateway has gone down: not one whose carrier has yet to answer, nor one that only tried again."""
    if found.is_up or found.registration in SIGNING_IN:
        return False
    return row.is_up or (row.registration in SIGNING_IN and row.problem is None)


async def wanted_gateways(session: AsyncSession) -> list[Wanted]:
    """Every gateway that nodes should have now."""
    query = select(Gateway).where(Gateway.is_enabled.is_(True)).order_by(Gateway.name).limit(MAX_GATEWAYS)
    return [
        Wanted(row.gateway_id, row.name, row.generation, _shown(row))
        for row in (await session.execute(query)).scalars()
    ]


def outdated_gateways(
    listed: Mapping[str, Listed], wanted: Iterable[Wanted], known: Mapping[str, int], *, told: Iterable[Wanted] = ()
) -> list[str]:
    """What a node has and should not have so: gateways that are gone, changed, or told in an earlier generation.

    One of which is not known what the node was told is judged by what its list shows, unless it was `told` another one
    of that name.
    """
    by_name = {each.name: each for each in wanted}
    told_ids = {each.name: each.gateway_id for each in told}
    outdated: list[str] = []
    for name, found in listed.items():
        each = by_name.get(name)
        if (
            each is None
            or found.shown != each.shown
            or known.get(each.gateway_id, each.generation) != each.generation
            or told_ids.get(name, each.gateway_id) != each.gateway_id
        ):
            outdated.append(name)
    return outdated


def read_gateways(text: str) -> dict[str, Listed] | None:
    """The answer of `sofia xmlstatus gateway`, by name; None where it is no such answer.

    One that was taken away stays listed for a moment behind the one that has its name now.
    """
    if "</gateways>" not in text:
        return None
    found: dict[str, Listed] = {}
    for block in _GATEWAY.findall(text):
        values = {match["name"]: match["value"] for match in _VALUE.finditer(block)}
        name = values.get("name", "")
        if name and values.get("profile") == EXTERNAL_PROFILE and name not in found:
            shown = (values.get("proxy", ""), values.get("username", ""), values.get("pingfreq", ""))
            found[name] = Listed(name, shown, values.get("status") == "UP", values.get("state", "")[:32])
    return found


def _shown(row: Gateway) -> tuple[str, ...]:
    host = f"[{row.host}]" if ":" in row.host else row.host
    return f"sip:{host}:{row.port}", row.username or row.name, str(row.check_seconds or 0)


async def _known_generations(session: AsyncSession, node: str) -> dict[str, int]:
    query = select(GatewayState.gateway_id, GatewayState.generation).where(GatewayState.node == node)
    return {row.gateway_id: row.generation for row in await session.execute(query)}


async def _list(connection: EslConnection) -> dict[str, Listed]:
    listed = read_gateways(await _command(connection, "sofia xmlstatus gateway"))
    if listed is None:
        raise EslCommandRefused("sofia xmlstatus gateway", "no list of gateways")
    return listed


async def _command(connection: EslConnection, command: str) -> str:
    return await connection.bgapi(command, timeout_seconds=COMMAND_TIMEOUT_SECONDS)
