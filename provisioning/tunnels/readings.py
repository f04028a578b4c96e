"""Counters that a gateway has read become data usage (C3), each byte once.

A gateway reports totals, not differences: the highest ever reported of a peer in one of its lives is kept, and what a
report has beyond that is new. So reports may be lost, sent twice or come late, and counters may begin again at zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from billing.data_traffic import posting
from billing.data_traffic.posting import Traffic
from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.http import Body
from provisioning.models import Seat
from provisioning.tunnels.models import TunnelCounter, TunnelKey, TunnelPool

READINGS_LIMIT = 2_000
"""In one report; a gateway sends several."""

LARGEST_COUNTER = 2**60
OLDEST_SECONDS = 62 * 86_400.0
"""A reading that waited longer on its gateway counts as this old."""

_BEGIN_COUNTERS = text(
    "INSERT INTO tunnel_counter"
    " (tenant_id, tunnel_gateway_id, public_key, life, seat_id, received, sent, read_at)"
    " SELECT :tenant_id, :tunnel_gateway_id, told.public_key, told.life, told.seat_id, 0, 0, told.moment"
    " FROM unnest(CAST(:keys AS text[]), CAST(:lives AS text[]), CAST(:seat_ids AS text[]),"
    " CAST(:moments AS timestamptz[])) AS told (public_key, life, seat_id, moment)"
    " ON CONFLICT DO NOTHING"
)
_HOLD_COUNTERS = text(
    "SELECT counter.public_key, counter.life, counter.received, counter.sent FROM tunnel_counter AS counter"
    " JOIN unnest(CAST(:keys AS text[]), CAST(:lives AS text[])) AS told (public_key, life)"
    " ON counter.public_key = told.public_key AND counter.life = told.life"
    " WHERE counter.tenant_id = :tenant_id AND counter.tunnel_gateway_id = :tunnel_gateway_id"
    " ORDER BY counter.public_key, counter.life FOR UPDATE OF counter"
)
_RAISE_COUNTERS = text(
    "UPDATE tunnel_counter AS counter SET received = told.received, sent = told.sent, read_at = told.moment"
    " FROM unnest(CAST(:keys AS text[]), CAST(:lives AS text[]), CAST(:received AS bigint[]), CAST(:sent AS bigint[]),"
    " CAST(:moments AS timestamptz[])) AS told (public_key, life, received, sent, moment)"
    " WHERE counter.tenant_id = :tenant_id AND counter.tunnel_gateway_id = :tunnel_gateway_id"
    " AND counter.public_key = told.public_key AND counter.life = told.life"
)
_NOTE_HANDSHAKES = text(
    "UPDATE tunnel_account SET last_handshake_at = told.moment"
    " FROM unnest(CAST(:keys AS text[]), CAST(:moments AS timestamptz[])) AS told (public_key, moment)"
    " WHERE tunnel_account.tenant_id = :tenant_id AND tunnel_account.public_key = told.public_key"
)
"""Statements with arrays: a gateway reports some thousand at once, most of which have moved by a keepalive."""

log = logs.get(__name__)
Counter = Annotated[int, Meta(ge=0, le=LARGEST_COUNTER)]


class Reading(Body):
    """A peer's counters (bytes) as its gateway read them `age_seconds` ago, in the life that the gateway names."""

    public_key: Annotated[str, Meta(max_length=44)]
    life: Annotated[str, Meta(min_length=1, max_length=64)]
    received: Counter
    sent: Counter
    age_seconds: Annotated[float, Meta(ge=0, le=10**9)] = 0.0
    handshake_age_seconds: Annotated[float, Meta(ge=0, le=10**9)] | None = None
    """Since the last handshake when it was read; None: there was none."""


@dataclass(frozen=True, slots=True)
class _Read:
    reading: Reading
    seat_id: str
    read_at: datetime
    handshake_at: datetime | None


async def receive(database: Database, tunnel_gateway_id: str, readings: Sequence[Reading]) -> int:
    """Take a gateway's readings, one transaction a tenant; returns how many are of nobody whom it serves.

    Everything may be sent again. Readings of keys that this gateway does not serve are ignored and logged.
    """
    by_tenant = await _sorted_out(database, tunnel_gateway_id, readings)
    for tenant_id, read in sorted(by_tenant.items()):
        async with database.transaction(Scope.platform()) as session:
            await _take(session, tenant_id, tunnel_gateway_id, read)
    unknown = len(readings) - sum(len(read) for read in by_tenant.values())
    if unknown:
        log.warning("tunnel_readings.unknown", tunnel_gateway_id=tunnel_gateway_id, count=unknown)
    return unknown


async def _sorted_out(
    database: Database, tunnel_gateway_id: str, readings: Sequence[Reading]
) -> dict[str, list[_Read]]:
    now = clock.now()
    # Of a tenant that has moved to another gateway the last counters are still this one's to tell.
    has_counted = (
        select(TunnelCounter.life)
        .where(
            TunnelCounter.tenant_id == TunnelKey.tenant_id,
            TunnelCounter.tunnel_gateway_id == tunnel_gateway_id,
            TunnelCounter.public_key == TunnelKey.public_key,
        )
        .exists()
    )
    async with database.transaction(Scope.platform()) as session:
        query = (
            select(TunnelKey.public_key, TunnelKey.tenant_id, TunnelKey.seat_id)
            .join(TunnelPool, TunnelPool.tenant_id == TunnelKey.tenant_id)
            .where(
                or_(TunnelPool.tunnel_gateway_id == tunnel_gateway_id, has_counted),
                TunnelKey.public_key.in_({each.public_key for each in readings}),
            )
        )
        owners = {key: (tenant_id, seat_id) for key, tenant_id, seat_id in await session.execute(query)}
    by_tenant: defaultdict[str, list[_Read]] = defaultdict(list)
    for each in readings:
        owner = owners.get(each.public_key)
        if owner is not None:
            read_at = now - timedelta(seconds=min(each.age_seconds, OLDEST_SECONDS))
            age = each.handshake_age_seconds
            handshake = None if age is None else read_at - timedelta(seconds=min(age, OLDEST_SECONDS))
            by_tenant[owner[0]].append(_Read(each, owner[1], read_at, handshake))
    return dict(by_tenant)


async def _take(session: AsyncSession, tenant_id: str, tunnel_gateway_id: str, read: Sequence[_Read]) -> None:
    highest = await _hold_counters(session, tenant_id, tunnel_gateway_id, read)
    owners = select(Seat.seat_id, Seat.contract_id).where(
        Seat.tenant_id == tenant_id, Seat.seat_id.in_({each.seat_id for each in read})
    )
    contracts = {row.seat_id: row.contract_id for row in await session.execute(owners)}
    traffic: list[Traffic] = []
    changed: dict[tuple[str, str], datetime] = {}
    handshakes: dict[str, datetime] = {}
    for each in sorted(read, key=lambda each: each.read_at):
        life = each.reading.public_key, each.reading.life
        before = highest[life]
        after = max(before[0], each.reading.received), max(before[1], each.reading.sent)
        if after != before:
            highest[life], changed[life] = after, each.read_at
            contract_id = contracts.get(each.seat_id)
            if contract_id is not None:
                traffic.append(
                    Traffic(
                        contract_id=contract_id,
                        seat_id=each.seat_id,
                        day=clock.local_date(each.read_at),
                        received=after[0] - before[0],
                        sent=after[1] - before[1],
                    )
                )
        if each.handshake_at is not None:
            handshakes[each.reading.public_key] = each.handshake_at
    if changed:
        await session.execute(
            _RAISE_COUNTERS,
            {
                "tenant_id": tenant_id,
                "tunnel_gateway_id": tunnel_gateway_id,
                "keys": [key for key, _ in changed],
                "lives": [life for _, life in changed],
                "received": [highest[each][0] for each in changed],
                "sent": [highest[each][1] for each in changed],
                "moments": list(changed.values()),
            },
        )
    await posting.add(session, tenant_id, traffic)
    if handshakes:
        told = {"tenant_id": tenant_id, "keys": list(handshakes), "moments": list(handshakes.values())}
        await session.execute(_NOTE_HANDSHAKES, told)


async def _hold_counters(
    session: AsyncSession, tenant_id: str, tunnel_gateway_id: str, read: Sequence[_Read]
) -> dict[tuple[str, str], tuple[int, int]]:
    """The highest counters of these peers' lives so far, bytes from and to the seat; locked, made where missing."""
    lives = {(each.reading.public_key, each.reading.life): each for each in read}
    wanted = sorted(lives)
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "tunnel_gateway_id": tunnel_gateway_id,
        "keys": [key for key, _ in wanted],
        "lives": [life for _, life in wanted],
    }
    begun = {
        "seat_ids": [lives[each].seat_id for each in wanted],
        "moments": [lives[each].read_at for each in wanted],
    }
    await session.execute(_BEGIN_COUNTERS, values | begun)
    rows = await session.execute(_HOLD_COUNTERS, values)
    return {(row.public_key, row.life): (row.received, row.sent) for row in rows}
