"""What a re-rating does to rows of calls: priced in batches by a job, written back when it is settled.

Everything goes by arrays through the driver: a month of one contract may have half a million calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import rate_decks, usage
from billing.charges import driver_connection
from billing.corrections.models import ReRating
from billing.models import Charge, Contract
from billing.usage import FIRST, ContractSpan
from infra.kit import clock, money

BATCH_LIMIT_CALLS = 10_000
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_CHARGED = """
SELECT month, leg_id, (coalesce(revised_amount, amount) * 10000)::bigint FROM charge
WHERE tenant_id = %(tenant_id)s AND contract_id = %(contract_id)s AND billing_month = %(month)s
      AND (month, leg_id) > (%(after_month)s, %(after_leg_id)s)
ORDER BY month, leg_id LIMIT %(limit)s
"""
_UNRATED = """
SELECT month, leg_id, NULL::bigint FROM unrated_call
WHERE tenant_id = %(tenant_id)s AND month = %(month)s AND leg_id > %(after_leg_id)s
ORDER BY leg_id LIMIT %(limit)s
"""
_KEEP = """
INSERT INTO re_rated_call (tenant_id, re_rating_id, month, leg_id, outcome, old_amount, new_amount, prefix,
                           billed_seconds)
SELECT %(tenant_id)s, %(re_rating_id)s, kept.month, kept.leg_id, kept.outcome, kept.before * 0.0001,
       kept.after * 0.0001, kept.prefix, kept.billed_seconds
FROM unnest(%(months)s::date[], %(leg_ids)b::text[], %(outcomes)b::text[], %(before)s::bigint[], %(after)s::bigint[],
            %(prefixes)b::text[], %(billed_seconds)s::int[])
     AS kept (month, leg_id, outcome, before, after, prefix, billed_seconds)
"""
_OF_CALLS = """
charge.tenant_id = %(tenant_id)s AND priced.tenant_id = %(tenant_id)s AND priced.re_rating_id = %(re_rating_id)s
AND priced.outcome = 'changed' AND charge.month = priced.month AND charge.leg_id = priced.leg_id
"""
_REVISE = f"UPDATE charge SET revised_amount = priced.new_amount FROM re_rated_call AS priced WHERE {_OF_CALLS}"  # noqa: S608 - the condition above
_REPLACE = f"""
UPDATE charge SET amount = charge.amount + priced.new_amount - priced.old_amount,
       revised_amount = CASE WHEN charge.revised_amount IS NULL THEN NULL ELSE priced.new_amount END,
       deck_id = %(deck_id)s, prefix = priced.prefix, billed_seconds = priced.billed_seconds, rated_at = %(now)s
FROM re_rated_call AS priced WHERE {_OF_CALLS}
"""  # noqa: S608 - the condition is the constant above
"""A month whose invoice was void keeps the differences that re-ratings have settled since: the amount moves by the new
difference only."""

_FIRST_PRICES = """
WITH found AS (
    DELETE FROM unrated_call USING re_rated_call AS priced
    WHERE unrated_call.tenant_id = %(tenant_id)s AND priced.tenant_id = %(tenant_id)s
          AND priced.re_rating_id = %(re_rating_id)s AND priced.outcome = 'first_priced'
          AND unrated_call.month = priced.month AND unrated_call.leg_id = priced.leg_id
    RETURNING priced.month, priced.leg_id, priced.new_amount, priced.prefix, priced.billed_seconds
)
INSERT INTO charge (tenant_id, month, leg_id, contract_id, billing_month, deck_id, prefix, billed_seconds, amount,
                    rated_at)
SELECT %(tenant_id)s, month, leg_id, %(contract_id)s, %(billing_month)s, %(deck_id)s, prefix, billed_seconds,
       new_amount, %(now)s FROM found
ON CONFLICT DO NOTHING
"""


@dataclass(slots=True)
class _Kept:
    """The rows of one batch that change something, column by column."""

    months: list[date] = field(default_factory=list[date])
    leg_ids: list[str] = field(default_factory=list[str])
    outcomes: list[str] = field(default_factory=list[str])
    before: list[int | None] = field(default_factory=list["int | None"])
    after: list[int | None] = field(default_factory=list["int | None"])
    prefixes: list[str | None] = field(default_factory=list["str | None"])
    billed_seconds: list[int | None] = field(default_factory=list["int | None"])

    def add(self, key: tuple[date, str], outcome: str, before: int | None, new: _Price | None) -> None:
        self.months.append(key[0])
        self.leg_ids.append(key[1])
        self.outcomes.append(outcome)
        self.before.append(before)
        self.after.append(None if new is None else new.ten_thousandths)
        self.prefixes.append(None if new is None else new.prefix)
        self.billed_seconds.append(None if new is None else new.billed_seconds)


@dataclass(frozen=True, slots=True)
class _Price:
    prefix: str
    billed_seconds: int
    ten_thousandths: int


async def compute_batch(session: AsyncSession, re_rating: ReRating, limit: int = BATCH_LIMIT_CALLS) -> bool:
    """Price the next calls of a re-rating whose row is locked; False once the last one is done.

    Calls of a month that is on no invoice yet may still come in behind the walk; they keep the price they come with.
    """
    rows = await _next_calls(session, re_rating, limit)
    if not rows:
        return _next_phase(re_rating)
    prices = await _prices(session, re_rating, [(row[0], row[1]) for row in rows])
    kept = _Kept()
    totals = _compare(re_rating, rows, prices, kept)
    re_rating.old_total += money.rated(Decimal(totals[0]).scaleb(-money.RATED))
    re_rating.new_total += money.rated(Decimal(totals[1]).scaleb(-money.RATED))
    re_rating.first_total += money.rated(Decimal(totals[2]).scaleb(-money.RATED))
    re_rating.last_month, re_rating.last_leg_id = rows[-1][0], rows[-1][1]
    if kept.leg_ids:
        connection = await driver_connection(session)
        await connection.execute(
            _KEEP,
            {
                "tenant_id": re_rating.tenant_id,
                "re_rating_id": re_rating.re_rating_id,
                "months": kept.months,
                "leg_ids": kept.leg_ids,
                "outcomes": kept.outcomes,
                "before": kept.before,
                "after": kept.after,
                "prefixes": kept.prefixes,
                "billed_seconds": kept.billed_seconds,
            },
        )
    await session.flush()
    return True


async def revise(session: AsyncSession, re_rating: ReRating) -> None:
    """The month is invoiced: its calls keep what the invoice has added up and have their new price beside it."""
    await _execute(session, re_rating, _REVISE)


async def replace(session: AsyncSession, re_rating: ReRating) -> None:
    """The month is on no invoice: the new prices are what its invoice will add up."""
    await _execute(session, re_rating, _REPLACE)


async def charge_first_prices(session: AsyncSession, re_rating: ReRating, *, billing_month: date) -> None:
    """Calls that had no price are charged; one that found a price elsewhere meanwhile keeps that."""
    await _execute(session, re_rating, _FIRST_PRICES, billing_month=billing_month)


async def sum_charged(session: AsyncSession, contract: Contract, month: date) -> Decimal:
    """What the charges on the invoice of a usage month come to exactly, CNY."""
    query = select(func.coalesce(func.sum(Charge.amount), 0)).where(
        Charge.tenant_id == contract.tenant_id,
        Charge.contract_id == contract.contract_id,
        Charge.billing_month == month,
    )
    return await session.scalar(query) or Decimal(0)


async def _next_calls(session: AsyncSession, re_rating: ReRating, limit: int) -> Sequence[tuple[date, str, int | None]]:
    connection = await driver_connection(session)
    after_month, after_leg_id = FIRST
    parameters = {
        "tenant_id": re_rating.tenant_id,
        "contract_id": re_rating.contract_id,
        "month": re_rating.month,
        "after_month": re_rating.last_month or after_month,
        "after_leg_id": re_rating.last_leg_id or after_leg_id,
        "limit": limit,
    }
    statement = _CHARGED if re_rating.phase == "charges" else _UNRATED
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement.encode(), parameters)
        return await cursor.fetchall()


def _next_phase(re_rating: ReRating) -> bool:
    re_rating.last_month = re_rating.last_leg_id = None
    if re_rating.phase == "charges":
        re_rating.phase = "unrated"
        return True
    re_rating.state = "computed"
    re_rating.computed_at = clock.now()
    return False


async def _prices(
    session: AsyncSession, re_rating: ReRating, keys: Sequence[tuple[date, str]]
) -> dict[tuple[date, str], _Price]:
    """What the deck makes of the calls, by month and leg; those without a price, or of other contracts, are missing."""
    connection = await driver_connection(session)
    async with connection.cursor(binary=True) as cursor:
        legs = await usage.read_legs(cursor, re_rating.tenant_id, usage.by_month(keys))
    spans = await _spans(session, re_rating)
    decks = await rate_decks.load(session, [re_rating.deck_id])
    prices: dict[tuple[date, str], _Price] = {}
    for part in usage.price(legs, spans, decks).postings.values():
        if part.contract_id != re_rating.contract_id:
            continue
        columns = zip(part.leg_ids, part.prefixes, part.billed_seconds, part.ten_thousandths, strict=True)
        for leg_id, prefix, billed_seconds, ten_thousandths in columns:
            prices[(part.month, leg_id)] = _Price(prefix, billed_seconds, ten_thousandths)
    return prices


async def _spans(session: AsyncSession, re_rating: ReRating) -> list[ContractSpan]:
    """Whose calls they are: what is charged stays with its contract, what is not goes to the one in force."""
    if re_rating.phase == "charges":
        return [ContractSpan(re_rating.contract_id, _EARLIEST, None, re_rating.deck_id, None)]
    spans = await usage.hold_contracts(session, re_rating.tenant_id)
    return [span._replace(deck_id=re_rating.deck_id) for span in spans]


def _compare(
    re_rating: ReRating,
    rows: Sequence[tuple[date, str, int | None]],
    prices: dict[tuple[date, str], _Price],
    kept: _Kept,
) -> tuple[int, int, int]:
    """Count the calls of a batch and keep those that change; the sums before, after and of first prices."""
    old_total = new_total = first_total = 0
    calls = changed = without_price = 0  # numbers of our own: an attribute of the row would be tracked at every call
    for month, leg_id, before in rows:
        key = (month, leg_id)
        new = prices.get(key)
        if before is None:
            if new is not None:
                re_rating.first_priced += 1
                first_total += new.ten_thousandths
                kept.add(key, "first_priced", None, new)
            continue
        calls += 1
        old_total += before
        new_total += before if new is None else new.ten_thousandths
        if new is None:
            without_price += 1
            kept.add(key, "without_price", before, None)
        elif new.ten_thousandths != before:
            changed += 1
            kept.add(key, "changed", before, new)
    re_rating.calls += calls
    re_rating.changed += changed
    re_rating.without_price += without_price
    return old_total, new_total, first_total


async def _execute(session: AsyncSession, re_rating: ReRating, statement: str, **more: Any) -> None:
    await session.flush()
    connection = await driver_connection(session)
    parameters = {
        "tenant_id": re_rating.tenant_id,
        "re_rating_id": re_rating.re_rating_id,
        "contract_id": re_rating.contract_id,
        "deck_id": re_rating.deck_id,
        "now": clock.now(),
    }
    await connection.execute(statement.encode(), parameters | more)
