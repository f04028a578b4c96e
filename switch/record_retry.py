"""Records that were set aside, tried once more: as they are, or with the times of a clock that ran ahead put right.

By how much a clock ran ahead a person says; nothing here guesses it. The record is then judged as any other by the
present in which it came, and what was set aside stays as the node sent it. Copies of one leg, as the node posted it and
as its disk was read, are one: what becomes of it becomes of all that wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import psycopg
from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs, reasons
from infra.kit.database import PLATFORM
from infra.kit.pages import decode_cursor, encode_cursor
from infra.kit.problems import Conflict, InvalidInput, NotFound
from switch import cdr, cdr_parsing, stray_calls
from switch.cdr import Delivery, Outcome
from switch.cdr_parsing import MAX_CLOCK_AHEAD_SECONDS, Record, RecordUnreadable, StrayRefusal
from switch.completeness import recovered
from switch.direct_connections import PlainConnection
from switch.models import SetAsideRecord

MAX_LATE = timedelta(days=31)
"""So long before it came may a record end whose times are corrected: a larger correction is a slip of the pen."""

CALL_LIMIT_RECORDS = 1_000
PIECE_RECORDS = 100
"""Stored by one statement, and at once in memory."""

SHOWN_REFUSALS = 20

log = logs.get(__name__)


class RecordNotStored(Conflict):
    """A record that was set aside still cannot be stored; `detail` says why. Remove the cause and try again."""

    code = "record_not_stored"


@dataclass(frozen=True, slots=True)
class ClockCorrection:
    """How far a node's clock ran ahead, and why somebody says so. Raises `InvalidInput`."""

    ahead_seconds: int
    reason: str

    def __post_init__(self) -> None:
        if not 1 <= self.ahead_seconds <= MAX_CLOCK_AHEAD_SECONDS:
            raise InvalidInput(
                f"`clock_ahead_seconds` is a whole number from 1 to {MAX_CLOCK_AHEAD_SECONDS}.",
                field="clock_ahead_seconds",
            )
        reasons.given(self.reason)


def correction(ahead_seconds: int | None, reason: str | None) -> ClockCorrection | None:
    """The correction that somebody may have asked for. Raises `InvalidInput` naming the half that is missing."""
    if ahead_seconds is None and reason is None:
        return None
    if ahead_seconds is None:
        raise InvalidInput(
            "A reason goes with `clock_ahead_seconds`; to try the record as it is, send neither.",
            field="clock_ahead_seconds",
        )
    return ClockCorrection(ahead_seconds, reason or "")


@dataclass(slots=True)
class Corrected:
    """What became of many records: legs stored, records that were copies of one or known before, refused calls of
    nobody's that were counted, and those that still cannot be stored, the first of them with the reason.

    `following` is the cursor to go on from; None: no more wait.
    """

    stored: int = 0
    known: int = 0
    counted: int = 0
    refused: int = 0
    refusals: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    following: str | None = None


@dataclass(slots=True)
class _Leg:
    """The records that tell of one leg, locked; `leading` is the one that is tried."""

    leading: SetAsideRecord
    records: list[SetAsideRecord]
    waited: int
    """How many of them waited when they were locked."""
    outcome: Outcome | None = None
    """What became of it now; None where it is no call of anybody's, or where `problem` says why it is not stored."""
    problem: str = ""

    @property
    def waiting(self) -> list[SetAsideRecord]:
        """Those that nobody has stored or put away."""
        return [each for each in self.records if each.resolved_at is None]

    @property
    def came_at(self) -> datetime:
        """The present by which it is judged: what was the future then does not become true by waiting."""
        return min(each.received_at for each in self.records)

    @property
    def is_ahead(self) -> bool:
        """Whether it came from the future."""
        return any(each.ahead_seconds is not None for each in self.records)

    @property
    def dismissed_reason(self) -> str | None:
        """Why a person has put it, or a copy of it, away."""
        return next((each.dismissed_reason for each in self.records if each.dismissed_reason is not None), None)


async def retry(session: AsyncSession, record_id: str, correction: ClockCorrection | None = None) -> SetAsideRecord:
    """Try to store a record that was set aside, for example once its tenant exists, or with its times corrected.

    A refused call of nobody's is counted instead. Returns it, resolved; one that is resolved already stays as it is.
    Raises `NotFound`, or `RecordNotStored` with the reason.
    """
    aside = await session.get(SetAsideRecord, record_id)
    if aside is None:
        raise NotFound(f"There is no record {record_id} set aside.", field="record_id")
    [leg] = await _lock(session, [aside])
    if aside.dismissed_reason is not None:
        raise RecordNotStored(_put_away(aside.dismissed_reason))
    if aside.resolved_at is None:
        leg.leading = aside
        await _try(session, [leg], correction)
        if leg.problem:
            raise RecordNotStored(leg.problem)
    return aside


async def correct_clock(
    session: AsyncSession,
    node: str,
    correction: ClockCorrection,
    *,
    received_from: datetime,
    received_until: datetime,
    after: str | None = None,
) -> Corrected:
    """Correct and store the records of a node that came from the future between two moments (the second exclusive).

    At most `CALL_LIMIT_RECORDS` at once; what is done is not met again. Raises `InvalidInput`.
    """
    if received_from >= received_until:
        raise InvalidInput("`received_until` is later than `received_from`.", field="received_until")
    key = SetAsideRecord.record_id
    waiting = select(SetAsideRecord).where(
        SetAsideRecord.node == node,
        SetAsideRecord.received_at >= received_from,
        SetAsideRecord.received_at < received_until,
        SetAsideRecord.ahead_seconds.is_not(None),
        SetAsideRecord.resolved_at.is_(None),
    )
    [position] = [""] if after is None else decode_cursor(after, 1)
    done, refused, tried, is_more = Corrected(), set[str](), 0, True
    while is_more and tried < CALL_LIMIT_RECORDS:
        wanted = min(PIECE_RECORDS, CALL_LIMIT_RECORDS - tried)
        piece = (await session.execute(waiting.where(key > position).order_by(key).limit(wanted + 1))).scalars().all()
        is_more, found = len(piece) > wanted, piece[:wanted]
        if not found:
            break
        tried, position = tried + len(found), found[-1].record_id
        locked = await _lock(session, found)
        # A copy of one that was refused in an earlier piece is refused already.
        legs = [leg for leg in locked if leg.waited and leg.leading.record_id not in refused]
        await _try(session, _not_put_away(legs), correction)
        _add_up(done, legs)
        refused |= {leg.leading.record_id for leg in legs if leg.problem}
        await session.flush()
        for row in {*piece, *(row for leg in locked for row in leg.records)}:
            session.expunge(row)  # a large backlog is not held in memory
    done.following = encode_cursor((position,)) if is_more else None
    log.info("call_records.corrected", node=node, stored=done.stored, known=done.known, refused=done.refused)
    return done


async def _lock(session: AsyncSession, found: Sequence[SetAsideRecord]) -> list[_Leg]:
    """The legs that these records tell of, each with every record of it that was set aside; locked in one order.

    Two who correct copies of one leg by different amounts must not both store it.
    """
    numbers = {number for each in found if (number := _session(each)) is not None}
    wanted = [SetAsideRecord.record_id.in_([each.record_id for each in found])]
    if numbers:
        wanted.append(tuple_(SetAsideRecord.boot_id, SetAsideRecord.session_number).in_(numbers))
    query = select(SetAsideRecord).where(or_(*wanted)).order_by(SetAsideRecord.record_id).with_for_update()
    rows = (await session.execute(query.execution_options(populate_existing=True))).scalars().all()
    legs: dict[tuple[str, int] | str, list[SetAsideRecord]] = {}
    for row in rows:
        legs.setdefault(_session(row) or row.record_id, []).append(row)
    return [_leg(records) for records in legs.values()]


def _leg(records: list[SetAsideRecord]) -> _Leg:
    waiting = [each for each in records if each.resolved_at is None]
    return _Leg(next(iter(waiting), records[0]), records, len(waiting))


def _session(record: SetAsideRecord) -> tuple[str, int] | None:
    if record.boot_id is None or record.session_number is None:
        return None
    return record.boot_id, record.session_number


def _not_put_away(legs: Sequence[_Leg]) -> list[_Leg]:
    """Those of which nobody has put a copy away; where somebody has, a person decides of each that waits."""
    for leg in legs:
        if leg.dismissed_reason is not None:
            leg.problem = _put_away(leg.dismissed_reason)
    return [leg for leg in legs if not leg.problem]


def _put_away(reason: str) -> str:
    return f"The record was put away: {reason}"


async def _try(session: AsyncSession, legs: Sequence[_Leg], correction: ClockCorrection | None) -> None:
    """Store what can be, count what is nobody's, and write at each leg what has become of it."""
    deliveries: list[tuple[_Leg, Delivery]] = []
    for leg in legs:
        aside = leg.leading
        try:
            record = _read(leg, correction)
        except StrayRefusal as stray:
            await stray_calls.note(session, aside.node, stray)
            await _resolve(session, leg, stray.leg_id, correction)
        except RecordUnreadable as error:
            leg.problem = f"The record still cannot be read. {error}"
        else:
            body, is_corrected = cdr.deflated(aside.body), correction is not None
            deliveries.append(
                (leg, Delivery(record, aside.node, aside.received_at, body, None, is_corrected=is_corrected))
            )
    outcomes = await _store(session, [delivery for _, delivery in deliveries])
    for (leg, delivery), outcome in zip(deliveries, outcomes, strict=True):
        if isinstance(outcome, RecordUnreadable):
            leg.problem = str(outcome)
        elif outcome not in (Outcome.STORED, Outcome.KNOWN):
            leg.problem = cdr.why_not(outcome, delivery)
        else:
            leg.outcome = outcome
            await _resolve(session, leg, delivery.record.leg_id, correction if outcome is Outcome.STORED else None)
    await recovered.count_again(session, [delivery.record.session for leg, delivery in deliveries if not leg.problem])


def _read(leg: _Leg, correction: ClockCorrection | None) -> Record:
    """The record as it is, or with the times that a person puts right. Raises `RecordUnreadable`."""
    body, came_at = leg.leading.body, leg.came_at
    if correction is None:
        return cdr_parsing.parse(body, now=came_at)
    if not leg.is_ahead:
        raise RecordUnreadable("It is not from the future, so there is nothing to correct: try it as it is.")
    try:
        record = cdr_parsing.parse(body, now=came_at, clock_ahead=timedelta(seconds=correction.ahead_seconds))
    except StrayRefusal as stray:
        _check_not_late(stray.ended_at, came_at)
        raise
    _check_not_late(record.ended_at, came_at)
    return record


def _check_not_late(ended_at: datetime, came_at: datetime) -> None:
    if ended_at < came_at - MAX_LATE:
        problem = f"So corrected it would have ended more than {MAX_LATE.days} days before it came: correct it by less."
        raise RecordUnreadable(problem)


async def _store(session: AsyncSession, deliveries: Sequence[Delivery]) -> list[Outcome | RecordUnreadable]:
    """Store a group; where the database refuses it, one by one, so that none fails the others."""
    if not deliveries:
        return []
    try:
        async with session.begin_nested():
            raw = await (await session.connection()).get_raw_connection()
            return [*await cdr.store(cast("PlainConnection", raw.driver_connection), deliveries)]
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        if len(deliveries) == 1:
            return [RecordUnreadable(f"The database refuses the record ({error.sqlstate}).")]
        return [outcome for delivery in deliveries for outcome in await _store(session, [delivery])]


async def _resolve(session: AsyncSession, leg: _Leg, leg_id: str, correction: ClockCorrection | None) -> None:
    """Nobody has to look at these records any more. `correction`: the one that the leg is kept with."""
    for aside in leg.waiting:
        aside.resolved_at = clock.now()
        aside.corrected_seconds = None if correction is None else correction.ahead_seconds
    facts: dict[str, Any] = {"leg_id": leg_id}
    if correction is not None:
        facts |= {"clock_ahead_seconds": correction.ahead_seconds, "reason": correction.reason}
    await audit.record(session, PLATFORM, "call_record.recovered", leg.leading.record_id, **facts)


def _add_up(done: Corrected, legs: Sequence[_Leg]) -> None:
    for leg in legs:
        if leg.problem:
            done.refused += 1
            if len(done.refusals) < SHOWN_REFUSALS:
                done.refusals.append((leg.leading.record_id, leg.problem))
            continue
        is_stored, is_counted = leg.outcome is Outcome.STORED, leg.outcome is None
        done.stored += is_stored
        done.counted += is_counted
        done.known += leg.waited - (is_stored or is_counted)
