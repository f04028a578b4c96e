"""A complete hour's figures follow when a record that explained a number as set aside is stored after all.

Hours that are not complete are counted every minute (reconciling.py); a complete one is not counted again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from switch.cdr_parsing import Session

_COUNT_AGAIN = text("""
WITH told AS (
    SELECT DISTINCT hour.boot_id, hour.hour, hour.first_number, hour.last_number
    FROM unnest(CAST(:boots AS text[]), CAST(:numbers AS integer[])) AS told (boot_id, number)
    JOIN started_hour AS hour
      ON hour.boot_id = told.boot_id AND told.number BETWEEN hour.first_number AND hour.last_number
    WHERE hour.state = 'complete'
), counted AS (
    SELECT told.boot_id, told.hour,
           (SELECT count(DISTINCT record.session_number) FROM call_record AS record
            WHERE record.boot_id = told.boot_id
              AND record.session_number BETWEEN told.first_number AND told.last_number) AS accepted
    FROM told
)
UPDATE started_hour AS hour
SET accepted = counted.accepted, explained = greatest(hour.explained - (counted.accepted - hour.accepted), 0)
FROM counted
WHERE hour.boot_id = counted.boot_id AND hour.hour = counted.hour AND hour.state = 'complete'
""")


async def count_again(session: AsyncSession, stored: Sequence[Session]) -> None:
    """Move these sessions from explained to accepted in the complete hours that they lie in."""
    told = [(each.boot_id, each.number) for each in stored if each.boot_id is not None]
    if told:
        boots, numbers = zip(*told, strict=True)
        await session.execute(_COUNT_AGAIN, {"boots": list(boots), "numbers": list(numbers)})
