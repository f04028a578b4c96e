"""HTTP for calls, and for the call records that were set aside."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from switch import call_privacy, calls, record_retry, set_aside_records
from switch.call_schemas import (
    CallView,
    ClockCorrection,
    CorrectedView,
    Dismissal,
    Retry,
    SetAsidePage,
    SetAsideRecordView,
    StrayCallView,
    call_view,
    corrected_view,
    set_aside_record_view,
    stray_call_view,
)
from switch.calls import CallFilter
from switch.models import StrayCall

TAGS = ["Calls"]

From = Annotated[
    str | None, QueryParameter(name="from", format="date-time", description="Begun at this RFC 3339 time or later")
]
To = Annotated[str | None, QueryParameter(name="to", format="date-time", description="Begun before this RFC 3339 time")]

Refused = Annotated[
    bool | None, QueryParameter(description="true: only calls that were refused, each with its reason; false: the rest")
]


@get("/v1/calls", permission="calls:read", tags=TAGS, operation_id="ListCalls")
async def list_calls(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    seat_id: FromQuery[str | None] = None,
    direction: FromQuery[str | None] = None,
    refused: Refused = None,
    begins_from: From = None,
    begins_before: To = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[CallView]:
    """Call legs, the latest begun first. What a call costs stands with the billing objects."""
    wanted = CallFilter(
        tenant_id=principal.tenant_filter(tenant_id),
        seat_id=seat_id,
        direction=direction,
        refused=refused,
        begins_from=calls.read_time("from", begins_from),
        begins_before=calls.read_time("to", begins_before),
    )
    rows, following = await calls.list_calls(session, wanted, limit=limit, after=after)
    return Page(items=[call_view(row) for row in rows], next=following)


@get("/v1/calls/{leg_id:str}", permission="calls:read", tags=TAGS, operation_id="GetCall")
async def get_call(
    leg_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
) -> CallView:
    """One call leg by FreeSWITCH's uuid; an operator who names its tenant gets it sooner."""
    return call_view(await calls.get_call(session, leg_id, principal.tenant_filter(tenant_id)))


@get("/v1/set-aside-records", permission="set_aside_records:read", tags=TAGS, operation_id="ListSetAsideRecords")
async def list_set_aside_records(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    resolved: FromQuery[bool] = False,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> SetAsidePage:
    """Call records that could not be stored, newest first: those that wait, or with `resolved` those that were
    stored later or put away. An operator's person sees who called whom of tenants that it visits."""
    rows, following = await set_aside_records.list_records(session, is_resolved=resolved, limit=limit, after=after)
    sight = await call_privacy.sight_of(session, principal)
    return SetAsidePage(
        items=[set_aside_record_view(row, sight) for row in rows],
        next=following,
        unresolved=await set_aside_records.count_set_aside(session),
    )


@post(
    "/v1/set-aside-records/{record_id:str}/retry",
    permission="set_aside_records:write",
    tags=TAGS,
    operation_id="RetrySetAsideRecord",
    status_code=HTTP_200_OK,
)
async def retry_set_aside_record(
    record_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    data: JSONBody[Retry | None] = None,
) -> SetAsideRecordView:
    """Try once more to store a record, for example once its tenant exists, or, of one from the future, with its times
    put right; 409 says why it still cannot be."""
    wanted = Retry() if data is None else data
    correction = record_retry.correction(wanted.clock_ahead_seconds, wanted.reason)
    retried = await record_retry.retry(session, record_id, correction)
    return set_aside_record_view(retried, await call_privacy.sight_of(session, principal))


@post(
    "/v1/set-aside-records/clock-corrections",
    permission="set_aside_records:write",
    tags=TAGS,
    operation_id="CorrectSetAsideRecords",
    status_code=HTTP_200_OK,
)
async def correct_set_aside_records(
    data: JSONBody[ClockCorrection], session: NamedDependency[AsyncSession]
) -> CorrectedView:
    """Store the records of a node that came from the future, with their times put right: at most 1,000 at once, and
    those that are done are not met again."""
    corrected = await record_retry.correct_clock(
        session,
        data.node,
        record_retry.ClockCorrection(data.clock_ahead_seconds, data.reason),
        received_from=data.received_from,
        received_until=data.received_until,
        after=data.after,
    )
    return corrected_view(corrected)


@post(
    "/v1/set-aside-records/{record_id:str}/dismissal",
    permission="set_aside_records:write",
    tags=TAGS,
    operation_id="DismissSetAsideRecord",
    status_code=HTTP_200_OK,
)
async def dismiss_set_aside_record(
    record_id: FromPath[str],
    data: JSONBody[Dismissal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SetAsideRecordView:
    """Put a record away that is no call of anybody's, for a reason: it waits no longer, and is never stored."""
    dismissed = await set_aside_records.dismiss(session, record_id, data.reason)
    return set_aside_record_view(dismissed, await call_privacy.sight_of(session, principal))


@get("/v1/stray-calls", permission="set_aside_records:read", tags=TAGS, operation_id="ListStrayCalls")
async def list_stray_calls(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    node: FromQuery[str | None] = None,
    reason: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[StrayCallView]:
    """Calls that were refused before they were any tenant's, such as to numbers that nobody has: how many, by node,
    hour, reason and number; the latest first seen come first."""
    query = select(StrayCall)
    if node is not None:
        query = query.where(StrayCall.node == node)
    if reason is not None:
        query = query.where(StrayCall.reason == reason)
    rows, following = await fetch_page(session, query, keys=(StrayCall.stray_id,), limit=limit, after=after)
    sight = await call_privacy.sight_of(session, principal)
    return Page(items=[stray_call_view(row, sight) for row in rows], next=following)


ROUTES = [
    list_calls,
    get_call,
    list_set_aside_records,
    retry_set_aside_record,
    correct_set_aside_records,
    dismiss_set_aside_record,
    list_stray_calls,
]
