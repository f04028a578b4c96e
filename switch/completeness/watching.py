"""What a supervisor sees of a node's legs, kept so that a record that never comes can be told from nothing.

Events may be dropped and are not what is counted (switch/completeness/counting.py): they only say whose call a missing
record would have been. A leg that begins and ends between two looks is not written at all.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Text, any_, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, ids, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal
from switch import node_lease
from switch.canary_call import is_canary
from switch.cdr_parsing import MAX_SESSION_NUMBER
from switch.commands import LiveLeg, read_channels
from switch.completeness.counting import SessionCount
from switch.completeness.models import SeenLeg
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused, EslTimeout
from switch.esl.frames import Event
from switch.node_lease import Lease

CHANNEL_CREATE, CHANNEL_ANSWER, CHANNEL_DESTROY = "CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_DESTROY"
CHANNEL_EVENTS = (CHANNEL_CREATE, CHANNEL_ANSWER, CHANNEL_DESTROY)
STATES_BEFORE_A_CALL = ("CS_NONE", "CS_NEW")
"""In these states FreeSWITCH destroys a session that it never ran, and writes no record; seen on a running 1.11."""

MAX_KNOWN_LEGS = 20_000
"""Legs of one node that are remembered; of what comes beyond it nothing is kept but its number in the count."""

MAX_LEGS_ASKED = 400
"""Legs that are asked for after a reconnection: two questions each."""

LEGS_ASKED_AT_ONCE = 10
"""So that a distant node is not asked one by one, and no answer of a slow one waits behind many others."""

ASKING_LIMIT_SECONDS = 15.0
"""For all of them: meanwhile the node's events wait."""

LIST_TIMEOUT_SECONDS = 10.0
"""For the list, by `bgapi`: it is long on a full node, and would hold up the probes of its life."""

LIST_LAG_SECONDS = 5.0
"""FreeSWITCH lists a leg some time after it has told of it."""

ROWS_A_STATEMENT = 1_000
VALUE_LIMIT_CHARACTERS = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MICROSECONDS = re.compile(r"[0-9]{1,17}", re.ASCII)

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A leg as the node told of it."""

    boot_id: str
    leg_id: str
    session_number: int
    owner_id: str | None
    direction: str
    caller: str
    destination: str
    started_at: datetime


@dataclass(slots=True)
class News:
    """What has been seen since the last time, of one boot."""

    boot_id: str
    begun: dict[str, Leg] = field(default_factory=dict[str, Leg])
    answered: dict[str, datetime] = field(default_factory=dict[str, datetime])
    ended: dict[str, datetime] = field(default_factory=dict[str, datetime])
    void: dict[str, int] = field(default_factory=dict[str, int])
    """The numbers of legs that FreeSWITCH gave up before they were any, and of the canary's."""
    owners: dict[str, str] = field(default_factory=dict[str, str])
    """Whose a leg is that did not say so at its beginning, as a call from outside."""
    listed: frozenset[str] | None = None
    """Every leg that the node had when it was asked, or may have had; None where it was not asked or did not say."""


class LegWatch:
    """Gathers what one node's events say of its legs, for `write`."""

    def __init__(self, node: str, timeout_seconds: float, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        """Legs of which nothing was kept, since there were too many at once or the node answered too slowly."""
        self._node = node
        self._timeout_seconds = timeout_seconds
        self._news: News | None = None
        self._seconds = seconds
        self._known: dict[str, float] = {}
        """The legs that are there, and when this was learned."""
        self._counted: SessionCount | None = None
        self._connection: EslConnection | None = None

    def count(self, connection: EslConnection, started: int, asked_at: datetime) -> SessionCount | None:
        """How many sessions the node says on this connection it has begun, with the boot they belong to.

        `asked_at`: when it was asked; what began since need not be in its answer. None while the boot behind the
        connection is unknown: a node that has just started again counts from 0.
        """
        if self._news is None or connection is not self._connection or not 0 <= started <= MAX_SESSION_NUMBER:
            return None
        self._counted = SessionCount(self._news.boot_id, started, asked_at)
        return self._counted

    async def begin(self, connection: EslConnection) -> None:
        """After every (re)connection: which boot this is, and which legs it has now. Raises `EslError`."""
        boot_id = await self._ask(connection, "global_getvar core_uuid")
        if _UUID.fullmatch(boot_id) is None:
            log.warning("node.boot_unknown", node=self._node, answer=boot_id[:64])
            self._news = None
            return
        if self._news is None or self._news.boot_id != boot_id:
            self._news = News(boot_id)
            self._known.clear()
            self._counted = None
        self._connection = connection
        asked_at_seconds = self._seconds()
        rows = read_channels(await connection.bgapi("show channels as json", timeout_seconds=LIST_TIMEOUT_SECONDS))
        if rows is None:
            # Nothing is known of what ended meanwhile: no leg is let go of before a list can be read.
            log.warning("legs.list_unreadable", node=self._node)
            return
        listed = [leg for leg in rows if _UUID.fullmatch(leg.leg_id)]
        there = frozenset(leg.leg_id for leg in listed)
        self.compare(there, asked_at_seconds)
        unknown = [leg for leg in listed if leg.leg_id not in self._known]
        self._news.listed = there | self._known.keys()
        self.dropped += len(unknown) - await self._ask_about(connection, unknown[:MAX_LEGS_ASKED])

    async def _ask_about(self, connection: EslConnection, legs: Sequence[LiveLeg]) -> int:
        """Learn what the list does not say of these legs; of how many there was time to.

        Raises `EslConnectionLost`. A node that answers slowly is not asked about the rest: its events wait.
        """
        variables = ("session_id", "seatline_tenant")
        until_seconds = self._seconds() + ASKING_LIMIT_SECONDS
        for first in range(0, len(legs), LEGS_ASKED_AT_ONCE):
            bunch = legs[first : first + LEGS_ASKED_AT_ONCE]
            questions = [f"uuid_getvar {leg.leg_id} {variable}" for leg in bunch for variable in variables]
            try:
                answers = await asyncio.gather(*(self._ask(connection, question) for question in questions))
            except EslTimeout:
                return first
            for leg, number_text, tenant in zip(bunch, answers[::2], answers[1::2], strict=True):
                number = _number(number_text)
                if number is not None:  # else it has ended since
                    words = (leg.direction, leg.caller, leg.destination)
                    self._add(leg.leg_id, number, (tenant, leg.context), words, _moment(f"{leg.created_epoch}000000"))
            if self._seconds() > until_seconds:
                return first + len(bunch)
        return len(legs)

    def compare(self, listed: Collection[str], asked_at_seconds: float) -> None:
        """Let go of the legs that are not on the node's list, asked for at this moment, and must be if they were there.

        This is how a leg ends whose last event was lost, or came while nobody listened.
        """
        news, there = self._news, frozenset(listed)
        if news is None:
            return
        latest_seconds = asked_at_seconds - LIST_LAG_SECONDS
        for leg_id in [leg for leg, at in self._known.items() if at < latest_seconds and leg not in there]:
            del self._known[leg_id]
            self._note_end(leg_id, news)

    def note(self, event: Event) -> None:
        """Take one event in; one that cannot be understood, or is of another boot, is passed over."""
        leg_id, news = event.get("Unique-ID"), self._news
        if news is None or event.get("Core-UUID") != news.boot_id or _UUID.fullmatch(leg_id) is None:
            return
        if event.name == CHANNEL_CREATE and is_canary(event):
            # A call of the system itself: whatever becomes of its record, nobody's call is missing.
            self._give_up(leg_id, _number(event.get("variable_session_id")), news)
        elif event.name == CHANNEL_CREATE and leg_id not in self._known:
            number = _number(event.get("variable_session_id"))
            if number is not None:
                dialled = event.get("variable_seatline_destination") or event.get("Caller-Destination-Number")
                self._add(
                    leg_id,
                    number,
                    (event.get("variable_seatline_tenant"), event.get("Caller-Context")),
                    (event.get("Call-Direction"), event.get("Caller-Caller-ID-Number"), dialled),
                    _moment(event.get("Caller-Channel-Created-Time")),
                )
        elif event.name == CHANNEL_ANSWER and leg_id in self._known:
            news.answered[leg_id] = _moment(event.get("Caller-Channel-Answered-Time")) or clock.now()
            if ids.is_id("ten", owner := event.get("variable_seatline_tenant")):
                news.owners[leg_id] = owner
        elif event.name == CHANNEL_DESTROY and event.get("Channel-State") in STATES_BEFORE_A_CALL:
            self._give_up(leg_id, _number(event.get("variable_session_id")), news)
        elif event.name == CHANNEL_DESTROY and leg_id not in news.void:
            self._known.pop(leg_id, None)
            news.answered.pop(leg_id, None)
            news.owners.pop(leg_id, None)
            if news.begun.pop(leg_id, None) is None:
                # Also of a leg that is not known here: whoever supervised the node before may have written it.
                self._note_end(leg_id, news)

    def take(self) -> News | None:
        """What is new, to be written; None when nothing is. What cannot be written is given back."""
        news = self._news
        if news is None or not (news.begun or news.answered or news.ended or news.void or news.listed is not None):
            return None
        self._news = News(news.boot_id)
        if self.dropped:
            log.warning("legs.not_noted", node=self._node, legs=self.dropped, limit=MAX_KNOWN_LEGS)
            self.dropped = 0
        return news

    def give_back(self, news: News) -> None:
        """Remember what could not be written; what has happened since outweighs it."""
        now = self._news
        if now is None or now.boot_id != news.boot_id:
            return
        now.begun = {key: leg for key, leg in news.begun.items() if key not in now.ended} | now.begun
        now.answered = news.answered | now.answered
        now.owners = news.owners | now.owners
        now.void = news.void | now.void
        now.ended = news.ended | {key: at for key, at in now.ended.items() if key not in news.begun}
        now.listed = now.listed if now.listed is not None else news.listed

    def _give_up(self, leg_id: str, number: int | None, news: News) -> None:
        """A leg that never was, or is nobody's: no record that its number lets expect will come, or none is kept."""
        self._known.pop(leg_id, None)
        news.begun.pop(leg_id, None)
        if number is None or len(news.void) >= MAX_KNOWN_LEGS:
            self.dropped += 1
        else:
            news.void[leg_id] = number

    def _note_end(self, leg_id: str, news: News) -> None:
        if len(news.ended) >= MAX_KNOWN_LEGS:
            self.dropped += 1
        else:
            news.ended[leg_id] = clock.now()

    def _add(
        self,
        leg_id: str,
        number: int,
        owners: tuple[str, str],
        words: tuple[str, str, str],
        started_at: datetime | None,
    ) -> None:
        if self._news is None or len(self._known) >= MAX_KNOWN_LEGS:
            self.dropped += 1
            return
        direction, caller, destination = (word.replace("\x00", "")[:VALUE_LIMIT_CHARACTERS] for word in words)
        self._known[leg_id] = self._seconds()
        self._news.begun[leg_id] = Leg(
            boot_id=self._news.boot_id,
            leg_id=leg_id,
            session_number=number,
            owner_id=next((owner for owner in owners if ids.is_id("ten", owner)), None),
            direction=direction,
            caller=caller,
            destination=destination,
            started_at=self._plausible(number, started_at),
        )

    def _plausible(self, number: int, started_at: datetime | None) -> datetime:
        """When a leg began that is seen now: the node's clock may be wrong, the order of its numbers is not."""
        now = clock.now()
        moment = now if started_at is None else min(started_at, now)
        if self._counted is not None and number > self._counted.started:
            moment = max(moment, min(self._counted.at, now))
        return moment

    async def _ask(self, connection: EslConnection, question: str) -> str:
        try:
            return (await connection.api(question, timeout_seconds=self._timeout_seconds)).strip()
        except EslCommandRefused:
            return ""  # there is no such leg any more


async def keep(database: Database, lease: Lease, watch: LegWatch) -> None:
    """Write what is new; what cannot be written now is written next time.

    Whoever has lost the lease writes nothing: the node has begun other legs since, of which he does not know.
    """
    news = watch.take()
    if news is None:
        return
    try:
        async with database.transaction(Scope.platform()) as session:
            if await node_lease.held_node(session, lease) is not None:
                await write(session, news)
    except (Refusal, SQLAlchemyError, OSError):
        watch.give_back(news)
        raise


async def write(session: AsyncSession, news: News) -> None:
    """Write what was seen. Harmless when repeated.

    Rows are taken in the order of their legs, as whoever else writes them does, so that nobody waits in a circle.
    """
    mine = SeenLeg.boot_id == news.boot_id
    rows = [asdict(leg) | {"answered_at": None, "ended_at": None, "is_void": False} for leg in news.begun.values()]
    now = clock.now()
    rows += [
        {
            "boot_id": news.boot_id,
            "leg_id": leg_id,
            "session_number": number,
            "owner_id": None,
            "direction": "outbound",
            "caller": "",
            "destination": "",
            "started_at": now,
            "answered_at": None,
            "ended_at": now,
            "is_void": True,
        }
        for leg_id, number in news.void.items()
    ]
    rows.sort(key=lambda row: str(row["leg_id"]))
    for first in range(0, len(rows), ROWS_A_STATEMENT):
        await session.execute(insert(SeenLeg).values(rows[first : first + ROWS_A_STATEMENT]).on_conflict_do_nothing())
    changed = news.answered.keys() | news.ended.keys() | news.owners.keys()
    if changed:
        await _lock(session, mine, ~SeenLeg.is_void, _among(changed))
    for column, moments in ((SeenLeg.answered_at, news.answered), (SeenLeg.ended_at, news.ended)):
        if moments:
            # One moment for all: they lie between two looks, seconds apart, and only inform.
            seen = update(SeenLeg).where(mine, ~SeenLeg.is_void, _among(moments), column.is_(None))
            await session.execute(seen.values({column: max(moments.values())}))
    for owner in set(news.owners.values()):
        legs = [leg_id for leg_id, known in news.owners.items() if known == owner]
        nobodys = update(SeenLeg).where(mine, ~SeenLeg.is_void, _among(legs), SeenLeg.owner_id.is_(None))
        await session.execute(nobodys.values(owner_id=owner))
    if news.listed is not None:
        there = news.listed | news.begun.keys()
        lost = await _lock(session, mine, SeenLeg.ended_at.is_(None), ~_among(there))
        if lost:
            await session.execute(update(SeenLeg).where(mine, _among(lost)).values(ended_at=now))


async def _lock(session: AsyncSession, *wanted: ColumnElement[bool]) -> list[str]:
    query = select(SeenLeg.leg_id).where(*wanted).order_by(SeenLeg.leg_id).with_for_update()
    return list((await session.execute(query)).scalars())


def _among(leg_ids: Collection[str]) -> ColumnElement[bool]:
    """One value for however many legs: a statement has room for 65,535."""
    return SeenLeg.leg_id == any_(literal([*leg_ids], ARRAY(Text)))


def _number(text: str) -> int | None:
    """A session number; None for anything else."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return int(text) if 1 <= int(text) <= MAX_SESSION_NUMBER else None


def _moment(microseconds: str) -> datetime | None:
    """A time of FreeSWITCH's, microseconds since 1970; None where it says none."""
    if _MICROSECONDS.fullmatch(microseconds) is None or int(microseconds) == 0:
        return None
    return _EPOCH + timedelta(microseconds=int(microseconds))
