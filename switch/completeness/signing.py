"""A person lets the month close over an hour of which records are missing, or that nobody counted to its end.

A signature is for what is known: it covers the calls that are missing when it is written, and the hour is open again as
soon as others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, reasons
from infra.kit.database import PLATFORM
from switch.completeness import reconciling
from switch.completeness.counting import COMPLETE, COUNTING
from switch.completeness.errors import HourReconciled, HourStillCounted
from switch.completeness.hours import Hour
from switch.completeness.listing import get_hour
from switch.completeness.models import HourSignOff, StartedHour

REASON_LIMIT_CHARACTERS = 500


async def sign_off(session: AsyncSession, node: str, hour: datetime, reason: str) -> Hour:
    """A person lets the month close although records of an hour are missing, and says why.

    It covers those that are missing now. Raises `HourUnknown`, `HourStillCounted`, `HourReconciled`, `InvalidInput`.
    """
    reason = reasons.given(reason, limit_characters=REASON_LIMIT_CHARACTERS)
    await reconciling.count_hour(session, node, hour)
    found = await get_hour(session, node, hour)
    if found.state == COUNTING:
        raise HourStillCounted(f"{found.running} calls of it still run, or it is not over yet.", field="hour")
    if found.state == COMPLETE:
        raise HourReconciled("Every record of it has come.", field="hour")
    await sign_hours(session, [found], reason)
    return await get_hour(session, node, hour)


async def sign_hours(session: AsyncSession, hours: Sequence[Hour], reason: str, *, field: str = "reason") -> None:
    """Write a person's signature for the records that are missing in these hours, as they were counted in this
    transaction. Raises `InvalidInput`.
    """
    reason = reasons.given(reason, limit_characters=REASON_LIMIT_CHARACTERS, field=field)
    signed: dict[str, Any] = {"reason": reason, "signed_by": audit.actor.get(), "signed_at": clock.now()}
    for hour in hours:
        values = signed | {"missing": hour.missing}
        statement = insert(HourSignOff).values(node=hour.node, hour=hour.begins_at, **values)
        await session.execute(
            statement.on_conflict_do_update(index_elements=[HourSignOff.node, HourSignOff.hour], set_=values)
        )
        # A session that began in it since, or was told of since, is for another signature.
        counted = (StartedHour.node == hour.node, StartedHour.hour == hour.begins_at, StartedHour.state != COUNTING)
        lacking = StartedHour.last_number - StartedHour.first_number + 1 - StartedHour.accepted - StartedHour.explained
        covered = {"signed_number": StartedHour.last_number, "signed": func.greatest(lacking, 0)}
        await session.execute(update(StartedHour).where(*counted).values(covered))
        name = f"{hour.node} {hour.begins_at:%Y-%m-%dT%HZ}"
        await audit.record(session, PLATFORM, "node_hour.signed_off", name, missing=hour.missing, reason=reason)
