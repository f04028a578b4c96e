"""HTTP for faults and maintenance windows."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy.ext.asyncio import AsyncSession

from billing.api import read_month
from billing.contracts import find_contract
from billing.outages import arithmetic, faults, observed, windows
from billing.outages.faults import Report
from billing.outages.models import Fault, MaintenanceWindow
from billing.outages.schemas import (
    FaultCorrection,
    FaultCreditPreview,
    FaultDecision,
    FaultDetailView,
    FaultEnd,
    FaultView,
    FaultWithdrawal,
    MaintenanceWindowView,
    NewFault,
    NewMaintenanceWindow,
    WindowCancellation,
    WindowClosure,
    WindowMove,
    fault_credit_preview,
    fault_detail_view,
    fault_view,
    window_view,
)
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.database import Scope, enter_scope
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden

FAULTS, MAINTENANCE = ["Faults"], ["Maintenance"]
FaultState = Annotated[str | None, QueryParameter(name="state", description="`reported`, `confirmed` or `withdrawn`")]
WindowState = Annotated[
    str | None, QueryParameter(name="state", description="`announced`, `moved`, `cancelled` or `done`")
]
DECIDES = "faults:decide"


@post("/v1/faults", permission="faults:report", tags=FAULTS, operation_id="ReportFault")
async def report_fault(
    data: JSONBody[NewFault], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> FaultView:
    """Report that seats or circuits could not be used; a tenant reports its own, and the operator decides the cause.

    Where the cluster was seen with the same and it lasts, the answer is that fault: the report is kept as its evidence.
    """
    tenant_id = principal.tenant_for(data.tenant_id)
    if data.cause is not None and DECIDES not in principal.permissions:
        raise Forbidden("The operator decides on the cause; report the fault without one.", field="cause")
    await find_contract(session, data.contract_id, tenant_id)
    # Recording it takes locks that the tenant's own role has no right to; it was the tenant's contract above.
    await enter_scope(session, Scope.platform())
    report = Report(
        contract_id=data.contract_id,
        began_at=data.began_at,
        note=data.note,
        item=data.item,
        numbers=data.numbers,
        ended_at=data.ended_at,
        cause=data.cause,
    )
    known = await observed.second(session, tenant_id, report)
    return fault_view(known or await faults.report(session, tenant_id=tenant_id, report=report))


@get("/v1/faults", permission="faults:read", tags=FAULTS, operation_id="ListFaults")
async def list_faults(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    fault_state: FaultState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[FaultView]:
    """Faults, newest first; withdrawn ones too."""
    query = faults.wanted(tenant_id=principal.tenant_filter(tenant_id), contract_id=contract_id, state=fault_state)
    rows, following = await fetch_page(session, query, keys=(Fault.fault_id,), limit=limit, after=after)
    return Page(items=[fault_view(row) for row in rows], next=following)


@get("/v1/faults/{fault_id:str}", permission="faults:read", tags=FAULTS, operation_id="GetFault")
async def get_fault(
    fault_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> FaultDetailView:
    """One fault with the credit that follows from it so far, seat by seat and month by month."""
    return await _detail(session, await faults.find(session, fault_id, principal.tenant_id))


@get(
    "/v1/contracts/{contract_id:str}/fault-credits",
    permission="faults:read",
    tags=FAULTS,
    operation_id="PreviewFaultCredits",
)
async def preview_fault_credits(
    contract_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    month: FromQuery[str | None] = None,
) -> FaultCreditPreview:
    """What the faults of a month (`2026-04`; by default the running one) come to before its invoice (C11, rule 9)."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    wanted = Month.of(clock.today()) if month is None else read_month(month)
    return fault_credit_preview(await arithmetic.month_of(session, contract, wanted))


@post(
    "/v1/faults/{fault_id:str}/confirmation",
    permission=DECIDES,
    tags=FAULTS,
    operation_id="ConfirmFault",
    status_code=HTTP_200_OK,
)
async def confirm_fault(
    fault_id: FromPath[str],
    data: JSONBody[FaultDecision],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FaultDetailView:
    """Decide whose cause a reported fault was; only the operator's are credited."""
    found = await faults.find(session, fault_id, principal.tenant_id)
    fault = await faults.confirm(
        session, tenant_id=found.tenant_id, fault_id=fault_id, cause=data.cause, reason=data.reason
    )
    return await _detail(session, fault)


@post(
    "/v1/faults/{fault_id:str}/reclassification",
    permission=DECIDES,
    tags=FAULTS,
    operation_id="ReclassifyFault",
    status_code=HTTP_200_OK,
)
async def reclassify_fault(
    fault_id: FromPath[str],
    data: JSONBody[FaultDecision],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FaultDetailView:
    """Give a confirmed fault another cause; what an invoice has credited for it stays credited."""
    found = await faults.find(session, fault_id, principal.tenant_id)
    fault = await faults.reclassify(
        session, tenant_id=found.tenant_id, fault_id=fault_id, cause=data.cause, reason=data.reason
    )
    return await _detail(session, fault)


@post(
    "/v1/faults/{fault_id:str}/end",
    permission=DECIDES,
    tags=FAULTS,
    operation_id="EndFault",
    status_code=HTTP_200_OK,
)
async def end_fault(
    fault_id: FromPath[str],
    data: JSONBody[FaultEnd],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FaultDetailView:
    """Record when a lasting fault was repaired."""
    found = await faults.find(session, fault_id, principal.tenant_id)
    fault = await faults.end(session, tenant_id=found.tenant_id, fault_id=fault_id, ended_at=data.ended_at)
    return await _detail(session, fault)


@post(
    "/v1/faults/{fault_id:str}/correction",
    permission=DECIDES,
    tags=FAULTS,
    operation_id="CorrectFault",
    status_code=HTTP_200_OK,
)
async def correct_fault(
    fault_id: FromPath[str],
    data: JSONBody[FaultCorrection],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FaultDetailView:
    """Correct the times of a fault; some of its numbers become a fault of their own, which is the answer."""
    found = await faults.find(session, fault_id, principal.tenant_id)
    fault = await faults.correct(
        session,
        tenant_id=found.tenant_id,
        fault_id=fault_id,
        reason=data.reason,
        began_at=data.began_at,
        ended_at=data.ended_at,
        numbers=data.numbers,
    )
    return await _detail(session, fault)


@post(
    "/v1/faults/{fault_id:str}/withdrawal",
    permission=DECIDES,
    tags=FAULTS,
    operation_id="WithdrawFault",
    status_code=HTTP_200_OK,
)
async def withdraw_fault(
    fault_id: FromPath[str],
    data: JSONBody[FaultWithdrawal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> FaultDetailView:
    """Say that there was no such fault; it stays to be seen and counts no more."""
    found = await faults.find(session, fault_id, principal.tenant_id)
    fault = await faults.withdraw(session, tenant_id=found.tenant_id, fault_id=fault_id, reason=data.reason)
    return await _detail(session, fault)


@post(
    "/v1/maintenance-windows",
    permission="maintenance:write",
    tags=MAINTENANCE,
    operation_id="AnnounceMaintenanceWindow",
)
async def announce_window(
    data: JSONBody[NewMaintenanceWindow], session: NamedDependency[AsyncSession]
) -> MaintenanceWindowView:
    """Announce planned maintenance: at least 72 hours ahead, within one local day, at most two windows a month."""
    window = await windows.announce(
        session,
        begins_at=data.begins_at,
        ends_at=data.ends_at,
        note=data.note,
        cluster=data.cluster,
        nodes=data.nodes,
    )
    return window_view(window)


@get(
    "/v1/maintenance-windows",
    permission="maintenance:read",
    tags=MAINTENANCE,
    operation_id="ListMaintenanceWindows",
)
async def list_windows(
    *,
    session: NamedDependency[AsyncSession],
    window_state: WindowState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[MaintenanceWindowView]:
    """Maintenance windows, the last announced first; cancelled ones too."""
    rows, following = await fetch_page(
        session, windows.wanted(state=window_state), keys=(MaintenanceWindow.window_id,), limit=limit, after=after
    )
    return Page(items=[window_view(row) for row in rows], next=following)


@post(
    "/v1/maintenance-windows/{window_id:str}/move",
    permission="maintenance:write",
    tags=MAINTENANCE,
    operation_id="MoveMaintenanceWindow",
    status_code=HTTP_200_OK,
)
async def move_window(
    window_id: FromPath[str], data: JSONBody[WindowMove], session: NamedDependency[AsyncSession]
) -> MaintenanceWindowView:
    """Move a window that has not begun; the notice of 72 hours counts from now."""
    window = await windows.move(
        session, window_id=window_id, begins_at=data.begins_at, ends_at=data.ends_at, reason=data.reason
    )
    return window_view(window)


@post(
    "/v1/maintenance-windows/{window_id:str}/cancellation",
    permission="maintenance:write",
    tags=MAINTENANCE,
    operation_id="CancelMaintenanceWindow",
    status_code=HTTP_200_OK,
)
async def cancel_window(
    window_id: FromPath[str], data: JSONBody[WindowCancellation], session: NamedDependency[AsyncSession]
) -> MaintenanceWindowView:
    """Call a window off before it begins."""
    return window_view(await windows.cancel(session, window_id=window_id, reason=data.reason))


@post(
    "/v1/maintenance-windows/{window_id:str}/closure",
    permission="maintenance:write",
    tags=MAINTENANCE,
    operation_id="CloseMaintenanceWindow",
    status_code=HTTP_200_OK,
)
async def close_window(
    window_id: FromPath[str], data: JSONBody[WindowClosure], session: NamedDependency[AsyncSession]
) -> MaintenanceWindowView:
    """Record when the work was really over; an overrun becomes the operator's fault of everything that was open."""
    return window_view(await windows.close(session, window_id=window_id, ended_at=data.ended_at))


async def _detail(session: AsyncSession, fault: Fault) -> FaultDetailView:
    account = await arithmetic.account_of(session, fault)
    return fault_detail_view(fault, account, await observed.evidence_of(session, fault))


ROUTES = [
    report_fault,
    list_faults,
    get_fault,
    preview_fault_credits,
    confirm_fault,
    reclassify_fault,
    end_fault,
    correct_fault,
    withdraw_fault,
    announce_window,
    list_windows,
    move_window,
    cancel_window,
    close_window,
]
