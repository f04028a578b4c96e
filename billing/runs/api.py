"""HTTP for monthly runs: released by finance, followed, taken up again (rule 3)."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.api import read_month
from billing.runs import releases
from billing.runs.models import InvoiceRun, SetAsideContract
from billing.runs.schemas import (
    Release,
    RunStateView,
    SetAsideContractView,
    run_state_view,
    set_aside_contract_view,
)
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page

INVOICES = ["Invoices"]


@get("/v1/invoice-runs", permission="invoice_runs:preview", tags=INVOICES, operation_id="ListInvoiceRuns")
async def list_invoice_runs(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[RunStateView]:
    """Monthly runs, newest first; the first page begins with the months that wait for their release."""
    query = select(InvoiceRun)
    rows, following = await fetch_page(session, query, keys=(InvoiceRun.month,), limit=limit, after=after)
    months = [releases.month_of(row.month) for row in rows]
    if after is None:
        months = [*reversed(await releases.waiting_months(session)), *months]
    return Page(items=[run_state_view(await releases.state_of(session, month)) for month in months], next=following)


@get(
    "/v1/invoice-runs/{month:str}",
    permission="invoice_runs:preview",
    tags=INVOICES,
    operation_id="GetInvoiceRun",
)
async def get_invoice_run(month: FromPath[str], session: NamedDependency[AsyncSession]) -> RunStateView:
    """The run of a month (2026-07) and how far it is."""
    return run_state_view(await releases.state_of(session, read_month(month)))


@get(
    "/v1/invoice-runs/{month:str}/set-aside",
    permission="invoice_runs:preview",
    tags=INVOICES,
    operation_id="ListSetAsideContracts",
)
async def list_set_aside_contracts(
    *,
    month: FromPath[str],
    session: NamedDependency[AsyncSession],
    resolved: FromQuery[bool] = False,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[SetAsideContractView]:
    """The contracts of a run that wait for a person, with the reason; `resolved=true`: those billed since as well."""
    query = releases.set_aside_of(read_month(month), also_resolved=resolved)
    keys = (SetAsideContract.tenant_id, SetAsideContract.contract_id)
    rows, following = await fetch_page(session, query, keys=keys, limit=limit, after=after)
    return Page(items=[set_aside_contract_view(row) for row in rows], next=following)


@post(
    "/v1/invoice-runs/{month:str}/release",
    permission="invoice_runs:release",
    tags=INVOICES,
    operation_id="ReleaseInvoiceRun",
    status_code=HTTP_200_OK,
)
async def release_invoice_run(
    month: FromPath[str], data: JSONBody[Release], session: NamedDependency[AsyncSession]
) -> RunStateView:
    """Let the invoices of a month go out; a job issues them. Released later than the 5th they are due five days after.

    Months go out in their order, each once. With the preview's `contracts_due` or `expected_total` the run is refused
    when it has become another. While call records of the month before are missing it is refused
    (`hours_unreconciled`), unless `sign_off` says why it goes out all the same, with the `hours_version` of the
    refusal.
    """
    state = await releases.release(
        session,
        read_month(month),
        note=data.note,
        contracts_due=data.contracts_due,
        expected_total=data.expected_total,
        sign_off=data.sign_off,
        hours_version=data.hours_version,
    )
    return run_state_view(state)


@post(
    "/v1/invoice-runs/{month:str}/retry",
    permission="invoice_runs:release",
    tags=INVOICES,
    operation_id="RetryInvoiceRun",
    status_code=HTTP_200_OK,
)
async def retry_invoice_run(month: FromPath[str], session: NamedDependency[AsyncSession]) -> RunStateView:
    """Try the contracts that were set aside again, and those whose invoice was voided; they are released today."""
    return run_state_view(await releases.retry(session, read_month(month)))


ROUTES = [
    list_invoice_runs,
    get_invoice_run,
    list_set_aside_contracts,
    release_invoice_run,
    retry_invoice_run,
]
