"""HTTP for the ledger: ageing, revenue and movements, on the API and as files, and the postings behind them."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import ledger_reports
from billing.api import read_month
from billing.ledger_models import JournalPosting
from billing.ledger_schemas import (
    AgeingView,
    MovementsView,
    PostingView,
    RevenueView,
    Sheet,
    ageing_sheet,
    ageing_view,
    movements_sheet,
    movements_view,
    posting_view,
    revenue_sheet,
    revenue_view,
)
from billing.rules.months import Month
from billing.spreadsheets import MEDIA_TYPES, Book, FileKind
from infra.kit import clock
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput

TAGS = ["Ledger"]
AsOf = Annotated[date | None, QueryParameter(description="The day at whose end; today when left out")]
FirstMonth = Annotated[str | None, QueryParameter(description="`2026-01`; this month's when left out")]
LastMonth = Annotated[str | None, QueryParameter(description="`2026-12`, counted; this month's when left out")]
FileFormat = Annotated[str, QueryParameter(name="format", description="`csv` or `xlsx`")]


@get("/v1/reports/ageing", permission="ledger:read", tags=TAGS, operation_id="GetAgeing")
async def get_ageing(session: NamedDependency[AsyncSession], as_of: AsOf = None) -> AgeingView:
    """What every tenant owes by age, at the end of a day; for a past day the same whenever it is asked for."""
    return ageing_view(await ledger_reports.ageing(session, as_of or clock.today()))


@get("/v1/reports/ageing/file", permission="ledger:read", tags=TAGS, operation_id="GetAgeingFile")
async def get_ageing_file(
    session: NamedDependency[AsyncSession], as_of: AsOf = None, file_format: FileFormat = "xlsx"
) -> Response[bytes]:
    """The ageing report for a spreadsheet program."""
    report = await ledger_reports.ageing(session, as_of or clock.today())
    return await _file(ageing_sheet(report), file_format, f"ageing-{report.as_of}")


@get("/v1/reports/revenue", permission="ledger:read", tags=TAGS, operation_id="GetRevenue")
async def get_revenue(
    session: NamedDependency[AsyncSession], first: FirstMonth = None, last: LastMonth = None
) -> RevenueView:
    """Revenue net of tax by month and kind, out of the ledger."""
    moved = await ledger_reports.movements(session, *_span(first, last), account="revenue")
    return revenue_view(ledger_reports.revenue_of(moved))


@get("/v1/reports/revenue/file", permission="ledger:read", tags=TAGS, operation_id="GetRevenueFile")
async def get_revenue_file(
    session: NamedDependency[AsyncSession],
    first: FirstMonth = None,
    last: LastMonth = None,
    file_format: FileFormat = "xlsx",
) -> Response[bytes]:
    """The revenue report for a spreadsheet program."""
    span = _span(first, last)
    moved = await ledger_reports.movements(session, *span, account="revenue")
    return await _file(revenue_sheet(ledger_reports.revenue_of(moved)), file_format, f"revenue-{span[0]}-{span[1]}")


@get("/v1/reports/movements", permission="ledger:read", tags=TAGS, operation_id="GetMovements")
async def get_movements(
    session: NamedDependency[AsyncSession],
    first: FirstMonth = None,
    last: LastMonth = None,
    account: FromQuery[str | None] = None,
) -> MovementsView:
    """What each account moved in each month: cash by channel, tax by rate, deposits, fees, write-offs."""
    return movements_view(await ledger_reports.movements(session, *_span(first, last), account=account))


@get("/v1/reports/movements/file", permission="ledger:read", tags=TAGS, operation_id="GetMovementsFile")
async def get_movements_file(
    session: NamedDependency[AsyncSession],
    first: FirstMonth = None,
    last: LastMonth = None,
    account: FromQuery[str | None] = None,
    file_format: FileFormat = "xlsx",
) -> Response[bytes]:
    """The movements for a spreadsheet program."""
    span = _span(first, last)
    moved = await ledger_reports.movements(session, *span, account=account)
    return await _file(movements_sheet(moved), file_format, f"movements-{span[0]}-{span[1]}")


@get("/v1/postings", permission="ledger:read", tags=TAGS, operation_id="ListPostings")
async def list_postings(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    source_id: FromQuery[str | None] = None,
    subject_id: FromQuery[str | None] = None,
    account: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PostingView]:
    """The journal: every posting of a tenant, document or account, newest value day first."""
    query = select(JournalPosting)
    if (only := principal.tenant_filter(tenant_id)) is not None:
        query = query.where(JournalPosting.tenant_id == only)
    for column, wanted in (
        (JournalPosting.source_id, source_id),
        (JournalPosting.subject_id, subject_id),
        (JournalPosting.account, account),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    keys = (
        JournalPosting.value_on,
        JournalPosting.tenant_id,
        JournalPosting.source_id,
        JournalPosting.event,
        JournalPosting.posting_number,
    )
    rows, following = await fetch_page(session, query, keys=keys, limit=limit, after=after)
    return Page(items=[posting_view(row) for row in rows], next=following)


def _span(first: str | None, last: str | None) -> tuple[Month, Month]:
    today = Month.of(clock.today())
    return (read_month(first) if first else today), (read_month(last) if last else today)


async def _file(sheet: Sheet, file_format: str, name: str) -> Response[bytes]:
    kind: FileKind
    match file_format:
        case "csv" | "xlsx":
            kind = file_format
        case _:
            raise InvalidInput("`format` is csv or xlsx.", field="format")
    content = await asyncio.to_thread(_written, sheet, kind)
    headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)


def _written(sheet: Sheet, kind: FileKind) -> bytes:
    with Book(kind) as book:
        table = book.table(sheet.name)
        table.heading(sheet.columns)
        for row in sheet.rows:
            table.row(row)
        return book.content()


ROUTES = [
    get_ageing,
    get_ageing_file,
    get_revenue,
    get_revenue_file,
    get_movements,
    get_movements_file,
    list_postings,
]
