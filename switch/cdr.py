"""Call records, stored exactly once; what cannot be stored is set aside as it came.

One statement stores a whole group of records: it checks that the node may report (of a record from a disk: that there
is or was such a node) and that the tenants exist, inserts
the legs that are new, and puts those that bill on the billing room's work list. The rows of a group may belong to
several tenants; when tenants are spread over several databases, a group will be split by tenant here.

A record of the canary's own call explains its number in the count of the node's calls (switch/completeness) and is
nobody's: it is not among the call records, so nothing can list, charge or export it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

import msgspec
from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import Conflict, NotFound
from switch import cdr_parsing, stray_calls
from switch.call_quality import CallQuality
from switch.canary_call import LEG_CANARY
from switch.cdr_parsing import Record, RecordUnreadable, Session, StrayRefusal
from switch.direct_connections import PlainConnection
from switch.models import CallRecord, NewCall, SetAsideRecord
from switch.node_sign_in import STATE_LEFT, NodeSignIn
from tenancy.models import SipDomain, Tenant

log = logs.get(__name__)

COMPRESSION_LEVEL = 1
"""Nearly as small as the best one for these bodies, in half the time."""

PIECE_RECORDS = 200
"""Of the records set aside, at once in memory."""

_COLUMNS = (
    "tenant_id, month, leg_id, node, leg, direction, other_leg_id, seat_id, caller, destination, gateway, "
    "started_at, answered_at, ended_at, billable_milliseconds, hangup_cause, refusal, received_at, boot_id, "
    "session_number, codec, mean_opinion_score, quality_percent, jitter_variance, loss_percent, packets_received"
)

OF_A_LEFT_TENANT = "The record names a tenant that has left; its content is erased (C26)."

_BLANKS = {"caller": "''", "destination": "''", "seat_id": "NULL", "other_leg_id": "NULL"}
"""What stands in a record that comes after its tenant's erasure has begun, as in those that the erasure found (clause
C26). It counts among the node's calls; who called whom is not written down, here or on the lists of work."""

_KEPT = ", ".join(
    f"CASE WHEN has_left THEN {_BLANKS[column]} ELSE {column} END" if column in _BLANKS else column
    for column in _COLUMNS.split(", ")
)

# One text and one piece of bytes for the whole group: arrays of every column take psycopg ten times as long to write.
_STORE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM ROWS FROM (json_to_recordset(%(records)s::json) AS (
        tenant_id text, month date, leg_id text, node text, leg text, direction text, other_leg_id text, seat_id text,
        caller text, destination text, gateway text, started_at timestamptz, answered_at timestamptz,
        ended_at timestamptz, billable_milliseconds integer, hangup_cause text, refusal text, received_at timestamptz,
        boot_id text, session_number integer, codec text, mean_opinion_score numeric, quality_percent numeric,
        jitter_variance numeric, loss_percent numeric, packets_received integer,
        secret_digest text, bills boolean, body_begins integer, body_size integer
    )) WITH ORDINALITY AS given (
        {_COLUMNS}, secret_digest, bills, body_begins, body_size, position
    )
), judged AS MATERIALIZED (
    SELECT given.*,
           EXISTS (
               SELECT FROM node
               WHERE node.name = given.node AND (
                   given.secret_digest IS NULL
                   OR (node.secret_digest = given.secret_digest AND node.state <> %(left)s)
               )
           ) AS node_may,
           EXISTS (SELECT FROM tenant WHERE tenant.tenant_id = given.tenant_id) AS tenant_is,
           EXISTS (
               SELECT FROM tenant WHERE tenant.tenant_id = given.tenant_id AND tenant.standing = 'closed'
           ) AS has_left
    FROM given
), stored AS (
    INSERT INTO call_record ({_COLUMNS}, body)
    SELECT {_KEPT},
           CASE WHEN has_left THEN '' ELSE substring(%(bodies)b::bytea FROM body_begins FOR body_size) END
    FROM judged WHERE node_may AND tenant_is AND leg <> '{LEG_CANARY}'
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, month, leg_id
), explained AS (
    INSERT INTO seen_leg (boot_id, leg_id, session_number, owner_id, direction, caller, destination, started_at,
                          answered_at, ended_at, is_void)
    SELECT DISTINCT ON (boot_id, leg_id) boot_id, leg_id, session_number, NULL, 'inbound', '', '', started_at,
                                         answered_at, ended_at, true
    FROM judged WHERE node_may AND tenant_is AND leg = '{LEG_CANARY}' AND boot_id IS NOT NULL
    ORDER BY boot_id, leg_id
    ON CONFLICT (boot_id, leg_id) DO UPDATE SET is_void = true WHERE NOT seen_leg.is_void
    RETURNING boot_id, leg_id
), known_boot AS (
    INSERT INTO node_boot (boot_id, node, first_seen_at, last_number, is_watched)
    SELECT DISTINCT ON (boot_id) boot_id, node, received_at, 0, false
    FROM judged WHERE node_may AND tenant_is AND boot_id IS NOT NULL ORDER BY boot_id
    ON CONFLICT DO NOTHING
), listed AS (
    INSERT INTO new_call (tenant_id, month, leg_id)
    SELECT DISTINCT stored.tenant_id, stored.month, stored.leg_id
    FROM stored JOIN judged USING (tenant_id, month, leg_id) WHERE judged.bills AND NOT judged.has_left
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO ended_call (tenant_id, month, leg_id)
    SELECT DISTINCT stored.tenant_id, stored.month, stored.leg_id
    FROM stored JOIN judged USING (tenant_id, month, leg_id)
    WHERE (judged.leg = 'caller' OR (judged.leg = 'gateway' AND judged.direction = 'inbound'))
      AND NOT judged.has_left
      AND EXISTS (
          SELECT FROM webhook_endpoint AS wanting
          WHERE wanting.tenant_id = stored.tenant_id AND wanting.state = 'enabled'
            AND wanting.event_types @> '["call.ended"]'
      )
    ON CONFLICT DO NOTHING
)
SELECT judged.node_may, judged.tenant_is, stored.leg_id IS NOT NULL OR explained.leg_id IS NOT NULL
FROM judged
LEFT JOIN stored USING (tenant_id, month, leg_id)
LEFT JOIN explained ON explained.boot_id = judged.boot_id AND explained.leg_id = judged.leg_id
ORDER BY judged.position
""".encode()  # noqa: S608 - the names are the constants above


class Outcome(StrEnum):
    """What became of a record."""

    STORED = "stored"
    KNOWN = "known"
    """It was stored before."""
    NO_TENANT = "no_tenant"
    NO_NODE = "no_node"


class RecordNotStored(Conflict):
    """A record that was set aside still cannot be stored; `detail` says why. Remove the cause and try again."""

    code = "record_not_stored"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A readable record with the body it came in. `sign_in` is None where no node has signed in, as for a file."""

    record: Record
    node: str
    received_at: datetime
    deflated_body: bytes = field(repr=False)
    sign_in: NodeSignIn | None


def deflated(body: bytes) -> bytes:
    """A body as it is kept, without keys of media.

    Not in a thread: handing it over and back takes longer than deflating it.
    """
    return zlib.compress(cdr_parsing.without_media_keys(body), COMPRESSION_LEVEL)


async def store(connection: PlainConnection, deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Store a group in one statement; the outcomes in the same order.

    Durable when the transaction around it is committed, which for a connection in autocommit is at once. May be
    repeated. The legs are inserted in order of their key, so that two groups never wait for each other in a circle.
    """
    order = sorted(range(len(deliveries)), key=lambda index: _key(deliveries[index]))
    rows: list[dict[str, Any]] = []
    bodies = bytearray()
    for index in order:
        body = deliveries[index].deflated_body
        rows.append(_row(deliveries[index]) | {"body_begins": len(bodies) + 1, "body_size": len(body)})
        bodies += body
    parameters = {"records": msgspec.json.encode(rows).decode(), "bodies": bytes(bodies), "left": STATE_LEFT}
    cursor = await connection.execute(_STORE, parameters)
    outcomes = dict(zip(order, (_outcome(*row) for row in await cursor.fetchall()), strict=True))
    return [outcomes[index] for index in range(len(deliveries))]


def _key(delivery: Delivery) -> tuple[str, Any, str]:
    record = delivery.record
    return (record.tenant_id, record.month, record.leg_id)


def _row(delivery: Delivery) -> dict[str, Any]:
    values = msgspec.structs.asdict(delivery.record)
    session: Session = values.pop("session")
    quality: CallQuality = values.pop("quality")
    return (
        values
        | msgspec.structs.asdict(quality)
        | {
            "boot_id": session.boot_id,
            "session_number": session.number,
            "node": delivery.node,
            "received_at": delivery.received_at,
            "secret_digest": delivery.sign_in.secret_digest if delivery.sign_in is not None else None,
            "bills": delivery.record.bills,
        }
    )


def why_not(outcome: Outcome, delivery: Delivery) -> str:
    """What is wrong with a record of no tenant, or of no node, that we know."""
    if outcome is Outcome.NO_NODE:
        return no_such_node(delivery.node)
    return f"seatline_tenant: there is no tenant {delivery.record.tenant_id}."


def no_such_node(name: str) -> str:
    """What is wrong with a record of a node that was never known."""
    return f"switchname: there is and was no node {name}."


def _outcome(node_may: bool, tenant_is: bool, was_stored: bool) -> Outcome:
    if not node_may:
        return Outcome.NO_NODE
    if not tenant_is:
        return Outcome.NO_TENANT
    return Outcome.STORED if was_stored else Outcome.KNOWN


async def set_aside(session: AsyncSession, node: str, body: bytes, problem: str) -> None:
    """Keep a body that cannot be stored; the same body again is only counted.

    Of one that names a tenant that has left, and is of none that stays, only that it came is kept, and which leg it
    told of (C26).
    """
    now = clock.now()
    session_told = cdr_parsing.session_of(body)
    kept: dict[str, Any] = {
        "problem": problem.replace("\x00", ""),
        "body": cdr_parsing.without_media_keys(body),
        "resolved_at": None,
    }
    if await _names_one_that_left(session, body):
        kept = emptied(now)
    statement = insert(SetAsideRecord).values(
        record_id=new_id("rec"),
        body_digest=hashlib.sha256(body).hexdigest(),
        node=node,
        received_at=now,
        times_received=1,
        **kept,
        boot_id=session_told.boot_id,
        session_number=session_told.number,
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[SetAsideRecord.body_digest],
            set_={"times_received": SetAsideRecord.times_received + 1},
        )
    )
    log.warning("call_record.set_aside", node=node, problem=kept["problem"], size_bytes=len(body))


def naming(name: str) -> str:
    """A regular expression, for PostgreSQL as for Python: a tenant's id or domain as a word of its own in a record."""
    return f"(^|[^a-z0-9.-]){re.escape(name)}([^a-z0-9.-]|$)"


def emptied(resolved_at: Any) -> dict[str, Any]:
    """What a record that was set aside keeps of its content once its tenant has left; nobody has to look at it."""
    return {"problem": OF_A_LEFT_TENANT, "body": b"", "resolved_at": func.coalesce(resolved_at, clock.now())}


async def _names_one_that_left(session: AsyncSession, body: bytes) -> bool:
    """Whether a record names a tenant whose erasure has begun, or its domain while that is nobody else's.

    One that is of a tenant that stays is that tenant's, whatever it mentions: a phone chooses much of what it says.
    """
    if await _is_of_one_that_stays(session, body):
        return False
    words = body.decode("latin-1").replace("\x00", "")
    of_another = exists().where(SipDomain.domain == Tenant.sip_domain, SipDomain.tenant_id != Tenant.tenant_id)
    query = select(Tenant.tenant_id, Tenant.sip_domain, of_another).where(
        Tenant.standing == "closed",
        or_(func.strpos(words, Tenant.tenant_id) > 0, func.strpos(words, Tenant.sip_domain) > 0),
    )
    return any(
        re.search(naming(name), words) is not None
        for tenant_id, domain, is_anothers in await session.execute(query)
        for name in ((tenant_id,) if is_anothers else (tenant_id, domain))
    )


async def _is_of_one_that_stays(session: AsyncSession, body: bytes) -> bool:
    """Whether a record says whose it is, and that tenant's erasure has not begun."""
    owner = cdr_parsing.tenant_of(body)
    if owner is None:
        return False
    stays = select(exists().where(Tenant.tenant_id == owner, Tenant.standing != "closed"))
    return bool((await session.execute(stays)).scalar_one())


async def empty_set_aside(session: AsyncSession, names: Sequence[str]) -> int:
    """Take the content out of the records set aside that name a tenant that has left, by its id or its domain (C26);
    how many they were. Those of tenants that stay are left as they are."""
    body = func.encode(SetAsideRecord.body, "escape")
    key = SetAsideRecord.record_id
    query = select(key, SetAsideRecord.body).where(or_(*(body.op("~")(naming(each)) for each in names)))
    after, count = "", 0
    while found := (await session.execute(query.where(key > after).order_by(key).limit(PIECE_RECORDS))).all():
        after = found[-1].record_id
        theirs = [each.record_id for each in found if not await _is_of_one_that_stays(session, each.body)]
        statement = update(SetAsideRecord).where(key.in_(theirs)).values(emptied(SetAsideRecord.resolved_at))
        await session.execute(statement.execution_options(synchronize_session=False))
        count += len(theirs)
    return count


async def retry(session: AsyncSession, record_id: str) -> SetAsideRecord:
    """Try to store a record that was set aside, for example once its tenant exists.

    A refused call of nobody's is counted instead. Returns it, resolved. Raises `NotFound`, or `RecordNotStored` with
    the reason.
    """
    aside = await session.get(SetAsideRecord, record_id, with_for_update=True)
    if aside is None:
        raise NotFound(f"There is no record {record_id} set aside.", field="record_id")
    if aside.dismissed_reason is not None:
        raise RecordNotStored(f"The record was put away: {aside.dismissed_reason}")
    if aside.resolved_at is not None:
        return aside
    now = clock.now()
    try:
        # By the present in which it came: what was the future then does not become true by waiting.
        record = cdr_parsing.parse(aside.body, now=aside.received_at)
    except StrayRefusal as stray:
        await stray_calls.note(session, aside.node, stray)
        aside.resolved_at = now
        return aside
    except RecordUnreadable as error:
        raise RecordNotStored(f"The record still cannot be read. {error}") from error
    raw = await (await session.connection()).get_raw_connection()
    connection = cast("PlainConnection", raw.driver_connection)
    delivery = Delivery(record, aside.node, aside.received_at, deflated(aside.body), None)
    outcome = (await store(connection, [delivery]))[0]
    if outcome in (Outcome.NO_TENANT, Outcome.NO_NODE):
        raise RecordNotStored(why_not(outcome, delivery))
    aside.resolved_at = now
    await audit.record(session, PLATFORM, "call_record.recovered", record_id, leg_id=record.leg_id)
    return aside


async def count_set_aside(session: AsyncSession) -> int:
    """How many records wait to be looked at."""
    query = select(func.count()).select_from(SetAsideRecord).where(SetAsideRecord.resolved_at.is_(None))
    return (await session.execute(query)).scalar_one()


async def count_set_aside_of(session: AsyncSession, tenant_id: str) -> int:
    """How many of them name a tenant somewhere: its calls are not complete while they wait."""
    names_it = func.strpos(func.encode(SetAsideRecord.body, "escape"), tenant_id) > 0
    query = select(func.count()).select_from(SetAsideRecord).where(SetAsideRecord.resolved_at.is_(None), names_it)
    return (await session.execute(query)).scalar_one()


async def pending_tenants(session: AsyncSession) -> list[str]:
    """The tenants that have legs on the billing room's work list."""
    query = select(NewCall.tenant_id).distinct().order_by(NewCall.tenant_id)
    return list((await session.execute(query)).scalars())


def body_of(record: CallRecord) -> bytes:
    """The record as its node sent it."""
    return zlib.decompress(record.body)
