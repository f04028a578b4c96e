"""HTTP for usage statements: every call that an invoice charges, as a file."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices, usage_statement
from billing.api import read_month
from billing.spreadsheets import CSV_MEDIA_TYPE, MEDIA_TYPES, XLSX_MEDIA_TYPE, FileKind
from billing.usage_statement import Subject
from infra.kit import languages
from infra.kit.principal import Principal

TAGS = ["Charges"]
ReadIn = Annotated[str, QueryParameter(name="language", description="`zh` or `en`")]


@get(
    "/v1/invoices/{invoice_id:str}/usage-statement.xlsx",
    permission="call_charges:read",
    tags=TAGS,
    operation_id="GetInvoiceUsageStatementXlsx",
    media_type=XLSX_MEDIA_TYPE,
)
async def get_of_invoice_xlsx(
    invoice_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    language: ReadIn = "zh",
) -> Response[bytes]:
    """The calls of a monthly or final invoice as a workbook: one row each, their sum, the rounding, the line."""
    return await _of_invoice(session, principal, invoice_id, "xlsx", language)


@get(
    "/v1/invoices/{invoice_id:str}/usage-statement.csv",
    permission="call_charges:read",
    tags=TAGS,
    operation_id="GetInvoiceUsageStatementCsv",
    media_type=CSV_MEDIA_TYPE,
)
async def get_of_invoice_csv(
    invoice_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    language: ReadIn = "zh",
) -> Response[bytes]:
    """The same as CSV in UTF-8."""
    return await _of_invoice(session, principal, invoice_id, "csv", language)


@get(
    "/v1/contracts/{contract_id:str}/usage/{month:str}/statement.xlsx",
    permission="call_charges:read",
    tags=TAGS,
    operation_id="GetContractUsageStatementXlsx",
    media_type=XLSX_MEDIA_TYPE,
)
async def get_of_month_xlsx(
    contract_id: FromPath[str],
    month: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    language: ReadIn = "zh",
) -> Response[bytes]:
    """The calls of a contract that go on the invoice for a month's usage, also before that invoice is there."""
    wanted = read_month(month)
    subject = await usage_statement.of_month(session, contract_id, principal.tenant_id, wanted)
    return await _file(session, subject, "xlsx", language)


@get(
    "/v1/contracts/{contract_id:str}/usage/{month:str}/statement.csv",
    permission="call_charges:read",
    tags=TAGS,
    operation_id="GetContractUsageStatementCsv",
    media_type=CSV_MEDIA_TYPE,
)
async def get_of_month_csv(
    contract_id: FromPath[str],
    month: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    language: ReadIn = "zh",
) -> Response[bytes]:
    """The same as CSV in UTF-8."""
    wanted = read_month(month)
    subject = await usage_statement.of_month(session, contract_id, principal.tenant_id, wanted)
    return await _file(session, subject, "csv", language)


async def _of_invoice(
    session: AsyncSession, principal: Principal, invoice_id: str, kind: FileKind, language: str
) -> Response[bytes]:
    invoice = await invoices.find(session, invoice_id, principal.tenant_id)
    return await _file(session, await usage_statement.of_invoice(session, invoice), kind, language)


async def _file(session: AsyncSession, subject: Subject, kind: FileKind, language: str) -> Response[bytes]:
    content = await usage_statement.write(session, subject, kind, languages.checked(language))
    disposition = f'attachment; filename="{subject.file_name}.{kind}"'
    return Response(content, media_type=MEDIA_TYPES[kind], headers={"content-disposition": disposition})


ROUTES = [get_of_invoice_xlsx, get_of_invoice_csv, get_of_month_xlsx, get_of_month_csv]
