"""HTTP for bank statements: column mappings, imports, and the queue of lines that wait for a person.

Only finance and operators have the permissions named here: a statement shows the payments of every tenant.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from billing.statement_schemas import (
    BankMappingView,
    BankStatementLineView,
    BankStatementView,
    LineAssignment,
    LineDismissal,
    NewBankMapping,
    StatementUpload,
    layout_from,
    line_view,
    mapping_view,
    statement_view,
)
from billing.statements import imports, mappings, queue
from billing.statements.errors import StatementOfTheWrongKind
from billing.statements.models import BankMapping, BankStatement, BankStatementLine
from billing.statements.sheets import Kind
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.problems import InvalidInput

TAGS = ["Bank statements"]
READ, WRITE = "bank_statements:read", "payments:write"
KINDS: dict[str, Kind] = {CSV_MEDIA_TYPE: "csv", XLSX_MEDIA_TYPE: "xlsx"}

LineState = Annotated[
    str | None, QueryParameter(name="state", description="`new`, `matched`, `unmatched`, `dismissed` or `duplicate`")
]


@post("/v1/bank-mappings", permission=WRITE, tags=TAGS, operation_id="CreateBankMapping")
async def create_bank_mapping(
    data: JSONBody[NewBankMapping], session: NamedDependency[AsyncSession]
) -> BankMappingView:
    """Describe how the files of a bank are read. A mapping never changes: make another under a new name."""
    return mapping_view(
        await mappings.create(session, name=data.name, bank_account=data.bank_account, layout=layout_from(data))
    )


@get("/v1/bank-mappings", permission=READ, tags=TAGS, operation_id="ListBankMappings")
async def list_bank_mappings(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[BankMappingView]:
    """Column mappings, by name from the last."""
    rows, following = await fetch_page(session, select(BankMapping), keys=(BankMapping.name,), limit=limit, after=after)
    return Page(items=[mapping_view(row) for row in rows], next=following)


@post(
    "/v1/bank-statements",
    permission=WRITE,
    tags=TAGS,
    operation_id="ImportBankStatement",
    operation_class=StatementUpload,
)
async def import_bank_statement(
    request: Request[Any, Any, Any], session: NamedDependency[AsyncSession], mapping: FromQuery[str]
) -> Response[BankStatementView]:
    """Upload a bank's file as the body, `text/csv` (UTF-8 or GBK) or XLSX, read by `?mapping=NAME`.

    A row that cannot be read refuses the whole file, naming line and column. Otherwise its lines are matched to
    tenants by a job within seconds: sure ones become payments, unclear ones wait. A file that came before adds nothing
    (200, `imported_before`); a line that came before is kept as a `duplicate` without effect.
    """
    kind = KINDS.get(request.content_type[0])
    if kind is None:
        raise StatementOfTheWrongKind(
            f"Send the statement as {CSV_MEDIA_TYPE} or {XLSX_MEDIA_TYPE}.", field="Content-Type"
        )
    done = await imports.import_statement(session, mapping_name=mapping, content=await request.body(), kind=kind)
    counts = await imports.line_counts(session, [done.statement.statement_id])
    view = statement_view(done.statement, counts[done.statement.statement_id], imported_before=done.imported_before)
    return Response(view, status_code=HTTP_200_OK if done.imported_before else HTTP_201_CREATED)


@get("/v1/bank-statements", permission=READ, tags=TAGS, operation_id="ListBankStatements")
async def list_bank_statements(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[BankStatementView]:
    """Imported statements, newest first."""
    query = select(BankStatement).options(defer(BankStatement.content, raiseload=True))
    rows, following = await fetch_page(session, query, keys=(BankStatement.statement_id,), limit=limit, after=after)
    counts = await imports.line_counts(session, [row.statement_id for row in rows])
    return Page(items=[statement_view(row, counts[row.statement_id]) for row in rows], next=following)


@get("/v1/bank-statements/{statement_id:str}", permission=READ, tags=TAGS, operation_id="GetBankStatement")
async def get_bank_statement(statement_id: FromPath[str], session: NamedDependency[AsyncSession]) -> BankStatementView:
    """One statement with its lines counted by state."""
    statement = await imports.get(session, statement_id)
    return statement_view(statement, (await imports.line_counts(session, [statement_id]))[statement_id])


@get(
    "/v1/bank-statements/{statement_id:str}/lines",
    permission=READ,
    tags=TAGS,
    operation_id="ListLinesOfBankStatement",
)
async def list_lines_of_statement(
    *,
    statement_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    line_state: LineState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[BankStatementLineView]:
    """The lines of a statement, the last one first; `state=unmatched` are those that wait for a person."""
    await imports.get(session, statement_id)
    query = select(BankStatementLine).where(BankStatementLine.statement_id == statement_id)
    return await _line_page(session, query, line_state, limit=limit, after=after)


@get("/v1/bank-statement-lines", permission=READ, tags=TAGS, operation_id="ListBankStatementLines")
async def list_lines(
    *,
    session: NamedDependency[AsyncSession],
    line_state: LineState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[BankStatementLineView]:
    """The lines of all statements, the newest first; `state=unmatched` is the whole queue."""
    return await _line_page(session, select(BankStatementLine), line_state, limit=limit, after=after)


@post(
    "/v1/bank-statement-lines/{line_id:str}/assignment",
    permission=WRITE,
    tags=TAGS,
    operation_id="AssignBankStatementLine",
    status_code=HTTP_200_OK,
)
async def assign_line(
    line_id: FromPath[str], data: JSONBody[LineAssignment], session: NamedDependency[AsyncSession]
) -> BankStatementLineView:
    """Make a line a payment of a tenant. A wrong one is taken back by reversing the payment: the line waits again."""
    return line_view(await queue.assign(session, line_id, data.tenant_id))


@post(
    "/v1/bank-statement-lines/{line_id:str}/dismissal",
    permission=WRITE,
    tags=TAGS,
    operation_id="DismissBankStatementLine",
    status_code=HTTP_200_OK,
)
async def dismiss_line(
    line_id: FromPath[str], data: JSONBody[LineDismissal], session: NamedDependency[AsyncSession]
) -> BankStatementLineView:
    """Take a line out of the queue as no tenant's payment; it may still be assigned later."""
    return line_view(await queue.dismiss(session, line_id, data.reason))


async def _line_page(
    session: AsyncSession, query: Select[BankStatementLine], state: str | None, *, limit: int, after: str | None
) -> Page[BankStatementLineView]:
    if state is not None:
        if state not in queue.STATES:
            raise InvalidInput(f"`state` is {', '.join(queue.STATES)}.", field="state")
        query = query.where(BankStatementLine.state == state)
    rows, following = await fetch_page(session, query, keys=(BankStatementLine.line_id,), limit=limit, after=after)
    return Page(items=[line_view(row) for row in rows], next=following)


ROUTES = [
    create_bank_mapping,
    list_bank_mappings,
    import_bank_statement,
    list_bank_statements,
    get_bank_statement,
    list_lines_of_statement,
    list_lines,
    assign_line,
    dismiss_line,
]
