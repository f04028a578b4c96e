"""Ten minutes' worth of call records at 100 a second while the API restarts three times: none lost, none doubled.

A stand-in of a node reports as mod_json_cdr does: it posts each record twice at most and then leaves it on its disk.
What is there in the end, the node's shipper brings home. The records come as fast as they are taken.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
import time  # durations are measured on the monotonic clock
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from infra.kit import clock
from infra.kit.database import Scope
from switch import record_shipping
from switch.completeness import counting, listing, reconciling
from switch.completeness.counting import SessionCount
from switch.completeness.hours import SETTLE
from switch.completeness.listing import HourFilter
from switch.record_shipping import ShippingSettings
from tests.bench.figures import Figure
from tests.bench.load import FRESH_UUID, LoadBroken
from tests.bench.system import NODE, RECORD_PATH, SeatedTenant, System
from tests.live.system import LOOPBACK
from tests.live.waiting import until
from tests.switch.exchange import call_record

RECORDS_A_SECOND = 100
RECORDS = 60_000
RESTARTS = 3
AWAY_SECONDS = 2.0
CONNECTIONS = 16
ATTEMPTS = 2
ATTEMPT_TIMEOUT_SECONDS = 4.0
PAUSE_SECONDS = 0.2
SHIPPING_LIMIT_SECONDS = 300.0
SESSION_MARK = b"1999999999"
_ACCEPTED = b"HTTP/1.1 200"
_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Node:
    """A stand-in of a node: where it posts, and what it did."""

    port: int
    authorization: str
    spool: Path
    body: bytes
    posted: int = 0
    kept: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: iter(()))

    def record(self, number: int) -> tuple[str, bytes]:
        """A session's record, and its leg."""
        leg = str(uuid.uuid4())
        return leg, self.body.replace(FRESH_UUID, leg.encode()).replace(SESSION_MARK, str(number).encode())

    async def report(self) -> None:
        """Report one record after another over one connection, until there is none left."""
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for number in self.numbers:
            leg, body = self.record(number)
            for _ in range(ATTEMPTS):
                try:
                    async with asyncio.timeout(ATTEMPT_TIMEOUT_SECONDS):
                        line = line or await asyncio.open_connection(LOOPBACK, self.port)
                        accepted = await self._post(line, body)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    accepted = False
                if accepted:
                    self.posted += 1
                    break
                if line is not None:
                    line[1].close()
                    line = None
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self.kept += 1
                (self.spool / f"{leg}.cdr.json").write_bytes(body)
        if line is not None:
            line[1].close()

    async def _post(self, line: tuple[asyncio.StreamReader, asyncio.StreamWriter], body: bytes) -> bool:
        reader, writer = line
        head = f"POST {RECORD_PATH} HTTP/1.1\r\nhost: seatline\r\nauthorization: {self.authorization}\r\n"
        writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(_HEAD_END)
        return answer.startswith(_ACCEPTED)  # it has no body


async def measure(system: System, tenant: SeatedTenant, *, records: int = RECORDS) -> list[Figure]:
    """Report, restart, ship, count."""
    boot_id = str(uuid.uuid4())
    began_at = clock.now()
    with tempfile.TemporaryDirectory() as directory:
        node = Node(system.api_port, system.authorization, Path(directory), _body(tenant, boot_id))
        node.numbers = iter(range(1, records + 1))
        began = time.monotonic()
        reporting = asyncio.gather(*(node.report() for _ in range(CONNECTIONS)))
        for index in range(RESTARTS):
            await _restart(system, node, after=records * (index + 1) // (RESTARTS + 1))
        await reporting
        await _ship(system, node)
        seconds = time.monotonic() - began
    if not node.kept or node.posted + node.kept != records:
        raise LoadBroken(f"{node.posted} records were posted and {node.kept} kept, of {records}.")
    with system.driver_connection() as connection:
        counted = connection.execute(
            "SELECT count(*), count(DISTINCT leg_id) FROM call_record WHERE boot_id = %s", (boot_id,)
        ).fetchone()
    rows, legs = counted or (0, 0)
    missing = await _missing(system, boot_id, records, began_at)
    if missing != records - legs:
        raise LoadBroken(f"{records - legs} records are lost, but the product counts {missing} missing.")
    sent = f"the records sent, the API restarted {RESTARTS} times meanwhile; {node.kept:,} came by the spool"
    return [
        Figure(name=name, value=value, unit="records", limit=records, limit_is=sent, goal=0, better="lower")
        for name, value in (("call records lost", records - legs), ("call records doubled", rows - legs))
    ] + [
        Figure(
            name="call records kept, restarts and shipping included",
            value=records / seconds,
            unit="1/s",
            limit=RECORDS_A_SECOND,
            limit_is="what ten minutes of a busy cluster bring",
            goal=1.0,
            better="higher",
        )
    ]


def _body(tenant: SeatedTenant, boot_id: str) -> bytes:
    record: dict[str, Any] = call_record(tenant.tenant_id, session_id=SESSION_MARK.decode()) | {"core-uuid": boot_id}
    return json.dumps(record).encode().replace(record["variables"]["uuid"].encode(), FRESH_UUID)


async def _restart(system: System, node: Node, *, after: int) -> None:
    """End the API once so many records were dealt with, and start it again a little later."""

    async def is_time() -> bool:
        return node.posted + node.kept >= after

    await until(is_time, f"{after} records were reported", limit_seconds=SHIPPING_LIMIT_SECONDS)
    await asyncio.to_thread(system.api.stop)
    await asyncio.sleep(AWAY_SECONDS)
    system.api.start()


async def _ship(system: System, node: Node) -> None:
    _, _, encoded = node.authorization.partition(" ")
    name, _, secret = base64.b64decode(encoded).decode().partition(":")
    settings = ShippingSettings(
        f"http://{LOOPBACK}:{system.api_port}{RECORD_PATH}", name, secret, (node.spool,), certificates=None
    )

    async def is_empty() -> bool:
        return not (await record_shipping.ship(settings, min_age_seconds=0)).left

    await until(is_empty, "the spool is empty", limit_seconds=SHIPPING_LIMIT_SECONDS)


async def _missing(system: System, boot_id: str, records: int, began_at: datetime) -> int:
    """What the product says of this boot once its hour is over."""
    async with system.database.transaction(Scope.platform()) as session:
        await counting.observe(session, NODE, SessionCount(boot_id, records, began_at), added_at=began_at)
    offset = clock.offset_seconds()
    clock.travel_to(began_at + timedelta(hours=1) + SETTLE)
    try:
        await reconciling.reconcile(system.database)
        async with system.database.transaction(Scope.platform()) as session:
            hours, _ = await listing.list_hours(session, HourFilter(node=NODE), limit=100)
    finally:
        clock.set_offset_seconds(offset)
    return sum(hour.missing for hour in hours)
