"""Call records accepted durably a second over HTTP, against a bare handler that reads the same body."""

from __future__ import annotations

import json
from typing import Any

from infra.kit.ids import new_id
from tests.bench.bare import BODY_PATH
from tests.bench.figures import Figure
from tests.bench.load import FRESH_UUID, LoadBroken, LoadClient
from tests.bench.rounds import CONNECTIONS, compare
from tests.bench.system import RECORD_PATH, SeatedTenant, System
from tests.switch.exchange import call_record

GOAL_RATIO = 0.3
SMALLEST_BODY_BYTES = 9_500
LEGS = ("caller", "gateway")


def bodies(seated: list[SeatedTenant]) -> list[bytes]:
    """Both legs of a call of each tenant, in the shape of a record of a running FreeSWITCH."""
    return [_body(tenant, leg) for tenant in seated for leg in LEGS]


def _body(tenant: SeatedTenant, leg: str) -> bytes:
    record: dict[str, Any] = call_record(
        tenant.tenant_id,
        leg="caller",
        seatline_leg=leg,
        seatline_seat=new_id("seat"),
        seatline_gateway="carrier",
        milliseconds=61_040,
    )
    return json.dumps(record).encode().replace(record["variables"]["uuid"].encode(), FRESH_UUID)


async def measure(system: System, client: LoadClient, seated: list[SeatedTenant]) -> list[Figure]:
    """Every record is a new one; all that were accepted must be in the table afterwards."""
    written = bodies(seated)
    shortest = min(map(len, written))
    if shortest < SMALLEST_BODY_BYTES:
        raise LoadBroken(f"A record has {shortest} bytes; real ones have {SMALLEST_BODY_BYTES} or more.")
    compared = compare(
        client,
        our_port=system.api_port,
        our_requests=[system.record(body, path=RECORD_PATH) for body in written],
        bare_port=system.bare_port,
        bare_requests=[system.record(body, path=BODY_PATH) for body in written],
    )
    with system.driver_connection() as connection:
        counted = connection.execute("SELECT count(*) FROM call_record").fetchone()
        accepted = sum(len(outcome.indexes) for outcome in compared.ours)
        if counted is None or counted[0] < accepted:
            raise LoadBroken(f"{accepted} records were accepted, but the table holds {counted}.")
        connection.execute("TRUNCATE call_record, new_call")
    value, limit = compared.per_second
    return [
        Figure(
            name="call records of 10 kB accepted durably",
            value=value,
            unit="1/s",
            limit=limit,
            limit_is=f"a bare handler that reads the same body, same server and {CONNECTIONS} connections",
            goal=GOAL_RATIO,
            better="higher",
        )
    ]
