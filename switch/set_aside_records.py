"""Call records that could not be stored: kept as they came, listed, put away by a person.

What they hold of a tenant goes with it (C26), and what is resolved is forgotten in time. Intake is switch/cdr.py, and
switch/record_retry.py tries them again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs, reasons
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.pages import fetch_page
from infra.kit.problems import NotFound
from switch import cdr_parsing
from switch.cdr_parsing import RecordAhead, RecordUnreadable, Session
from switch.completeness.counting import COMPLETE
from switch.completeness.models import StartedHour
from switch.models import SetAsideRecord
from tenancy.models import SipDomain, Tenant

CONTENT_KEPT = timedelta(days=90)
"""From the day on which a record was stored after all or put away; then its content goes."""

RECORD_KEPT = timedelta(days=400)
"""From the day on which it came, as what was seen of calls without a record (switch/completeness/reconciling.py)."""

PIECE_RECORDS = 200
"""Of the records set aside, at once in memory."""

OF_A_LEFT_TENANT = "The record names a tenant that has left; its content is erased (C26)."

log = logs.get(__name__)


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
        ahead_seconds=await _ahead_seconds(session, body, session_told),
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


async def list_records(
    session: AsyncSession, *, is_resolved: bool, limit: int, after: str | None
) -> tuple[list[SetAsideRecord], str | None]:
    """A page of the records that wait for somebody, or of those that were stored later or put away; newest first.

    Returns it with the cursor of the next. Raises `InvalidInput`.
    """
    resolved_at = SetAsideRecord.resolved_at
    query = select(SetAsideRecord).where(resolved_at.is_not(None) if is_resolved else resolved_at.is_(None))
    return await fetch_page(session, query, keys=(SetAsideRecord.record_id,), limit=limit, after=after)


async def count_set_aside(session: AsyncSession) -> int:
    """How many records wait to be looked at."""
    query = select(func.count()).select_from(SetAsideRecord).where(SetAsideRecord.resolved_at.is_(None))
    return (await session.execute(query)).scalar_one()


async def count_set_aside_of(session: AsyncSession, tenant_id: str) -> int:
    """How many of them name a tenant somewhere: its calls are not complete while they wait."""
    names_it = func.strpos(func.encode(SetAsideRecord.body, "escape"), tenant_id) > 0
    query = select(func.count()).select_from(SetAsideRecord).where(SetAsideRecord.resolved_at.is_(None), names_it)
    return (await session.execute(query)).scalar_one()


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


async def _ahead_seconds(session: AsyncSession, body: bytes, told: Session) -> int | None:
    """How far a record, or a copy of it that came sooner, is ahead of the present; None for one that is not."""
    try:
        cdr_parsing.parse(body, now=clock.now())
    except RecordAhead as ahead:
        return ahead.ahead_seconds
    except RecordUnreadable as error:
        log.debug("call_record.unreadable", problem=str(error))  # whatever else is wrong with it
    if told.boot_id is None:
        return None
    is_copy = (SetAsideRecord.boot_id == told.boot_id) & (SetAsideRecord.session_number == told.number)
    return await session.scalar(select(func.max(SetAsideRecord.ahead_seconds)).where(is_copy))
