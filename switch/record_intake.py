"""Takes call records in: many posts, few transactions, and nobody is told "stored" before it is.

Records that arrive while a group is being written make up the next one (switch/batching.py), so a hundred posts cost
a few flushes to disk instead of a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from switch import cdr, cdr_parsing, node_sign_in, set_aside_records, stray_calls
from switch.batching import Batcher
from switch.cdr import Delivery, Outcome
from switch.cdr_parsing import RecordUnreadable, StrayRefusal
from switch.direct_connections import DirectConnections, PlainConnection
from switch.node_sign_in import NodeNotSignedIn, NodeSignIn

log = logs.get(__name__)

BATCH_LIMIT_RECORDS = 64
QUEUE_LIMIT_RECORDS = 1_000
CONCURRENT_BATCHES = 2
STORE_TIMEOUT_SECONDS = 2.0
"""Half of what a node waits at most (twice this time, see `Batcher`); it then posts again, which harms nothing."""


class RecordIntake:
    """Stores call records once, or sets them aside."""

    def __init__(self, connections: DirectConnections, database: Database) -> None:
        self._connections = connections
        self._database = database
        self._batcher: Batcher[Delivery, Outcome | RecordUnreadable] = Batcher(
            self._store,
            name="records",
            batch_limit_questions=BATCH_LIMIT_RECORDS,
            queue_limit_questions=QUEUE_LIMIT_RECORDS,
            batch_timeout_seconds=STORE_TIMEOUT_SECONDS,
            concurrent_batches=CONCURRENT_BATCHES,
        )

    async def receive(self, sign_in: NodeSignIn, body: bytes, uuid: str | None) -> None:
        """Store a posted record, count it as nobody's, or set it aside; each is committed when this returns.

        What cannot be stored is not refused: the node would post it again and again. `uuid` is the leg that the
        request's address names. Errors: `NodeNotSignedIn`, 503 (`Unavailable`) when the database is away.
        """
        now = clock.now()
        try:
            record = cdr_parsing.parse(body, now=now, uuid=uuid)
        except StrayRefusal as stray:
            async with self._database.transaction(Scope.platform()) as session:
                await node_sign_in.check(session, sign_in)
                await stray_calls.note(session, sign_in.node, stray)
            return
        except RecordUnreadable as error:
            await self._set_aside(sign_in, body, str(error))
            return
        delivery = Delivery(record, sign_in.node, now, cdr.deflated(body), sign_in)
        outcome = await self._batcher.ask(delivery)
        if isinstance(outcome, RecordUnreadable):
            await self._set_aside(sign_in, body, str(outcome))
        elif outcome in (Outcome.NO_TENANT, Outcome.DOUBTED):
            await self._set_aside(sign_in, body, cdr.why_not(outcome, delivery))
        elif outcome is Outcome.NO_NODE:
            raise NodeNotSignedIn

    async def close(self) -> None:
        """Store what waits, then take no more."""
        await self._batcher.close()

    async def _store(self, deliveries: Sequence[Delivery]) -> list[Outcome | RecordUnreadable]:
        """Store a group; where the database refuses it, one by one, so that one record cannot fail the others."""

        async def store(connection: PlainConnection) -> list[Outcome | RecordUnreadable]:
            return [*await cdr.store(connection, deliveries)]

        try:
            return await self._connections.run(store)
        except psycopg.DatabaseError as error:
            if len(deliveries) == 1:
                log.error("call_record.refused", leg_id=deliveries[0].record.leg_id, sqlstate=error.sqlstate)
                return [RecordUnreadable(f"The database refuses the record ({error.sqlstate}).")]
            return [outcome for delivery in deliveries for outcome in await self._store([delivery])]

    async def _set_aside(self, sign_in: NodeSignIn, body: bytes, problem: str) -> None:
        async with self._database.transaction(Scope.platform()) as session:
            await node_sign_in.check(session, sign_in)
            await set_aside_records.set_aside(session, sign_in.node, body, problem)
