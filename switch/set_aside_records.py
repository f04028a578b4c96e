"""What becomes of records that were set aside and will never be stored: put away by a person, and forgotten in time."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, exists, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs, reasons
from infra.kit.database import PLATFORM
from infra.kit.problems import NotFound
from switch.completeness.counting import COMPLETE
from switch.completeness.models import StartedHour
from switch.models import SetAsideRecord

CONTENT_KEPT = timedelta(days=90)
"""From the day on which a record was stored after all or put away; then its content goes."""

RECORD_KEPT = timedelta(days=400)
"""From the day on which it came, as what was seen of calls without a record (switch/completeness/reconciling.py)."""

log = logs.get(__name__)


async def dismiss(session: AsyncSession, record_id: str, reason: str) -> SetAsideRecord:
    """A person puts a record away that is no call of anybody's, and says why; it waits no longer and is never charged.

    One that is resolved already stays as it is. Raises `NotFound`, `InvalidInput` without a reason.
    """
    reason = reasons.given(reason)
    aside = await session.get(SetAsideRecord, record_id, with_for_update=True)
    if aside is None:
        raise NotFound(f"There is no record {record_id} set aside.", field="record_id")
    if aside.resolved_at is None:
        aside.resolved_at, aside.dismissed_reason = clock.now(), reason
        await session.flush()
        await audit.record(session, PLATFORM, "call_record.dismissed", record_id, node=aside.node, reason=reason)
    return aside


async def forget(session: AsyncSession) -> None:
    """Remove the content of records that were resolved long ago, and the rows once nothing counts on them.

    What waits for somebody is kept however old it is. A row explains its number while the hour may be counted again.
    """
    now = clock.now()
    is_over = SetAsideRecord.resolved_at < now - CONTENT_KEPT
    emptied = update(SetAsideRecord).where(is_over, SetAsideRecord.body != b"").values(body=b"")
    found = await session.execute(emptied.returning(SetAsideRecord.record_id))
    if count := len(found.scalars().all()):
        log.info("call_records.set_aside_forgotten", records=count)
    its_hour = (
        (StartedHour.boot_id == SetAsideRecord.boot_id)
        & SetAsideRecord.session_number.between(StartedHour.first_number, StartedHour.last_number)
        & (StartedHour.state != COMPLETE)
    )
    is_old = is_over & (SetAsideRecord.received_at < now - RECORD_KEPT)
    await session.execute(delete(SetAsideRecord).where(is_old, ~exists().where(its_hour)))
