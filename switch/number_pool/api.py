"""HTTP for the pool of numbers and their history."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput
from switch.errors import NumberUnknown
from switch.number_pool import importing, stock
from switch.number_pool.errors import NumberNotInPool
from switch.number_pool.models import NumberEvent, PooledNumber
from switch.number_pool.schemas import (
    CSV_MEDIA_TYPE,
    NumberEventView,
    NumberImportView,
    NumberUpload,
    PooledNumberView,
    number_event_view,
    number_import_view,
    pooled_number_view,
)
from switch.phone_numbers import as_number

TAGS = ["Phone numbers"]
READ, WRITE = "number_pool:read", "number_pool:write"

State = Annotated[str | None, QueryParameter(name="state", description="`free`, `assigned` or `quarantined`")]


@post(
    "/v1/number-pool/imports",
    permission=WRITE,
    tags=TAGS,
    operation_id="ImportNumbers",
    operation_class=NumberUpload,
    status_code=HTTP_200_OK,
)
async def import_numbers(
    request: Request[Any, Any, Any], session: NamedDependency[AsyncSession], dry_run: FromQuery[bool] = False
) -> NumberImportView:
    """Add numbers to the pool: a CSV body (UTF-8 or GBK) with the column `number`, and `country` and `label` if wanted.

    A number may be spelt in any usual way; `country` says whose national spelling it is. With `?dry_run=true` nothing
    is changed. At most 10,000 rows; every one is answered with its outcome, and one that cannot be used stops no other.
    """
    if request.content_type[0] != CSV_MEDIA_TYPE:
        raise InvalidInput(f"Send the numbers as {CSV_MEDIA_TYPE}.", field="Content-Type")
    rows = await importing.import_numbers(session, await request.body(), is_dry_run=dry_run)
    return number_import_view(rows, is_dry_run=dry_run)


@get("/v1/number-pool", permission=READ, tags=TAGS, operation_id="ListPooledNumbers")
async def list_pooled_numbers(
    *,
    session: NamedDependency[AsyncSession],
    number_state: State = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PooledNumberView]:
    """The operator's numbers, in falling order."""
    query = select(PooledNumber)
    if number_state is not None:
        if number_state not in stock.STATES:
            raise InvalidInput(f"A state is {', '.join(stock.STATES)}.", field="state")
        query = query.where(PooledNumber.state == number_state)
    rows, following = await fetch_page(session, query, keys=(PooledNumber.number,), limit=limit, after=after)
    return Page(items=[pooled_number_view(row) for row in rows], next=following)


@get("/v1/number-pool/{number:str}", permission=READ, tags=TAGS, operation_id="GetPooledNumber")
async def get_pooled_number(number: FromPath[str], session: NamedDependency[AsyncSession]) -> PooledNumberView:
    """One number of the pool."""
    row = await stock.find(session, as_number(number))
    if row is None:
        raise NumberNotInPool(f"{number[:40]} is not in the pool.", field="number")
    return pooled_number_view(row)


@post(
    "/v1/number-pool/{number:str}/end-quarantine",
    permission=WRITE,
    tags=TAGS,
    operation_id="EndNumberQuarantine",
    status_code=HTTP_200_OK,
)
async def end_quarantine(number: FromPath[str], session: NamedDependency[AsyncSession]) -> PooledNumberView:
    """Make a released number free before its quarantine is over; a free one stays free."""
    return pooled_number_view(await stock.free_early(session, as_number(number)))


@delete("/v1/number-pool/{number:str}", permission=WRITE, tags=TAGS, operation_id="RemovePooledNumber")
async def remove_pooled_number(number: FromPath[str], session: NamedDependency[AsyncSession]) -> None:
    """Take a number that nobody has out of the pool; its history stays."""
    await stock.remove(session, as_number(number))


@get(
    "/v1/phone-numbers/{number:str}/history",
    permission="numbers:read",
    tags=TAGS,
    operation_id="ListHistoryOfPhoneNumber",
)
async def list_history(
    *,
    number: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[NumberEventView]:
    """What happened to a number, newest first; a tenant sees what it had to do with it itself."""
    digits = as_number(number)
    query = principal.narrowed(select(NumberEvent), NumberEvent.tenant_id, None).where(NumberEvent.number == digits)
    rows, following = await fetch_page(session, query, keys=(NumberEvent.event_id,), limit=limit, after=after)
    if not rows and after is None:
        raise NumberUnknown(f"Nothing is known of +{digits}.", field="number")
    return Page(items=[number_event_view(row) for row in rows], next=following)


ROUTES = [
    import_numbers,
    list_pooled_numbers,
    get_pooled_number,
    end_quarantine,
    remove_pooled_number,
    list_history,
]
