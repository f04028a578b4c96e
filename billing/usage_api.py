"""HTTP for rate decks, the charges of calls, calls without a price, and quotes."""

from __future__ import annotations

from datetime import date
from typing import Any

from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from billing import charge_reports, quotes, rate_decks
from billing.charge_reports import Wanted
from billing.models import RateDeck
from billing.spreadsheets import CSV_MEDIA_TYPE
from billing.usage import REASONS
from billing.usage_schemas import (
    ChargeSumView,
    ChargeView,
    ContractDeckView,
    DeckChoice,
    DeckUpload,
    QuoteQuestion,
    RateDeckView,
    UnratedCallView,
    UnratedSumView,
    charge_sum_view,
    charge_view,
    contract_deck_view,
    rate_deck_view,
    unrated_call_view,
    unrated_sum_view,
)
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput, MalformedRequest, Refusal

DECKS, CHARGES, QUOTES = ["Rate decks"], ["Charges"], ["Quotes"]


class UnsupportedUpload(Refusal):
    """A deck came as something other than a form with a file or a CSV body."""

    code = "unsupported_media_type"
    status = 415
    title = "This kind of body is not taken here"


def _flag(text: str, field: str) -> bool:
    if text not in ("true", "false", ""):
        raise InvalidInput(f"`{field}` is true or false.", field=field)
    return text == "true"


async def _form_upload(request: Request[Any, Any, Any]) -> tuple[str, bytes, bool]:
    form = await request.form()
    for name in form:
        if name not in ("file", "name", "is_default"):
            raise MalformedRequest(f"The form has no field {name}; it has file, name and is_default.", field=name)
    file = form.get("file")
    if isinstance(file, UploadFile):
        content = await file.read()
    elif isinstance(file, str):
        content = file.encode()
    else:
        raise MalformedRequest("The form lacks the CSV: send it as the part `file`.", field="file")
    return str(form.get("name") or ""), content, _flag(str(form.get("is_default") or "").lower(), "is_default")


@post(
    "/v1/rate-decks",
    permission="rate_decks:write",
    tags=DECKS,
    operation_id="CreateRateDeck",
    operation_class=DeckUpload,
)
async def create_rate_deck(
    request: Request[Any, Any, Any],
    session: NamedDependency[AsyncSession],
    name: FromQuery[str] = "",
    default: FromQuery[bool] = False,
) -> RateDeckView:
    """Upload a rate deck: a form with `file`, `name` and `is_default`, or a `text/csv` body with `?name=&default=`.

    A bad row refuses the whole file, naming line and column. Calls without a price are then tried again.
    """
    kind = request.content_type[0]
    if kind == "multipart/form-data":
        name, content, default = await _form_upload(request)
    elif kind == "text/csv":
        content = await request.body()
    else:
        raise UnsupportedUpload("Send the deck as multipart/form-data or as text/csv.", field="Content-Type")
    return rate_deck_view(await rate_decks.upload(session, name=name, content=content, is_default=default))


@get("/v1/rate-decks", permission="rate_decks:read", tags=DECKS, operation_id="ListRateDecks")
async def list_rate_decks(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[RateDeckView]:
    """Rate decks, newest first; a tenant sees the default one and those of its contracts."""
    query = rate_decks.seen_by(select(RateDeck).options(defer(RateDeck.content, raiseload=True)), principal.tenant_id)
    rows, following = await fetch_page(session, query, keys=(RateDeck.deck_id,), limit=limit, after=after)
    return Page(items=[rate_deck_view(row) for row in rows], next=following)


@get("/v1/rate-decks/{deck_id:str}", permission="rate_decks:read", tags=DECKS, operation_id="GetRateDeck")
async def get_rate_deck(
    deck_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> RateDeckView:
    """One rate deck, without its rows."""
    return rate_deck_view(await rate_decks.get(session, deck_id, tenant_id=principal.tenant_id))


@get(
    "/v1/rate-decks/{deck_id:str}/content",
    permission="rate_decks:read",
    tags=DECKS,
    operation_id="GetRateDeckContent",
    media_type=CSV_MEDIA_TYPE,
)
async def get_rate_deck_content(
    deck_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> Response[bytes]:
    """A rate deck as CSV in UTF-8, row for row as it was uploaded."""
    deck = await rate_decks.get(session, deck_id, with_content=True, tenant_id=principal.tenant_id)
    disposition = f'attachment; filename="{deck.deck_id}.csv"'
    return Response(deck.content, media_type=CSV_MEDIA_TYPE, headers={"content-disposition": disposition})


@post(
    "/v1/contracts/{contract_id:str}/rate-deck",
    permission="rate_decks:write",
    tags=DECKS,
    operation_id="ChooseRateDeck",
    status_code=HTTP_200_OK,
)
async def choose_rate_deck(
    contract_id: FromPath[str], data: JSONBody[DeckChoice], session: NamedDependency[AsyncSession]
) -> ContractDeckView:
    """Give a contract a rate deck of its own, or with null the default one; charged calls keep their charge."""
    return contract_deck_view(await rate_decks.assign(session, contract_id, data.rate_deck_id))


def _month(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidInput("`month` is a month such as 2026-07.", field="month") from None


@get("/v1/charges", permission="call_charges:read", tags=CHARGES, operation_id="ListCharges")
async def list_charges(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    month: FromQuery[str | None] = None,
    leg_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ChargeView]:
    """What calls cost, newest month first. `month` (2026-07) is the month on whose invoice they go."""
    wanted = Wanted(
        tenant_id=principal.tenant_filter(tenant_id), contract_id=contract_id, month=_month(month), leg_id=leg_id
    )
    calls, following = await charge_reports.charge_page(session, wanted, limit=limit, after=after)
    return Page(items=[charge_view(call) for call in calls], next=following)


@get("/v1/charges/summary", permission="charges:read", tags=CHARGES, operation_id="SumCharges")
async def sum_charges(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    month: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ChargeSumView]:
    """Calls, billed seconds and exact amounts per contract and invoiced month."""
    wanted = Wanted(tenant_id=principal.tenant_filter(tenant_id), contract_id=contract_id, month=_month(month))
    sums, following = await charge_reports.charge_sums(session, wanted, limit=limit, after=after)
    return Page(items=[charge_sum_view(total) for total in sums], next=following)


@get("/v1/unrated-calls", permission="call_charges:read", tags=CHARGES, operation_id="ListUnratedCalls")
async def list_unrated_calls(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    reason: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[UnratedCallView]:
    """Calls that bill and have no price yet; they are tried again when a deck or a contract changes."""
    if reason is not None and reason not in REASONS:
        raise InvalidInput(f"A reason is one of {', '.join(REASONS)}.", field="reason")
    wanted = Wanted(tenant_id=principal.tenant_filter(tenant_id), reason=reason)
    calls, following = await charge_reports.unrated_page(session, wanted, limit=limit, after=after)
    return Page(items=[unrated_call_view(call) for call in calls], next=following)


@get("/v1/unrated-calls/summary", permission="charges:read", tags=CHARGES, operation_id="CountUnratedCalls")
async def count_unrated_calls(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[UnratedSumView]:
    """How many calls have no price, per tenant and reason."""
    wanted = Wanted(tenant_id=principal.tenant_filter(tenant_id))
    sums, following = await charge_reports.unrated_sums(session, wanted, limit=limit, after=after)
    return Page(items=[unrated_sum_view(total) for total in sums], next=following)


@post(
    "/v1/quotes",
    permission="quotes:make",
    tags=QUOTES,
    operation_id="MakeQuote",
    operation_class=QuoteQuestion,
    status_code=HTTP_200_OK,
    media_type=MediaType.JSON,
)
async def make_quote(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Work out a contract's invoices from a list of events, with the same code that bills; nothing is stored."""
    return Response(await quotes.answer(await request.body()), media_type=MediaType.JSON)


ROUTES = [
    create_rate_deck,
    list_rate_decks,
    get_rate_deck,
    get_rate_deck_content,
    choose_rate_deck,
    list_charges,
    sum_charges,
    list_unrated_calls,
    count_unrated_calls,
    make_quote,
]
