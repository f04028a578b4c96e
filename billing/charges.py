"""Charges of calls, posted exactly once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs

log = logs.get(__name__)

LARGEST_TEN_THOUSANDTHS = 10**16 - 1
"""The largest charge that `charge.amount` holds, in units of 0.0001 CNY."""

_POST = """
INSERT INTO charge (tenant_id, month, leg_id, contract_id, billing_month, deck_id, prefix, billed_seconds, amount,
                    rated_at)
SELECT %(tenant_id)s, %(month)s, rated.leg_id, %(contract_id)s, %(billing_month)s, %(deck_id)s, rated.prefix,
       rated.billed_seconds, rated.ten_thousandths * 0.0001, %(rated_at)s
FROM unnest(%(leg_ids)b::text[], %(prefixes)b::text[], %(billed_seconds)s::int[], %(ten_thousandths)s::bigint[])
     AS rated (leg_id, prefix, billed_seconds, ten_thousandths)
ON CONFLICT DO NOTHING
"""
"""One statement with arrays: COPY would be quicker, but PostgreSQL refuses it under row security.

Lists of text go in binary form (`%b`), which psycopg writes six times faster than text.
"""


@dataclass(frozen=True, slots=True)
class Postings:
    """Charges that differ in their call only; the four lists run in step.

    `ten_thousandths` are amounts in units of 0.0001 CNY; both months are first days.
    """

    contract_id: str
    deck_id: str
    month: date
    billing_month: date
    leg_ids: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    billed_seconds: list[int] = field(default_factory=list)
    ten_thousandths: list[int] = field(default_factory=list)


async def driver_connection(session: AsyncSession) -> AsyncConnection[Any]:
    """psycopg's own connection beneath a session, in the same transaction and role."""
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    if not isinstance(raw.driver_connection, AsyncConnection):
        raise TypeError("The database driver is not psycopg's asynchronous one.")
    return raw.driver_connection


async def post_once(session: AsyncSession, tenant_id: str, postings: Iterable[Postings], rated_at: datetime) -> int:
    """Write charges; returns how many are new. A leg that has its charge already keeps that one."""
    connection = await driver_connection(session)
    posted = 0
    for part in postings:
        result = await connection.execute(
            _POST,
            {
                "tenant_id": tenant_id,
                "month": part.month,
                "contract_id": part.contract_id,
                "billing_month": part.billing_month,
                "deck_id": part.deck_id,
                "rated_at": rated_at,
                "leg_ids": part.leg_ids,
                "prefixes": part.prefixes,
                "billed_seconds": part.billed_seconds,
                "ten_thousandths": part.ten_thousandths,
            },
        )
        posted += result.rowcount
        if result.rowcount != len(part.leg_ids):
            log.warning("charges.posted_before", tenant_id=tenant_id, count=len(part.leg_ids) - result.rowcount)
    return posted
