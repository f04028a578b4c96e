"""The calls whose records are missing, one by one, with what is known of them; nothing is invented."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.pages import check_limit, decode_cursor, encode_cursor
from infra.kit.problems import InvalidInput

_MISSING = text("""
SELECT hour.node, hour.boot_id, hour.hour, number, seen.leg_id, seen.owner_id, seen.direction, seen.caller,
       seen.destination, seen.started_at, seen.answered_at, seen.ended_at
FROM started_hour AS hour
CROSS JOIN LATERAL generate_series(hour.last_number, hour.first_number, -1) AS number
LEFT JOIN seen_leg AS seen ON seen.boot_id = hour.boot_id AND seen.session_number = number AND NOT seen.is_void
WHERE hour.state = 'incomplete'
  AND (CAST(:node AS text) IS NULL OR hour.node = :node)
  AND (CAST(:begins_from AS timestamptz) IS NULL OR hour.hour >= :begins_from)
  AND (CAST(:begins_before AS timestamptz) IS NULL OR hour.hour < :begins_before)
  AND (CAST(:tenant_id AS text) IS NULL OR seen.owner_id = :tenant_id)
  AND (CAST(:after_hour AS timestamptz) IS NULL
       OR (hour.hour, hour.boot_id, number) < (:after_hour, CAST(:after_boot AS text), CAST(:after_number AS integer)))
  AND NOT EXISTS (SELECT FROM call_record AS record
                  WHERE record.boot_id = hour.boot_id AND record.session_number = number)
  AND NOT EXISTS (SELECT FROM set_aside_record AS aside
                  WHERE aside.boot_id = hour.boot_id AND aside.session_number = number)
  AND NOT EXISTS (SELECT FROM seen_leg AS void
                  WHERE void.boot_id = hour.boot_id AND void.session_number = number AND void.is_void)
ORDER BY hour.hour DESC, hour.boot_id DESC, number DESC
LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCall:
    """A leg that a node began and of which no record has come.

    Which boot of the node and which of its sessions is known for certain. The rest is what its supervisor saw; all None
    where it saw nothing. `direction`: `inbound` is towards the node.
    """

    node: str
    boot_id: str
    hour: datetime
    session_number: int
    leg_id: str | None
    tenant_id: str | None
    direction: str | None
    caller: str | None
    destination: str | None
    started_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None


async def list_missing(
    session: AsyncSession,
    *,
    node: str | None = None,
    tenant_id: str | None = None,
    begins_from: datetime | None = None,
    begins_before: datetime | None = None,
    limit: int,
    after: str | None = None,
) -> tuple[list[MissingCall], str | None]:
    """A page of missing calls of incomplete hours, the latest first, and the next cursor.

    Also of hours that were signed off: the signature lets the month close and finds no record. Raises `InvalidInput`.
    """
    check_limit(limit)
    after_hour, after_boot, after_number = _position(after)
    facts = {
        "node": node,
        "tenant_id": tenant_id,
        "begins_from": begins_from,
        "begins_before": begins_before,
        "after_hour": after_hour,
        "after_boot": after_boot,
        "after_number": after_number,
        "limit": limit + 1,
    }
    rows = (await session.execute(_MISSING, facts)).all()
    found = [
        MissingCall(
            node=row[0],
            boot_id=row[1],
            hour=row[2],
            session_number=row[3],
            leg_id=row[4],
            tenant_id=row[5],
            direction=row[6],
            caller=row[7],
            destination=row[8],
            started_at=row[9],
            answered_at=row[10],
            ended_at=row[11],
        )
        for row in rows[:limit]
    ]
    if len(rows) <= limit:
        return found, None
    last = found[-1]
    return found, encode_cursor((last.hour.isoformat(), last.boot_id, str(last.session_number)))


def _position(after: str | None) -> tuple[datetime | None, str | None, int | None]:
    if after is None:
        return None, None, None
    hour, boot_id, number = decode_cursor(after, 3)
    try:
        moment = datetime.fromisoformat(hour)
        if moment.tzinfo is None or not 0 < int(number) < 2**31:
            raise ValueError
        return moment, boot_id, int(number)
    except ValueError:
        raise InvalidInput("`after` is not a cursor: pass the `next` of the page before.", field="after") from None
