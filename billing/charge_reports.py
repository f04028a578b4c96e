"""What calls cost and which have no price yet: pages and sums, read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    Select,
    and_,
    cast,
    false,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from billing.corrections.models import ReRating
from billing.models import Charge, UnratedCall
from infra.kit.pages import check_limit, decode_cursor, encode_cursor
from infra.kit.problems import InvalidInput
from switch.models import CallRecord

Keys = tuple[InstrumentedAttribute[Any] | ColumnElement[Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a report is narrowed to; None: everything. `month` is the month on whose invoice charges go."""

    tenant_id: str | None = None
    contract_id: str | None = None
    month: date | None = None
    leg_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ChargedCall:
    """A charge and the leg it prices; the leg's parts are None where its record is no longer kept."""

    charge: Charge
    caller: str | None
    destination: str | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChargeSum:
    """The charges of one contract that go on the invoice for one month; amounts are exact, CNY.

    `amount` is of the calls as that invoice adds them up, `re_rated` what it takes besides of re-ratings of earlier
    months: both together are its line of calls before rounding.
    """

    tenant_id: str
    month: date
    contract_id: str
    calls: int
    billed_seconds: int
    amount: Decimal
    re_rated: Decimal


@dataclass(frozen=True, slots=True)
class CallWithoutPrice:
    """A call without a price and its leg, whose parts are None where its record is missing."""

    unrated: UnratedCall
    destination: str | None
    answered_at: datetime | None
    billable_milliseconds: int | None


@dataclass(frozen=True, slots=True)
class UnratedSum:
    """How many calls of a tenant have no price for one reason, and since when the first."""

    tenant_id: str
    reason: str
    calls: int
    oldest_seen_at: datetime


async def charge_page(
    session: AsyncSession, wanted: Wanted, *, limit: int, after: str | None
) -> tuple[list[ChargedCall], str | None]:
    """Charges with their calls, newest month first."""
    keys: Keys = (Charge.tenant_id, Charge.month, Charge.leg_id)
    query = (
        select(*keys, Charge, CallRecord.caller, CallRecord.destination, CallRecord.answered_at)
        .outerjoin(CallRecord, _same_leg(CallRecord, Charge))
        .where(*_charges(wanted))
    )
    rows, following = await keyed_page(session, query, keys, limit=limit, after=after)
    return [ChargedCall(*row[len(keys) :]) for row in rows], following


async def charge_sums(
    session: AsyncSession, wanted: Wanted, *, limit: int, after: str | None
) -> tuple[list[ChargeSum], str | None]:
    """Sums per tenant, invoiced month and contract, newest month first."""
    both = union_all(
        select(
            Charge.tenant_id.label("tenant_id"),
            Charge.billing_month.label("month"),
            Charge.contract_id.label("contract_id"),
            func.count().label("calls"),
            func.sum(Charge.billed_seconds).label("billed_seconds"),
            func.sum(Charge.amount).label("amount"),
            cast(0, Numeric(18, 4)).label("re_rated"),
        )
        .where(*_charges(wanted))
        .group_by(Charge.tenant_id, Charge.billing_month, Charge.contract_id),
        select(
            ReRating.tenant_id,
            ReRating.billing_month,
            ReRating.contract_id,
            literal(0),
            literal(0),
            cast(0, Numeric(18, 4)),
            ReRating.new_total - ReRating.old_total,
        ).where(*_supplements(wanted)),
    ).subquery()
    keys: Keys = (both.c.tenant_id, both.c.month, both.c.contract_id)
    whole = (cast(func.sum(both.c[name]), BigInteger) for name in ("calls", "billed_seconds"))
    exact = (func.sum(both.c[name]) for name in ("amount", "re_rated"))
    query = select(*keys, *whole, *exact).group_by(*keys)
    rows, following = await keyed_page(session, query, keys, limit=limit, after=after)
    return [ChargeSum(*row) for row in rows], following


async def unrated_page(
    session: AsyncSession, wanted: Wanted, *, limit: int, after: str | None
) -> tuple[list[CallWithoutPrice], str | None]:
    """Calls without a price, newest month first."""
    keys: Keys = (UnratedCall.tenant_id, UnratedCall.month, UnratedCall.leg_id)
    query = (
        select(*keys, UnratedCall, CallRecord.destination, CallRecord.answered_at, CallRecord.billable_milliseconds)
        .outerjoin(CallRecord, _same_leg(CallRecord, UnratedCall))
        .where(*_unrated(wanted))
    )
    rows, following = await keyed_page(session, query, keys, limit=limit, after=after)
    return [CallWithoutPrice(*row[len(keys) :]) for row in rows], following


async def unrated_sums(
    session: AsyncSession, wanted: Wanted, *, limit: int, after: str | None
) -> tuple[list[UnratedSum], str | None]:
    """Calls without a price, counted per tenant and reason."""
    keys: Keys = (UnratedCall.tenant_id, UnratedCall.reason)
    query = select(*keys, func.count(), func.min(UnratedCall.seen_at)).where(*_unrated(wanted)).group_by(*keys)
    rows, following = await keyed_page(session, query, keys, limit=limit, after=after)
    return [UnratedSum(*row) for row in rows], following


def _same_leg(record: type[CallRecord], of: type[Charge | UnratedCall]) -> ColumnElement[bool]:
    return and_(record.tenant_id == of.tenant_id, record.month == of.month, record.leg_id == of.leg_id)


def _charges(wanted: Wanted) -> list[ColumnElement[bool]]:
    values = (
        (Charge.tenant_id, wanted.tenant_id),
        (Charge.contract_id, wanted.contract_id),
        (Charge.billing_month, wanted.month),
        (Charge.leg_id, wanted.leg_id),
    )
    return [column == value for column, value in values if value is not None]


def _supplements(wanted: Wanted) -> list[ColumnElement[bool]]:
    """The differences of re-ratings that an invoice takes; they belong to no single call."""
    values = (
        (ReRating.tenant_id, wanted.tenant_id),
        (ReRating.contract_id, wanted.contract_id),
        (ReRating.billing_month, wanted.month),
    )
    found = [column == value for column, value in values if value is not None]
    return [*found, ReRating.billing_month.is_not(None), true() if wanted.leg_id is None else false()]


def _unrated(wanted: Wanted) -> list[ColumnElement[bool]]:
    values = ((UnratedCall.tenant_id, wanted.tenant_id), (UnratedCall.reason, wanted.reason))
    return [column == value for column, value in values if value is not None]


async def keyed_page(
    session: AsyncSession, query: Select[*tuple[Any, ...]], keys: Keys, *, limit: int, after: str | None
) -> tuple[list[tuple[Any, ...]], str | None]:
    """Rows in falling order of `keys`, which are text or date columns and the first ones selected; the next cursor."""
    check_limit(limit)
    if after is not None:
        query = query.where(tuple_(*keys) < tuple_(*_read_cursor(after, keys)))
    query = query.order_by(*(key.desc() for key in keys)).limit(limit + 1)
    rows = [tuple(row) for row in await session.execute(query)]
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(tuple(str(value) for value in rows[limit - 1][: len(keys)]))


def _read_cursor(cursor: str, keys: Keys) -> list[str | date]:
    texts = decode_cursor(cursor, len(keys))
    try:
        return [
            date.fromisoformat(text) if key.type.python_type is date else text
            for key, text in zip(keys, texts, strict=True)
        ]
    except ValueError:
        raise InvalidInput("`after` is not a cursor: pass the `next` of the page before.", field="after") from None
