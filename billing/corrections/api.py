"""HTTP for what puts invoices right: credit notes, re-ratings, write-offs."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import charge_reports, contracts, invoices
from billing.api import read_month
from billing.charge_reports import Keys
from billing.corrections import credit_notes, re_ratings, write_offs
from billing.corrections.models import ReRatedCall, ReRating
from billing.corrections.schemas import (
    NewCreditNote,
    NewReRating,
    ReRatedCallView,
    ReRatingView,
    WriteOffRequest,
    WriteOffReversal,
    WriteOffView,
    re_rated_call_view,
    re_rating_view,
    write_off_view,
)
from billing.ledger_models import WriteOff
from billing.schemas import InvoiceDetails, invoice_details
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput
from switch import call_privacy
from switch.models import CallRecord

INVOICES, RE_RATINGS, WRITE_OFFS = ["Invoices"], ["Re-ratings"], ["Write-offs"]
ReRatingState = Annotated[
    str | None, QueryParameter(name="state", description="`computing`, `computed`, `settled` or `cancelled`")
]


@post(
    "/v1/invoices/{invoice_id:str}/credit-notes",
    permission="invoices:write",
    tags=INVOICES,
    operation_id="CreateCreditNote",
)
async def create_credit_note(
    invoice_id: FromPath[str],
    data: JSONBody[NewCreditNote],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> InvoiceDetails:
    """Credit parts of an invoice, or the whole of it but its deposits; it is used for that invoice first."""
    if data.whole is (data.lines is not None):
        raise InvalidInput("Name either `lines`, or `whole`: true.", field="lines")
    found = await invoices.find(session, invoice_id, principal.tenant_id)
    lines = None if data.lines is None else [(line.line_number, line.amount) for line in data.lines]
    note = await credit_notes.create(
        session, tenant_id=found.tenant_id, invoice_id=invoice_id, lines=lines, reason=data.reason
    )
    return invoice_details(note, await invoices.lines_of(session, note), ())


@post(
    "/v1/contracts/{contract_id:str}/re-ratings",
    permission="re_ratings:write",
    tags=RE_RATINGS,
    operation_id="RequestReRating",
)
async def request_re_rating(
    contract_id: FromPath[str],
    data: JSONBody[NewReRating],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> ReRatingView:
    """Have the calls of a past month priced again; the difference is shown, and nothing is changed."""
    contract = await contracts.find_contract(session, contract_id, principal.tenant_id)
    re_rating = await re_ratings.request(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        month=read_month(data.month),
        deck_id=data.rate_deck_id,
        reason=data.reason,
    )
    return re_rating_view(re_rating)


@get("/v1/re-ratings", permission="re_ratings:read", tags=RE_RATINGS, operation_id="ListReRatings")
async def list_re_ratings(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    re_rating_state: ReRatingState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ReRatingView]:
    """Re-ratings, newest first; settled and cancelled ones too."""
    query = re_ratings.wanted(contract_id=contract_id, state=re_rating_state)
    query = principal.narrowed(query, ReRating.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(ReRating.re_rating_id,), limit=limit, after=after)
    return Page(items=[re_rating_view(row) for row in rows], next=following)


@get(
    "/v1/re-ratings/{re_rating_id:str}",
    permission="re_ratings:read",
    tags=RE_RATINGS,
    operation_id="GetReRating",
)
async def get_re_rating(
    re_rating_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ReRatingView:
    """One re-rating with what it comes to so far."""
    return re_rating_view(await re_ratings.find(session, re_rating_id, principal.tenant_id))


@get(
    "/v1/re-ratings/{re_rating_id:str}/calls",
    permission="re_ratings:read",
    tags=RE_RATINGS,
    operation_id="ListReRatedCalls",
)
async def list_re_rated_calls(
    *,
    re_rating_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ReRatedCallView]:
    """The calls that a re-rating changes, each with its old and new price; calls that stay as they are have no row. An
    operator's person sees whole numbers while it visits the tenant."""
    re_rating = await re_ratings.find(session, re_rating_id, principal.tenant_id)
    keys: Keys = (ReRatedCall.month, ReRatedCall.leg_id)
    of_same_leg = and_(
        CallRecord.tenant_id == ReRatedCall.tenant_id,
        CallRecord.month == ReRatedCall.month,
        CallRecord.leg_id == ReRatedCall.leg_id,
    )
    query = (
        select(*keys, ReRatedCall, CallRecord.destination, CallRecord.answered_at)
        .outerjoin(CallRecord, of_same_leg)
        .where(ReRatedCall.tenant_id == re_rating.tenant_id, ReRatedCall.re_rating_id == re_rating_id)
    )
    rows, following = await charge_reports.keyed_page(session, query, keys, limit=limit, after=after)
    sight = await call_privacy.sight_of(session, principal)
    return Page(items=[re_rated_call_view(*row[len(keys) :], sight=sight) for row in rows], next=following)


@post(
    "/v1/re-ratings/{re_rating_id:str}/settle",
    permission="re_ratings:write",
    tags=RE_RATINGS,
    operation_id="SettleReRating",
    status_code=HTTP_200_OK,
)
async def settle_re_rating(
    re_rating_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ReRatingView:
    """Give the calls their new prices: less is credited on the month's invoice, more goes on the next one."""
    found = await re_ratings.find(session, re_rating_id, principal.tenant_id)
    return re_rating_view(await re_ratings.settle(session, tenant_id=found.tenant_id, re_rating_id=re_rating_id))


@post(
    "/v1/re-ratings/{re_rating_id:str}/cancellation",
    permission="re_ratings:write",
    tags=RE_RATINGS,
    operation_id="CancelReRating",
    status_code=HTTP_200_OK,
)
async def cancel_re_rating(
    re_rating_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ReRatingView:
    """Leave everything as it is; possible until it is settled."""
    found = await re_ratings.find(session, re_rating_id, principal.tenant_id)
    return re_rating_view(await re_ratings.cancel(session, tenant_id=found.tenant_id, re_rating_id=re_rating_id))


@post(
    "/v1/invoices/{invoice_id:str}/write-off",
    permission="write_offs:write",
    tags=WRITE_OFFS,
    operation_id="WriteOffInvoice",
)
async def write_off_invoice(
    invoice_id: FromPath[str],
    data: JSONBody[WriteOffRequest],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> WriteOffView:
    """Give up all that is open of a monthly or final invoice; the caller is kept as who decided it."""
    found = await invoices.find(session, invoice_id, principal.tenant_id)
    given_up = await write_offs.write_off(session, tenant_id=found.tenant_id, invoice_id=invoice_id, reason=data.reason)
    return write_off_view(given_up)


@get("/v1/write-offs", permission="write_offs:read", tags=WRITE_OFFS, operation_id="ListWriteOffs")
async def list_write_offs(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[WriteOffView]:
    """Write-offs, newest first; reversed ones too."""
    query = principal.narrowed(select(WriteOff), WriteOff.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(WriteOff.write_off_id,), limit=limit, after=after)
    return Page(items=[write_off_view(row) for row in rows], next=following)


@get(
    "/v1/write-offs/{write_off_id:str}",
    permission="write_offs:read",
    tags=WRITE_OFFS,
    operation_id="GetWriteOff",
)
async def get_write_off(
    write_off_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> WriteOffView:
    """One write-off."""
    return write_off_view(await write_offs.find(session, write_off_id, principal.tenant_id))


@post(
    "/v1/write-offs/{write_off_id:str}/reversal",
    permission="write_offs:write",
    tags=WRITE_OFFS,
    operation_id="ReverseWriteOff",
    status_code=HTTP_200_OK,
)
async def reverse_write_off(
    write_off_id: FromPath[str],
    data: JSONBody[WriteOffReversal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> WriteOffView:
    """Ask for the money again: the invoice is open as before."""
    found = await write_offs.find(session, write_off_id, principal.tenant_id)
    given_up = await write_offs.reverse(
        session, tenant_id=found.tenant_id, write_off_id=write_off_id, reason=data.reason
    )
    return write_off_view(given_up)


ROUTES = [
    create_credit_note,
    request_re_rating,
    list_re_ratings,
    get_re_rating,
    list_re_rated_calls,
    settle_re_rating,
    cancel_re_rating,
    write_off_invoice,
    list_write_offs,
    get_write_off,
    reverse_write_off,
]
