"""Call records, stored exactly once; what cannot be stored is set aside as it came (switch/set_aside_records.py).

One statement stores a whole group of records: it checks that the node may report (of a record from a disk: that there
is or was such a node) and that the tenants exist, inserts the legs that are new, and puts those that bill on the
billing room's work list. The rows of a group may belong to several tenants; when tenants are spread over several
databases, a group will be split by tenant here.

A record of the canary's own call explains its number in the count of the node's calls (switch/completeness) and is
nobody's: it is not among the call records, so nothing can list, charge or export it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from switch import cdr_parsing
from switch.call_quality import CallQuality
from switch.canary_call import LEG_CANARY
from switch.cdr_parsing import Record, Session
from switch.direct_connections import PlainConnection
from switch.node_sign_in import STATE_LEFT, NodeSignIn

COMPRESSION_LEVEL = 1
"""Nearly as small as the best one for these bodies, in half the time."""

_COLUMNS = (
    "tenant_id, month, leg_id, node, leg, direction, other_leg_id, seat_id, caller, destination, gateway, "
    "started_at, answered_at, ended_at, billable_milliseconds, hangup_cause, refusal, received_at, boot_id, "
    "session_number, codec, mean_opinion_score, quality_percent, jitter_variance, loss_percent, packets_received"
)

_BLANKS = {"caller": "''", "destination": "''", "seat_id": "NULL", "other_leg_id": "NULL"}
"""What stands in a record that comes after its tenant's erasure has begun, as in those that the erasure found (clause
C26). It counts among the node's calls; who called whom is not written down, here or on the lists of work."""

_KEPT = ", ".join(
    f"CASE WHEN has_left THEN {_BLANKS[column]} ELSE {column} END" if column in _BLANKS else column
    for column in _COLUMNS.split(", ")
)

_MAY_BE_KEPT = "node_may AND tenant_is AND NOT is_doubted"

# One text and one piece of bytes for the whole group: arrays of every column take psycopg ten times as long to write.
_STORE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM ROWS FROM (json_to_recordset(%(records)s::json) AS (
        tenant_id text, month date, leg_id text, node text, leg text, direction text, other_leg_id text, seat_id text,
        caller text, destination text, gateway text, started_at timestamptz, answered_at timestamptz,
        ended_at timestamptz, billable_milliseconds integer, hangup_cause text, refusal text, received_at timestamptz,
        boot_id text, session_number integer, codec text, mean_opinion_score numeric, quality_percent numeric,
        jitter_variance numeric, loss_percent numeric, packets_received integer,
        secret_digest text, bills boolean, is_corrected boolean, body_begins integer, body_size integer
    )) WITH ORDINALITY AS given (
        {_COLUMNS}, secret_digest, bills, is_corrected, body_begins, body_size, position
    )
), judged AS MATERIALIZED (
    SELECT given.*,
           NOT is_corrected AND EXISTS (
               SELECT FROM set_aside_record AS aside
               WHERE aside.boot_id = given.boot_id AND aside.session_number = given.session_number
                 AND aside.ahead_seconds IS NOT NULL
           ) AS is_doubted,
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
    FROM judged WHERE {_MAY_BE_KEPT} AND leg <> '{LEG_CANARY}'
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, month, leg_id
), explained AS (
    INSERT INTO seen_leg (boot_id, leg_id, session_number, owner_id, direction, caller, destination, started_at,
                          answered_at, ended_at, is_void)
    SELECT DISTINCT ON (boot_id, leg_id) boot_id, leg_id, session_number, NULL, 'inbound', '', '', started_at,
                                         answered_at, ended_at, true
    FROM judged WHERE {_MAY_BE_KEPT} AND leg = '{LEG_CANARY}' AND boot_id IS NOT NULL
    ORDER BY boot_id, leg_id
    ON CONFLICT (boot_id, leg_id) DO UPDATE SET is_void = true WHERE NOT seen_leg.is_void
    RETURNING boot_id, leg_id
), known_boot AS (
    INSERT INTO node_boot (boot_id, node, first_seen_at, last_number, is_watched)
    SELECT DISTINCT ON (boot_id) boot_id, node, received_at, 0, false
    FROM judged WHERE {_MAY_BE_KEPT} AND boot_id IS NOT NULL ORDER BY boot_id
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
SELECT judged.node_may, judged.tenant_is, judged.is_doubted,
       stored.leg_id IS NOT NULL OR explained.leg_id IS NOT NULL
FROM judged
LEFT JOIN stored USING (tenant_id, month, leg_id)
LEFT JOIN explained ON explained.boot_id = judged.boot_id AND explained.leg_id = judged.leg_id
ORDER BY judged.position
""".encode()  # noqa: S608 - the names are the constants above

# Whatever the month: the same leg, corrected by another amount, may lie in another one. A copy that a person has had
# stored or counted, as of the canary's call, is known without being among the call records.
_KNOWN = b"""
SELECT told.position FROM unnest(%(boots)s::text[], %(numbers)s::integer[]) WITH ORDINALITY
    AS told (boot_id, session_number, position)
WHERE EXISTS (
    SELECT FROM call_record AS known
    WHERE known.boot_id = told.boot_id AND known.session_number = told.session_number
) OR EXISTS (
    SELECT FROM set_aside_record AS aside
    WHERE aside.boot_id = told.boot_id AND aside.session_number = told.session_number
      AND aside.resolved_at IS NOT NULL AND aside.dismissed_reason IS NULL
)
"""


class Outcome(StrEnum):
    """What became of a record."""

    STORED = "stored"
    KNOWN = "known"
    """It was stored before."""
    NO_TENANT = "no_tenant"
    NO_NODE = "no_node"
    DOUBTED = "doubted"
    """A copy of it came from the future: its node's clock ran ahead, and its times are wrong also now that they have
    passed. A person says by how much (switch/record_retry.py)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A readable record with the body it came in. `sign_in` is None where no node has signed in, as for a file."""

    record: Record
    node: str
    received_at: datetime
    deflated_body: bytes = field(repr=False)
    sign_in: NodeSignIn | None
    is_corrected: bool = False
    """A person has put its times right."""


def deflated(body: bytes) -> bytes:
    """A body as it is kept, without keys of media.

    Not in a thread: handing it over and back takes longer than deflating it.
    """
    return zlib.compress(cdr_parsing.without_media_keys(body), COMPRESSION_LEVEL)


async def store(connection: PlainConnection, deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Store a group in one statement; the outcomes in the same order. No two corrected ones may be of one leg.

    Durable when the transaction around it is committed, which for a connection in autocommit is at once. May be
    repeated. The legs are inserted in order of their key, so that two groups never wait for each other in a circle.
    """
    corrected = [index for index, delivery in enumerate(deliveries) if delivery.is_corrected]
    outcomes = dict.fromkeys(await _known(connection, deliveries, corrected), Outcome.KNOWN)
    order = sorted(set(range(len(deliveries))) - outcomes.keys(), key=lambda index: _key(deliveries[index]))
    rows: list[dict[str, Any]] = []
    bodies = bytearray()
    for index in order:
        body = deliveries[index].deflated_body
        rows.append(_row(deliveries[index]) | {"body_begins": len(bodies) + 1, "body_size": len(body)})
        bodies += body
    parameters = {"records": msgspec.json.encode(rows).decode(), "bodies": bytes(bodies), "left": STATE_LEFT}
    cursor = await connection.execute(_STORE, parameters)
    outcomes |= zip(order, (_outcome(*row) for row in await cursor.fetchall()), strict=True)
    doubted = [index for index in order if outcomes[index] is Outcome.DOUBTED]
    outcomes |= dict.fromkeys(await _known(connection, deliveries, doubted), Outcome.KNOWN)
    return [outcomes[index] for index in range(len(deliveries))]


async def _known(connection: PlainConnection, deliveries: Sequence[Delivery], among: Sequence[int]) -> list[int]:
    """Which of these legs are stored, in whatever month: asked only of those with a copy from the future."""
    if not among:
        return []
    told = [deliveries[index].record.session for index in among]
    parameters = {"boots": [each.boot_id for each in told], "numbers": [each.number for each in told]}
    cursor = await connection.execute(_KNOWN, parameters)
    return [among[position - 1] for (position,) in await cursor.fetchall()]


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
            "is_corrected": delivery.is_corrected,
        }
    )


def why_not(outcome: Outcome, delivery: Delivery) -> str:
    """What is wrong with a record of no tenant, or of no node, that we know, or whose times are not to be believed."""
    if outcome is Outcome.NO_NODE:
        return no_such_node(delivery.node)
    if outcome is Outcome.DOUBTED:
        return "start_uepoch: the same leg came before, from the future: say how far its node's clock ran ahead."
    return f"seatline_tenant: there is no tenant {delivery.record.tenant_id}."


def no_such_node(name: str) -> str:
    """What is wrong with a record of a node that was never known."""
    return f"switchname: there is and was no node {name}."


def _outcome(node_may: bool, tenant_is: bool, is_doubted: bool, was_stored: bool) -> Outcome:
    if not node_may:
        return Outcome.NO_NODE
    if not tenant_is:
        return Outcome.NO_TENANT
    if is_doubted:
        return Outcome.DOUBTED
    return Outcome.STORED if was_stored else Outcome.KNOWN
