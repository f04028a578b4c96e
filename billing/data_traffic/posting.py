"""Traffic becomes records: bytes are added to the record of a seat's day, which is priced anew (C3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts
from billing.models import Contract
from billing.rules.data_traffic import data_charge
from infra.kit import clock
from infra.kit.ids import new_id
from infra.kit.partitions import month_after

_BEGIN = text(
    "INSERT INTO data_usage (tenant_id, record_id, contract_id, seat_id, day, billing_month, received, sent,"
    " rate_per_gb, amount, changed_at)"
    " SELECT :tenant_id, new.record_id, new.contract_id, new.seat_id, new.day, new.billing_month, 0, 0, 0, 0, :now"
    " FROM unnest(CAST(:contract_ids AS text[]), CAST(:seat_ids AS text[]), CAST(:days AS date[]),"
    " CAST(:billing_months AS date[]), CAST(:record_ids AS text[]))"
    " AS new (contract_id, seat_id, day, billing_month, record_id)"
    " ON CONFLICT DO NOTHING"
)
_HOLD = text(
    "SELECT usage.record_id, usage.contract_id, usage.seat_id, usage.day, usage.billing_month, usage.received,"
    " usage.sent FROM data_usage AS usage"
    " JOIN unnest(CAST(:contract_ids AS text[]), CAST(:seat_ids AS text[]), CAST(:days AS date[]),"
    " CAST(:billing_months AS date[]))"
    " AS wanted (contract_id, seat_id, day, billing_month)"
    " USING (contract_id, seat_id, day, billing_month)"
    " WHERE usage.tenant_id = :tenant_id ORDER BY usage.record_id FOR UPDATE OF usage"
)
_CHANGE = text(
    "UPDATE data_usage AS usage SET received = new.received, sent = new.sent, rate_per_gb = new.rate,"
    " amount = new.amount, changed_at = :now"
    " FROM unnest(CAST(:record_ids AS text[]), CAST(:received AS bigint[]), CAST(:sent AS bigint[]),"
    " CAST(:rates AS numeric[]), CAST(:amounts AS numeric[])) AS new (record_id, received, sent, rate, amount)"
    " WHERE usage.tenant_id = :tenant_id AND usage.record_id = new.record_id"
)
"""Statements with arrays: a gateway reports some thousand seats every minute."""

_Key = tuple[str, str, date, date]
"""Contract, seat, day and billing month: what a record is one of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that a seat's tunnel has carried on a local day and that no record has yet."""

    contract_id: str
    seat_id: str
    day: date
    received: int
    sent: int


async def add(session: AsyncSession, tenant_id: str, traffic: Sequence[Traffic]) -> None:
    """Add a tenant's traffic to its records. What is given is added: whoever calls sees to it that it is given once.

    A record belongs to a contract, a seat and a local day; what comes after the invoice of its month has a record of
    its own on the next one (rule 3). The contracts are held FOR SHARE until the transaction ends, as for calls: no
    record falls between two invoices.
    """
    if not traffic:
        return
    held = await _hold_contracts(session, tenant_id, {each.contract_id for each in traffic})
    added: dict[_Key, tuple[int, int]] = {}
    for each in traffic:
        key = (each.contract_id, each.seat_id, each.day, _billing_month(held[each.contract_id], each.day))
        received, sent = added.get(key, (0, 0))
        added[key] = (received + each.received, sent + each.sent)
    columns: dict[str, list[Any]] = {name: [] for name in ("record_ids", "received", "sent", "rates", "amounts")}
    rates: dict[tuple[str, date], Decimal] = {}
    for row in await _hold_records(session, tenant_id, sorted(added)):
        more = added[row.contract_id, row.seat_id, row.day, row.billing_month]
        received, sent = row.received + more[0], row.sent + more[1]
        if (row.contract_id, row.day) not in rates:
            rates[row.contract_id, row.day] = contracts.terms_of(held[row.contract_id], row.day).data_rate_per_gb
        rate = rates[row.contract_id, row.day]
        values = (row.record_id, received, sent, rate, data_charge(received + sent, rate))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    await session.execute(_CHANGE, columns | {"tenant_id": tenant_id, "now": clock.now()})


async def _hold_contracts(session: AsyncSession, tenant_id: str, wanted: set[str]) -> dict[str, Contract]:
    query = (
        select(Contract)
        .where(Contract.tenant_id == tenant_id, Contract.contract_id.in_(sorted(wanted)))
        .order_by(Contract.contract_id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    return {row.contract_id: row for row in (await session.execute(query)).scalars()}


def _billing_month(contract: Contract, day: date) -> date:
    month = day.replace(day=1)
    if contract.billed_through is None or contract.billed_through < month:
        return month
    return month_after(contract.billed_through)


async def _hold_records(session: AsyncSession, tenant_id: str, keys: Sequence[_Key]) -> Sequence[Any]:
    """The records of these keys, made where they are missing, and locked."""
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "contract_ids": [key[0] for key in keys],
        "seat_ids": [key[1] for key in keys],
        "days": [key[2] for key in keys],
        "billing_months": [key[3] for key in keys],
    }
    made = {"record_ids": [new_id("dat") for _ in keys], "now": clock.now()}
    await session.execute(_BEGIN, values | made)
    return (await session.execute(_HOLD, values)).all()
