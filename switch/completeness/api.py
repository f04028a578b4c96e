"""HTTP for completeness: hours counted, calls missing, hours signed off."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.clock import LOCAL_ZONE, local_midnight
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page
from infra.kit.partitions import month_after
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput
from switch import call_privacy
from switch.calls import read_time
from switch.completeness import listing, missing, signing
from switch.completeness.hours import STATES
from switch.completeness.listing import HourFilter
from switch.completeness.schemas import (
    HOUR_FORMAT,
    HourView,
    MissingCallView,
    SignOff,
    hour_view,
    missing_call_view,
)

TAGS = ["Completeness"]

From = Annotated[
    str | None, QueryParameter(name="from", format="date-time", description="Hours that begin at this time or later")
]
To = Annotated[
    str | None, QueryParameter(name="to", format="date-time", description="Hours that begin before this time")
]
HourState = Annotated[str | None, QueryParameter(name="state", description=f"One of {', '.join(STATES)}")]
InMonth = Annotated[
    str | None, QueryParameter(name="month", description="Hours that begin in this local month, such as 2026-07")
]


@get("/v1/completeness", permission="completeness:read", tags=TAGS, operation_id="ListCountedHours")
async def list_counted_hours(
    *,
    session: NamedDependency[AsyncSession],
    node: FromQuery[str | None] = None,
    hour_state: HourState = None,
    month: InMonth = None,
    begins_from: From = None,
    begins_before: To = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[HourView]:
    """Per node and hour: legs begun, and call records that came, were set aside, or are missing; the latest first.

    Counted once a minute, after two days four times an hour. An hour in which a node began nothing is not listed,
    except one that nobody counted to the month's end (`uncounted`). A month also waits for later hours whose calls may
    have begun in it (`observed_from`).
    """
    first, end = (None, None) if month is None else read_month(month)
    starts = [moment for moment in (first, read_time("from", begins_from)) if moment is not None]
    ends = [moment for moment in (end, read_time("to", begins_before)) if moment is not None]
    wanted = HourFilter(
        node=node, state=hour_state, begins_from=max(starts, default=None), begins_before=min(ends, default=None)
    )
    rows, following = await listing.list_hours(session, wanted, limit=limit, after=after)
    return Page(items=[hour_view(row) for row in rows], next=following)


@get("/v1/missing-calls", permission="completeness:read", tags=TAGS, operation_id="ListMissingCalls")
async def list_missing_calls(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    node: FromQuery[str | None] = None,
    tenant_id: FromQuery[str | None] = None,
    begins_from: From = None,
    begins_before: To = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[MissingCallView]:
    """The legs of incomplete hours whose call record has not come, with what was seen of them; the latest first. An
    operator's person sees whole numbers of tenants that it visits."""
    rows, following = await missing.list_missing(
        session,
        node=node,
        tenant_id=tenant_id,
        begins_from=read_time("from", begins_from),
        begins_before=read_time("to", begins_before),
        limit=limit,
        after=after,
    )
    sight = await call_privacy.sight_of(session, principal)
    return Page(items=[missing_call_view(row, sight) for row in rows], next=following)


@post(
    "/v1/completeness/{node:str}/{hour:str}/sign-off",
    permission="completeness:sign_off",
    tags=TAGS,
    operation_id="SignOffHour",
    status_code=HTTP_200_OK,
)
async def sign_off_hour(
    node: FromPath[str], hour: FromPath[str], data: JSONBody[SignOff], session: NamedDependency[AsyncSession]
) -> HourView:
    """Let the month close although records of a node's hour (local, 2026-07-01T09) are missing, or nobody counted it
    to its end; say why.

    It covers the calls that are missing now; should others turn out to be, it has to be signed again.
    """
    return hour_view(await signing.sign_off(session, node, read_hour(hour), data.reason))


def read_hour(text: str) -> datetime:
    """The beginning of a local hour such as 2026-07-01T09. Raises `InvalidInput` naming `hour`."""
    try:
        moment = datetime.strptime(text, HOUR_FORMAT).replace(tzinfo=LOCAL_ZONE).astimezone(UTC)
        if moment.astimezone(LOCAL_ZONE).strftime(HOUR_FORMAT) == text:
            return moment
    except (ValueError, OverflowError):
        moment = None
    raise InvalidInput("`hour` is a local hour such as 2026-07-01T09.", field="hour")


def read_month(text: str) -> tuple[datetime, datetime]:
    """When a local month such as 2026-07 begins and ends. Raises `InvalidInput` naming `month`."""
    try:
        first = date.fromisoformat(f"{text}-01")
        if f"{first:%Y-%m}" == text:
            return local_midnight(first), local_midnight(month_after(first))
    except (ValueError, OverflowError):
        first = None
    raise InvalidInput("`month` is a local month such as 2026-07.", field="month")


ROUTES = [list_counted_hours, list_missing_calls, sign_off_hour]
