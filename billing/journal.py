"""The journal: postings of double entry, written once by the transaction of what they tell of, and never changed.

An event of a document (`issued`, `recorded`, `allocated` …) is one entry; the document and the event name it, so the
database refuses it a second time. Every entry sums to zero. What is taken back is posted again with its sides
changed. Balances, ageing and revenue are sums over these rows and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ledger_models import JournalPosting
from billing.rules.accounts import Account, Posting, balanced, reversed_postings
from infra.kit import clock


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a document: `value_on` is the day it counts from, the day of recording is kept beside it."""

    source_id: str
    event: str
    value_on: date
    postings: Sequence[Posting]


async def post(session: AsyncSession, tenant_id: str, entries: Iterable[Entry]) -> None:
    """Write entries of one tenant; the caller holds the tenant's lock.

    Raises `OutOfBalance` with nothing written where an entry does not sum to zero, the database's error for an event
    that its document has posted already.
    """
    now = clock.now()
    rows: list[dict[str, Any]] = []
    for entry in entries:
        rows.extend(
            {
                "tenant_id": tenant_id,
                "month": entry.value_on.replace(day=1),
                "source_id": entry.source_id,
                "event": entry.event,
                "posting_number": number,
                "account": posting.account,
                "detail": posting.detail,
                "subject_id": posting.subject,
                "amount": posting.amount,
                "due_on": posting.due_on,
                "value_on": entry.value_on,
                "posted_on": clock.local_date(now),
                "recorded_at": now,
            }
            for number, posting in enumerate(balanced(entry.postings), start=1)
        )
    if rows:
        connection = await session.connection()  # beneath the session: rows of values need no objects
        await connection.execute(insert(JournalPosting), rows)


async def reversal(
    session: AsyncSession, tenant_id: str, source_ids: Collection[str], *, event: str, as_event: str, on: date
) -> list[Entry]:
    """Entries that take back an event of some documents; the caller posts them."""
    query = (
        select(JournalPosting)
        .where(
            JournalPosting.tenant_id == tenant_id,
            JournalPosting.source_id.in_(source_ids),
            JournalPosting.event == event,
        )
        .order_by(JournalPosting.source_id, JournalPosting.posting_number)
    )
    posted: dict[str, list[Posting]] = {}
    for row in (await session.execute(query)).scalars():
        posting = Posting(cast("Account", row.account), row.amount, row.subject_id, row.detail, row.due_on)
        posted.setdefault(row.source_id, []).append(posting)
    return [Entry(source_id, as_event, on, reversed_postings(postings)) for source_id, postings in posted.items()]


async def of_subjects(
    session: AsyncSession, tenant_id: str, account: Account, subject_ids: Collection[str]
) -> dict[str, Decimal]:
    """What stands on an account for each of some subjects; CNY, those with nothing left out."""
    if not subject_ids:
        return {}
    query = sums(tenant_id, account).where(JournalPosting.subject_id.in_(subject_ids))
    return {row[0]: row[1] for row in await session.execute(query)}


def sums(tenant_id: str, account: Account) -> Select[str, Decimal]:
    """Subjects and what stands on the account for each; CNY, those with nothing left out."""
    return (
        select(JournalPosting.subject_id, func.sum(JournalPosting.amount))
        .where(JournalPosting.tenant_id == tenant_id, JournalPosting.account == account)
        .group_by(JournalPosting.subject_id)
        .having(func.sum(JournalPosting.amount) != 0)
    )


async def balances(session: AsyncSession, tenant_id: str) -> dict[Account, Decimal]:
    """What stands on each account of a tenant, CNY, a debit positive."""
    query = (
        select(JournalPosting.account, func.sum(JournalPosting.amount))
        .where(JournalPosting.tenant_id == tenant_id)
        .group_by(JournalPosting.account)
    )
    return {cast("Account", account): amount for account, amount in await session.execute(query)}
