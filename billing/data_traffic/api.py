"""HTTP for data traffic."""

from __future__ import annotations

from datetime import date, datetime

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.data_traffic.models import DataUsage
from billing.rules.months import Month
from infra.kit import money
from infra.kit.http import DEFAULT_PAGE, After, Limit, View
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput


class DataUsageView(View):
    """What a seat's tunnel carried on a local day, in bytes, and its price.

    `received` came from the seat, `sent` went to it; `rate_per_gb` is for 1,000,000,000 bytes. The record goes on the
    invoice for the usage of `billing_month`, and grows until then.
    """

    record_id: str
    tenant_id: str
    contract_id: str
    seat_id: str
    day: date
    billing_month: str
    received: int
    sent: int
    rate_per_gb: str
    amount: str
    currency: str
    changed_at: datetime


@get("/v1/data-usage", permission="charges:read", tags=["Usage"], operation_id="ListDataUsage")
async def list_data_usage(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    seat_id: FromQuery[str | None] = None,
    month: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[DataUsageView]:
    """Data traffic by seat and day, the latest day first; `month` (`2026-07`) is that of the invoice it goes on."""
    query = principal.narrowed(select(DataUsage), DataUsage.tenant_id, tenant_id)
    if contract_id is not None:
        query = query.where(DataUsage.contract_id == contract_id)
    if seat_id is not None:
        query = query.where(DataUsage.seat_id == seat_id)
    if month is not None:
        query = query.where(DataUsage.billing_month == _month(month).first)
    rows, following = await fetch_page(
        session, query, keys=(DataUsage.day, DataUsage.record_id), limit=limit, after=after
    )
    return Page(items=[_view(row) for row in rows], next=following)


def _month(text: str) -> Month:
    try:
        return Month.of(date.fromisoformat(f"{text}-01"))
    except ValueError:
        raise InvalidInput(f"{text!r} is not a month such as 2026-07.", field="month") from None


def _view(row: DataUsage) -> DataUsageView:
    fields = {name: getattr(row, name, None) for name in DataUsageView.__struct_fields__}
    return msgspec.convert(
        fields
        | {
            "billing_month": str(Month.of(row.billing_month)),
            "rate_per_gb": f"{money.rated(row.rate_per_gb):f}",
            "amount": f"{money.rated(row.amount):f}",
            "currency": money.CURRENCY,
        },
        DataUsageView,
    )


ROUTES = [list_data_usage]
