"""HTTP for tax particulars and fapiao: what buyers are called, what is to be issued, which numbers came back."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices
from billing.api import read_month
from billing.fapiao import export, imports, particulars, records
from billing.fapiao.errors import FapiaoFileOfTheWrongKind
from billing.fapiao.models import Fapiao
from billing.fapiao.schemas import (
    FapiaoImportView,
    FapiaoRecord,
    FapiaoReplacement,
    FapiaoUpload,
    FapiaoView,
    FapiaoVoid,
    NewTaxParticulars,
    TaxParticularsView,
    fapiao_from,
    fapiao_view,
    import_view,
    particulars_from,
    particulars_view,
)
from billing.spreadsheets import CSV_MEDIA_TYPE, MEDIA_TYPES, XLSX_MEDIA_TYPE, FileKind
from billing.statements.sheets import Kind
from infra.kit import languages
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput

TAGS = ["Fapiao"]
KINDS: dict[str, Kind] = {CSV_MEDIA_TYPE: "csv", XLSX_MEDIA_TYPE: "xlsx"}
FORMATS: dict[str, FileKind] = {"xlsx": "xlsx", "csv": "csv"}

ExportMonth = Annotated[
    str | None, QueryParameter(name="month", description="The month of the invoices' dates; without it every month")
]
ExportFormat = Annotated[str, QueryParameter(name="format", description="`xlsx` or `csv`")]
ExportLanguage = Annotated[str, QueryParameter(name="language", description="`zh` or `en`")]


@put(
    "/v1/tenants/{tenant_id:str}/tax-particulars",
    permission="tax_particulars:write",
    tags=TAGS,
    operation_id="PutTaxParticulars",
)
async def put_tax_particulars(
    tenant_id: FromPath[str],
    data: JSONBody[NewTaxParticulars],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> TaxParticularsView:
    """Say what a tenant's fapiao are made out to; the credit code's check digit is verified. A change is a version."""
    wanted = principal.tenant_for(tenant_id)
    return particulars_view(await particulars.put(session, wanted, particulars_from(data)))


@get(
    "/v1/tenants/{tenant_id:str}/tax-particulars",
    permission="invoices:read",
    tags=TAGS,
    operation_id="GetTaxParticulars",
)
async def get_tax_particulars(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> TaxParticularsView:
    """What a tenant's fapiao are made out to."""
    return particulars_view(await particulars.get(session, principal.tenant_for(tenant_id)))


@get(
    "/v1/fapiao-export",
    permission="fapiao:export",
    tags=TAGS,
    operation_id="ExportFapiao",
    media_type=XLSX_MEDIA_TYPE,
)
async def export_fapiao(
    session: NamedDependency[AsyncSession],
    month: ExportMonth = None,
    file_format: ExportFormat = "xlsx",
    language: ExportLanguage = "zh",
) -> Response[bytes]:
    """What is to be issued outside: one row for each invoice and rate of tax that has no fapiao yet.

    Deposits carry no tax and are left out; credits need a red-letter fapiao; what keeps a row from being issued is
    said in it. Fill in the last columns and send the file to /v1/fapiao-imports.
    """
    chosen = FORMATS.get(file_format)
    if chosen is None:
        raise InvalidInput("`format` is xlsx or csv.", field="format")
    wanted = None if month is None else read_month(month)
    found = await export.waiting(session, wanted)
    content = await asyncio.to_thread(export.written, found, chosen, languages.checked(language))
    disposition = f'attachment; filename="fapiao-{wanted or "all"}.{chosen}"'
    return Response(content, media_type=MEDIA_TYPES[chosen], headers={"content-disposition": disposition})


@post("/v1/invoices/{invoice_id:str}/fapiao", permission="fapiao:write", tags=TAGS, operation_id="RecordFapiao")
async def record_fapiao(
    invoice_id: FromPath[str],
    data: JSONBody[FapiaoRecord],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FapiaoView:
    """Write the number of a fapiao back to its invoice; several may share it, never for more than its taxed lines."""
    found = await invoices.find(session, invoice_id, principal.tenant_id)
    return fapiao_view(await records.record(session, found.tenant_id, invoice_id, fapiao_from(data)))


@get("/v1/fapiao", permission="invoices:read", tags=TAGS, operation_id="ListFapiao")
async def list_fapiao(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    invoice_id: FromQuery[str | None] = None,
    number: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[FapiaoView]:
    """Fapiao, the one recorded last first; voided and replaced ones too."""
    query = principal.narrowed(select(Fapiao), Fapiao.tenant_id, tenant_id)
    if invoice_id is not None:
        query = query.where(Fapiao.invoice_id == invoice_id)
    if number is not None:
        query = query.where(Fapiao.number == number)
    rows, following = await fetch_page(session, query, keys=(Fapiao.fapiao_id,), limit=limit, after=after)
    return Page(items=[fapiao_view(row) for row in rows], next=following)


@post(
    "/v1/fapiao/{fapiao_id:str}/void",
    permission="fapiao:write",
    tags=TAGS,
    operation_id="VoidFapiao",
    status_code=HTTP_200_OK,
)
async def void_fapiao(
    fapiao_id: FromPath[str],
    data: JSONBody[FapiaoVoid],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FapiaoView:
    """Take a number back; the invoice is in the export again, and the number is free."""
    found = await records.find(session, fapiao_id, principal.tenant_id)
    return fapiao_view(await records.void(session, found.tenant_id, fapiao_id, reason=data.reason))


@post("/v1/fapiao/{fapiao_id:str}/replacement", permission="fapiao:write", tags=TAGS, operation_id="ReplaceFapiao")
async def replace_fapiao(
    fapiao_id: FromPath[str],
    data: JSONBody[FapiaoReplacement],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FapiaoView:
    """Void a fapiao and record the one issued in its place; answers with the new one."""
    found = await records.find(session, fapiao_id, principal.tenant_id)
    fapiao = await records.replace(session, found.tenant_id, fapiao_id, fapiao_from(data), reason=data.reason)
    return fapiao_view(fapiao)


@post(
    "/v1/fapiao-imports",
    permission="fapiao:write",
    tags=TAGS,
    operation_id="ImportFapiao",
    operation_class=FapiaoUpload,
    status_code=HTTP_200_OK,
)
async def import_fapiao(request: Request[Any, Any, Any], session: NamedDependency[AsyncSession]) -> FapiaoImportView:
    """Write many numbers back: the export filled in, as CSV (UTF-8 or GBK) or XLSX.

    Every row says what became of it; one that is refused stops no other. The same file again records nothing twice.
    """
    kind = KINDS.get(request.content_type[0])
    if kind is None:
        raise FapiaoFileOfTheWrongKind(f"Send the file as {CSV_MEDIA_TYPE} or {XLSX_MEDIA_TYPE}.", field="Content-Type")
    return import_view(await imports.import_numbers(session, await request.body(), kind))


ROUTES = [
    put_tax_particulars,
    get_tax_particulars,
    export_fapiao,
    record_fapiao,
    list_fapiao,
    void_fapiao,
    replace_fapiao,
    import_fapiao,
]
