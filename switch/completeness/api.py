"""HTTP for completeness: hours counted, calls missing, hours signed off."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.clock import LOCAL_ZONE
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, check_limit, decode_cursor, encode_cursor
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput
from switch import call_privacy
from switch.calls import read_time
from switch.completeness import missing, reconciling
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


@get("/v1/completeness", permission="completeness:read", tags=TAGS, operation_id="ListCountedHours")
async def list_counted_hours(
    *,
    session: NamedDependency[AsyncSession],
    node: FromQuery[str | None] = None,
    begins_from: From = None,
    begins_before: To = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[HourView]:
    """Per node and hour: legs begun, and call records that came, were set aside, or are missing; the latest first.

    Counted once a minute; an hour in which a node began nothing is not listed.
    """
    check_limit(limit)
    rows = await reconciling.list_hours(
        session,
        node=node,
        begins_from=read_time("from", begins_from),
        begins_before=read_time("to", begins_before),
        limit=limit + 1,
        after=_position(after),
    )
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = encode_cursor((last.begins_at.isoformat(), last.node))
    return Page(items=[hour_view(row) for row in rows[:limit]], next=following)


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
    """Let the month close although records of a node's hour (local, 2026-07-01T09) are missing; say why.

    Should more turn out to be missing, it has to be signed again.
    """
    return hour_view(await reconciling.sign_off(session, node, read_hour(hour), data.reason))


def read_hour(text: str) -> datetime:
    """The beginning of a local hour such as 2026-07-01T09. Raises `InvalidInput` naming `hour`."""
    try:
        moment = datetime.strptime(text, HOUR_FORMAT).replace(tzinfo=LOCAL_ZONE).astimezone(UTC)
        if moment.astimezone(LOCAL_ZONE).strftime(HOUR_FORMAT) == text:
            return moment
    except (ValueError, OverflowError):
        moment = None
    raise InvalidInput("`hour` is a local hour such as 2026-07-01T09.", field="hour")


def _position(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    hour, node = decode_cursor(after, 2)
    moment = read_time("after", hour)
    return None if moment is None else (moment, node)


ROUTES = [list_counted_hours, list_missing_calls, sign_off_hour]
