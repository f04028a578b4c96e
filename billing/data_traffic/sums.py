"""What an invoice adds up of data traffic."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.data_traffic.models import DataUsage
from billing.rules.months import Month


@dataclass(frozen=True, slots=True)
class DataSum:
    """A contract's records on one invoice: how many, bytes from and to the seats, CNY with four decimals."""

    records: int
    received: int
    sent: int
    amount: Decimal


async def of_month(session: AsyncSession, tenant_id: str, contract_id: str, month: Month) -> DataSum:
    """The records that go on the invoice for the usage of a month."""
    query = select(
        func.count(),
        func.coalesce(func.sum(DataUsage.received), 0),
        func.coalesce(func.sum(DataUsage.sent), 0),
        func.coalesce(func.sum(DataUsage.amount), 0),
    ).where(
        DataUsage.tenant_id == tenant_id,
        DataUsage.contract_id == contract_id,
        DataUsage.billing_month == month.first,
    )
    records, received, sent, amount = (await session.execute(query)).one()
    return DataSum(records, int(received), int(sent), Decimal(amount))
