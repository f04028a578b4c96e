"""What the calls of a local day that have ended cost, by their records: charged, or waiting to be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, ScalarSelect, Text, any_, cast, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Charge
from billing.spending import running
from billing.usage import Leg
from infra.kit import clock
from switch.models import CallRecord, NewCall

MOST_WAITING = 10_000
"""Calls whose records wait to be charged that are priced in one look; the rest counts as it is charged."""


@dataclass(frozen=True, slots=True)
class EndedCalls:
    """The calls answered on a day whose records have come (CNY), and which of the legs asked about are among them."""

    charged: Decimal
    waiting: Decimal
    """Of those that have not been charged yet, at the prices that they will be charged at."""
    recorded: frozenset[str]


async def charged_on(session: AsyncSession, tenant_id: str, day: date) -> Decimal:
    """What the tenant's calls answered on a local day were charged so far (CNY, four decimals)."""
    return (await session.execute(select(_charged(tenant_id, day)))).scalar_one()


async def calls_on(session: AsyncSession, tenant_id: str, day: date, asked: Collection[str]) -> EndedCalls:
    """What the records of a day say of a tenant; `asked`: legs that may have ended.

    One statement, and so one moment: no call is charged between two questions, to be found by both or by neither.
    """
    query = select(_charged(tenant_id, day), _waiting(tenant_id, day), _recorded(tenant_id, day, asked))
    charged, waiting, recorded = (await session.execute(query)).one()
    month = day.replace(day=1)
    legs = [
        Leg(month, leg_id, destination, datetime.fromisoformat(answered_at), milliseconds)
        for leg_id, destination, answered_at, milliseconds in waiting or ()
    ]
    prices = await running.prices(session, tenant_id, legs)
    return EndedCalls(charged, sum(prices.values(), Decimal(0)), frozenset(recorded or ()))


def _charged(tenant_id: str, day: date) -> ScalarSelect[Decimal]:
    begins = clock.local_midnight(day)
    return (
        select(func.coalesce(func.sum(func.coalesce(Charge.revised_amount, Charge.amount)), Decimal(0)))
        .select_from(CallRecord)
        .join(
            Charge,
            (Charge.tenant_id == CallRecord.tenant_id)
            & (Charge.month == CallRecord.month)
            & (Charge.leg_id == CallRecord.leg_id),
        )
        .where(
            CallRecord.tenant_id == tenant_id,
            CallRecord.month == day.replace(day=1),
            CallRecord.started_at >= begins - running.LONGEST_RINGING,  # the index is of the beginnings
            CallRecord.answered_at >= begins,
            CallRecord.answered_at < clock.local_midnight(day + timedelta(days=1)),
        )
        .scalar_subquery()
    )


def _waiting(tenant_id: str, day: date) -> ScalarSelect[Any]:
    month = day.replace(day=1)
    listed = (
        select(NewCall.leg_id)
        .where(NewCall.tenant_id == tenant_id, NewCall.month == month)
        .order_by(NewCall.leg_id)
        .limit(MOST_WAITING)
        .subquery()
    )
    # By its key, one at a time, however old the table's statistics are: no walk through the month's calls.
    record = (
        select(CallRecord.destination, CallRecord.answered_at, CallRecord.billable_milliseconds)
        .where(CallRecord.tenant_id == tenant_id, CallRecord.month == month, CallRecord.leg_id == listed.c.leg_id)
        .limit(1)
        .lateral()
    )
    return (
        select(func.json_agg(func.json_build_array(listed.c.leg_id, *record.c)))
        .select_from(listed.join(record, true()))
        .where(
            record.c.answered_at >= clock.local_midnight(day),
            record.c.answered_at < clock.local_midnight(day + timedelta(days=1)),
        )
        .scalar_subquery()
    )


def _recorded(tenant_id: str, day: date, asked: Collection[str]) -> ScalarSelect[Any]:
    return (
        select(func.array_agg(CallRecord.leg_id))
        .where(
            CallRecord.tenant_id == tenant_id,
            CallRecord.month == day.replace(day=1),
            CallRecord.leg_id == any_(cast(list(asked), ARRAY(Text))),
        )
        .scalar_subquery()
    )
