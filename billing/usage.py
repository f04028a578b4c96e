"""Calls become money: legs that bill are read in batches, priced by the deck of their contract and charged once.

A batch is one transaction of one tenant. What it takes from the work list disappears with the same commit that writes
the charges, so a crash in between repeats the batch and changes nothing; several workers take different legs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from psycopg import AsyncCursor
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import rate_decks
from billing.charges import LARGEST_TEN_THOUSANDTHS, Postings, driver_connection, post_once
from billing.models import Contract, UnratedCall
from billing.rules.prefixes import Deck
from billing.rules.rating import whole_seconds
from infra.kit import clock
from infra.kit.partitions import month_after
from switch.models import NewCall

BATCH_LIMIT_CALLS = 10_000
"""A batch of this size takes some 0.2 seconds, during which the monthly run of that tenant waits."""

NO_RECORD = "no_record"
NO_CONTRACT = "no_contract"
NO_DECK = "no_deck"
NO_PREFIX = "no_prefix"
TOO_LARGE = "too_large"
REASONS = (NO_RECORD, NO_CONTRACT, NO_DECK, NO_PREFIX, TOO_LARGE)
"""Why a call has no price: its record or moment of answer is missing; no contract was in force when it was answered;
that contract has no deck and there is no default; no row of the deck matches; the charge does not fit an invoice."""

FIRST = (date.min, "")
"""Before every leg: where a walk through the calls without a price begins."""

_TAKE = """
SELECT month, leg_id FROM {work}
WHERE tenant_id = %(tenant_id)s AND (month, leg_id) > (%(after_month)s, %(after_leg_id)s)
ORDER BY month, leg_id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""
_READ = """
SELECT month, leg_id, destination, answered_at, billable_milliseconds FROM call_record
WHERE tenant_id = %(tenant_id)s AND month = %(month)s AND leg_id = ANY (%(leg_ids)b)
"""
"""By month and list instead of a join: one partition is read, by its key, however old the table's statistics are."""

_DONE = """
DELETE FROM {work} WHERE tenant_id = %(tenant_id)s AND month = %(month)s AND leg_id = ANY (%(leg_ids)b)
"""
_KEEP_UNRATED = """
INSERT INTO unrated_call (tenant_id, month, leg_id, reason, seen_at)
SELECT %(tenant_id)s, kept.month, kept.leg_id, kept.reason, %(seen_at)s
FROM unnest(%(months)s::date[], %(leg_ids)s::text[], %(reasons)s::text[]) AS kept (month, leg_id, reason)
ON CONFLICT (tenant_id, month, leg_id) DO UPDATE SET reason = excluded.reason
WHERE unrated_call.reason <> excluded.reason
"""

WorkList = type[NewCall | UnratedCall]
"""Legs to be rated: those that have just come in, or those that had no price when they were last tried."""


class Leg(NamedTuple):
    """A leg that bills: the first day of its month, and what prices it; None where its record is missing."""

    month: date
    leg_id: str
    destination: str | None
    answered_at: datetime | None
    milliseconds: int | None


class ContractSpan(NamedTuple):
    """A contract as rating sees it: from when to before when calls are its own; its deck; what is invoiced."""

    contract_id: str
    begins_at: datetime
    ends_before: datetime | None
    deck_id: str | None
    billed_through: date | None

    def billing_month(self, month: date) -> date:
        """The usage month on whose invoice a call of `month` goes.

        Its own month, unless the monthly run has taken that one already: then the first that is not yet taken (rule
        3: what becomes known after the run goes on the next invoice). Months are first days.
        """
        if self.billed_through is None or self.billed_through < month:
            return month
        return month_after(self.billed_through)


def contract_for(answered_at: datetime, spans: Iterable[ContractSpan]) -> ContractSpan | None:
    """The contract that pays a call: among those in force at the moment of answer the one that opened first.

    `spans` are in order of their first day. A tenant with several contracts has its calls on the oldest one that is
    still running, so that each call is on exactly one invoice.
    """
    for span in spans:
        if span.begins_at <= answered_at and (span.ends_before is None or answered_at < span.ends_before):
            return span
    return None


@dataclass(slots=True)
class Priced:
    """What a batch came to: postings by contract and month, and the legs without a price with the reason."""

    postings: dict[tuple[str, date], Postings] = field(default_factory=dict)
    unrated: list[tuple[Leg, str]] = field(default_factory=list)

    def charge(self, leg: Leg, span: ContractSpan, deck_id: str) -> Postings:
        """The postings that a leg of this contract and month belongs to."""
        key = (span.contract_id, leg.month)
        part = self.postings.get(key)
        if part is None:
            part = Postings(span.contract_id, deck_id, leg.month, span.billing_month(leg.month))
            self.postings[key] = part
        return part


def price(legs: Iterable[Leg], spans: Sequence[ContractSpan], decks: Mapping[str, Deck]) -> Priced:
    """Price each leg by the deck of the contract in force when it was answered (C3). Pure.

    `spans` are in order of their first day, each with the deck that applies to it (its own or the default).
    """
    priced = Priced()
    for leg in legs:
        _, leg_id, destination, answered_at, milliseconds = leg
        if destination is None or answered_at is None or milliseconds is None:
            priced.unrated.append((leg, NO_RECORD))
            continue
        span = contract_for(answered_at, spans)
        if span is None:
            priced.unrated.append((leg, NO_CONTRACT))
            continue
        deck = None if span.deck_id is None else decks.get(span.deck_id)
        if deck is None or span.deck_id is None:
            priced.unrated.append((leg, NO_DECK))
            continue
        row = deck.match(destination, answered_at)
        if row is None:
            priced.unrated.append((leg, NO_PREFIX))
            continue
        billed = row.billed_seconds(whole_seconds(milliseconds))
        amount = row.tariff.ten_thousandths(billed)
        if amount > LARGEST_TEN_THOUSANDTHS:
            priced.unrated.append((leg, TOO_LARGE))
            continue
        part = priced.charge(leg, span, span.deck_id)
        part.leg_ids.append(leg_id)
        part.prefixes.append(row.prefix)
        part.billed_seconds.append(billed)
        part.ten_thousandths.append(amount)
    return priced


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one batch did; `taken` 0: nothing was left behind its start (or other workers hold the rest)."""

    taken: int = 0
    charged: int = 0
    unrated: int = 0
    last: tuple[date, str] = FIRST
    """The last leg taken, by month and id: where the next batch of the same walk goes on."""


async def rate_batch(
    session: AsyncSession,
    tenant_id: str,
    limit: int = BATCH_LIMIT_CALLS,
    *,
    work: WorkList = NewCall,
    after: tuple[date, str] = FIRST,
) -> Batch:
    """Price and charge up to `limit` legs of a tenant from a work list, in order from behind `after`.

    A charged leg leaves its work list in the same transaction; what has no price is in `unrated_call` with its reason
    afterwards. Legs that another transaction has taken are passed over.
    """
    legs = await _take(session, tenant_id, work, after, limit)
    if not legs:
        return Batch()
    spans = await hold_contracts(session, tenant_id)
    decks = await rate_decks.load(session, {span.deck_id for span in spans if span.deck_id is not None})
    priced = price(legs, spans, decks)
    await post_once(session, tenant_id, priced.postings.values(), clock.now())
    if priced.unrated:
        await _keep_unrated(session, tenant_id, priced.unrated)
    charged = len(legs) - len(priced.unrated)
    if work is NewCall:
        await _forget(session, tenant_id, work, by_month((leg.month, leg.leg_id) for leg in legs))
    elif charged:
        done = ((part.month, leg_id) for part in priced.postings.values() for leg_id in part.leg_ids)
        await _forget(session, tenant_id, work, by_month(done))
    last = max((leg.month, leg.leg_id) for leg in legs)
    return Batch(taken=len(legs), charged=charged, unrated=len(priced.unrated), last=last)


def by_month(keys: Iterable[tuple[date, str]]) -> dict[date, list[str]]:
    """Legs grouped by their month, in the order in which they come."""
    groups: dict[date, list[str]] = {}
    for month, leg_id in keys:
        groups.setdefault(month, []).append(leg_id)
    return groups


async def _take(
    session: AsyncSession, tenant_id: str, work: WorkList, after: tuple[date, str], limit: int
) -> list[Leg]:
    """The next legs of a work list, held until the transaction ends, with what their records say."""
    connection = await driver_connection(session)
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(
            _TAKE.format(work=work.__tablename__).encode(),
            {"tenant_id": tenant_id, "after_month": after[0], "after_leg_id": after[1], "limit": limit},
        )
        return await read_legs(cursor, tenant_id, by_month(await cursor.fetchall()))


async def read_legs(cursor: AsyncCursor[Any], tenant_id: str, groups: Mapping[date, list[str]]) -> list[Leg]:
    """What the records say of legs, which come by month; nothing of those whose record is missing."""
    legs: list[Leg] = []
    for month, leg_ids in groups.items():
        await cursor.execute(_READ, {"tenant_id": tenant_id, "month": month, "leg_ids": leg_ids})
        found = [Leg(*row) for row in await cursor.fetchall()]
        if len(found) < len(leg_ids):
            missing = set(leg_ids) - {leg.leg_id for leg in found}
            found += [Leg(month, leg_id, None, None, None) for leg_id in missing]
        legs += found
    return legs


async def _forget(session: AsyncSession, tenant_id: str, work: WorkList, done: dict[date, list[str]]) -> None:
    connection = await driver_connection(session)
    statement = _DONE.format(work=work.__tablename__).encode()
    for month, leg_ids in done.items():
        await connection.execute(statement, {"tenant_id": tenant_id, "month": month, "leg_ids": leg_ids})


async def hold_contracts(session: AsyncSession, tenant_id: str) -> list[ContractSpan]:
    """The tenant's contracts in order of their first day, held until the end of the transaction.

    The monthly run takes its contract FOR UPDATE when it moves `billed_through`; FOR SHARE makes it wait for the
    charges of this batch, and this batch wait for it and then read the new value: no charge falls between two
    invoices.
    """
    return await _contracts(session, tenant_id, is_held=True)


async def contracts_of(session: AsyncSession, tenant_id: str) -> list[ContractSpan]:
    """The same without holding them: for an estimate that nobody has to wait for."""
    return await _contracts(session, tenant_id, is_held=False)


async def _contracts(session: AsyncSession, tenant_id: str, *, is_held: bool) -> list[ContractSpan]:
    default_deck = await rate_decks.default_deck_id(session)
    query = (
        select(
            Contract.contract_id,
            Contract.opens_on,
            Contract.ends_on,
            Contract.rate_deck_id,
            Contract.billed_through,
        )
        .where(Contract.tenant_id == tenant_id, Contract.state.in_(("open", "ended")))
        .order_by(Contract.contract_id)
    )
    contracts = await session.execute(query.with_for_update(read=True) if is_held else query)
    first_days: list[tuple[date, ContractSpan]] = []
    for contract_id, opens_on, ends_on, deck_id, billed_through in contracts:
        ends_before = None if ends_on is None else clock.local_midnight(ends_on + timedelta(days=1))
        begins_at = clock.local_midnight(opens_on)
        span = ContractSpan(contract_id, begins_at, ends_before, deck_id or default_deck, billed_through)
        first_days.append((opens_on, span))
    return [span for _, span in sorted(first_days, key=lambda each: (each[0], each[1].contract_id))]


async def _keep_unrated(session: AsyncSession, tenant_id: str, unrated: Sequence[tuple[Leg, str]]) -> None:
    connection = await driver_connection(session)
    parameters = {
        "tenant_id": tenant_id,
        "seen_at": clock.now(),
        "months": [leg.month for leg, _ in unrated],
        "leg_ids": [leg.leg_id for leg, _ in unrated],
        "reasons": [reason for _, reason in unrated],
    }
    await connection.execute(_KEEP_UNRATED, parameters)


async def next_tenant(session: AsyncSession, work: WorkList, after: str) -> str | None:
    """The first tenant behind `after` (in order of its id; "" for the first) with rows in a work list."""
    query = select(func.min(work.tenant_id)).where(work.tenant_id > after)
    return (await session.execute(query)).scalar_one_or_none()
