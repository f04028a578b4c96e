"""HTTP for hand-outs: made and watched under /v1, opened by whoever holds a link under /hand-outs."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Database, Scope, enter_scope
from infra.kit.http import DEFAULT_PAGE, PUBLIC, After, Limit
from infra.kit.languages import Language
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from provisioning import seats
from provisioning.handout import fetching, links, making, pages
from provisioning.handout.contents import HandOutContent
from provisioning.handout.errors import HandOutGone, NotASoftphone
from provisioning.handout.making import Wish
from provisioning.handout.models import HandOut
from provisioning.handout.schemas import HandOutMade, HandOutView, NewHandOut, hand_out_made, hand_out_view

TAGS = ["Hand-outs"]
NOT_STORED = [ResponseHeader(name="cache-control", value="no-store")]
SOFTPHONE_HEADER = "x-linphone-provisioning"
"""Linphone sends it; a camera or a chat program that opens the link does not, and so uses nothing up."""

DESK_PHONE_FILE = re.compile(r"(?:y[0-9]{12}|[0-9a-fA-F]{12})\.cfg")
"""The names under which a Yealink phone asks: its model's (`y0000000000xx.cfg`) or its own hardware address."""


@post(
    "/v1/seats/{seat_id:str}/hand-outs",
    permission="seats:write",
    tags=TAGS,
    operation_id="MakeHandOut",
    response_headers=NOT_STORED,
)
async def make_hand_out(
    *,
    seat_id: FromPath[str],
    data: JSONBody[NewHandOut],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
    seal: NamedDependency[Seal],
) -> HandOutMade:
    """Make what a seat's user needs, with a new password, behind a link that shows it once, and mail the link to the
    seat's person if wished. The old password and the links of earlier hand-outs end."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await enter_scope(session, Scope.platform())  # see `making.make`; the caller's right to the seat is checked above
    wish = Wish(
        language=data.language,
        valid_hours=data.valid_hours,
        public_url=settings.public_url,
        mail_seal=seal if data.mail else None,
    )
    made = await making.make(session, seat, wish)
    return hand_out_made(made, (await making.links_of(session, [made.hand_out]))[made.hand_out.hand_out_id])


@get("/v1/hand-outs", permission="seats:read", tags=TAGS, operation_id="ListHandOuts")
async def list_hand_outs(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    seat_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[HandOutView]:
    """Hand-outs, newest first, with what became of their links."""
    query = principal.narrowed(select(HandOut), HandOut.tenant_id, tenant_id)
    if seat_id is not None:
        query = query.where(HandOut.seat_id == seat_id)
    rows, following = await fetch_page(session, query, keys=(HandOut.hand_out_id,), limit=limit, after=after)
    of_each = await making.links_of(session, rows)
    return Page(items=[hand_out_view(row, of_each[row.hand_out_id]) for row in rows], next=following)


@get("/v1/hand-outs/{hand_out_id:str}", permission="seats:read", tags=TAGS, operation_id="GetHandOut")
async def get_hand_out(
    hand_out_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> HandOutView:
    """One hand-out with what became of its links."""
    return await _view(session, await making.find(session, hand_out_id, principal.tenant_id))


@post(
    "/v1/hand-outs/{hand_out_id:str}/withdrawal",
    permission="seats:write",
    tags=TAGS,
    operation_id="WithdrawHandOut",
    status_code=HTTP_200_OK,
)
async def withdraw_hand_out(
    hand_out_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> HandOutView:
    """Erase what nobody has opened yet, such as a link that went to the wrong person."""
    hand_out = await making.find(session, hand_out_id, principal.tenant_id)
    await making.withdraw(session, hand_out)
    return await _view(session, hand_out)


@get("/hand-outs/{language:str}", permission=PUBLIC, include_in_schema=False)
async def before_opening(language: FromPath[str]) -> Response[str]:
    """The page behind a link before it is opened; the secret stays in the reader's browser."""
    spoken = _language(language)
    return _html(pages.opening(spoken, f"{links.PATH}/{spoken}"))


@post("/hand-outs/{language:str}", permission=PUBLIC, include_in_schema=False, status_code=HTTP_200_OK)
async def open_page(
    language: FromPath[str], request: Request[Any, Any, Any], database: NamedDependency[Database]
) -> Response[str]:
    """The hand-out, this once. Its content is erased before the answer is sent."""
    secret = (await request.form()).get("secret")
    try:
        async with database.transaction(Scope.platform()) as session:
            content = await fetching.fetch(session, "page", secret if isinstance(secret, str) else "")
            # Drawn before the commit that erases the content: a page that cannot be drawn uses nothing up.
            page = pages.shown(msgspec.msgpack.decode(content, type=HandOutContent))
    except HandOutGone as refusal:
        return _html(pages.gone(_language(language)), int(refusal.status))
    return _html(page)


@get("/hand-outs/softphone/{secret:str}", permission=PUBLIC, include_in_schema=False)
async def open_softphone(
    secret: FromPath[str], request: Request[Any, Any, Any], database: NamedDependency[Database]
) -> Response[bytes]:
    """What the QR code for Linphone leads to, once."""
    if request.headers.get(SOFTPHONE_HEADER) is None:
        raise NotASoftphone("Scan the code inside the softphone, not with the camera; nothing was used up.")
    async with database.transaction(Scope.platform()) as session:
        content = await fetching.fetch(session, "softphone", secret)
    return Response(content, media_type=MediaType.XML, headers=pages.PRIVATE)


@get("/hand-outs/desk-phone/{secret:str}/{file_name:str}", permission=PUBLIC, include_in_schema=False)
async def open_desk_phone(
    secret: FromPath[str], file_name: FromPath[str], database: NamedDependency[Database]
) -> Response[bytes]:
    """The file of a desk phone, once, under whichever of its names the phone asks first. Names of other files that it
    tries before (`.boot`) use nothing up."""
    if DESK_PHONE_FILE.fullmatch(file_name) is None:
        raise HandOutGone(f"There is no file {file_name[:40]!r} for a desk phone here.", field="file_name")
    async with database.transaction(Scope.platform()) as session:
        content = await fetching.fetch(session, "desk_phone", secret)
    return Response(content, media_type=MediaType.TEXT, headers=pages.PRIVATE)


async def _view(session: AsyncSession, hand_out: HandOut) -> HandOutView:
    return hand_out_view(hand_out, (await making.links_of(session, [hand_out]))[hand_out.hand_out_id])


def _language(text: str) -> Language:
    return "en" if text == "en" else "zh"


def _html(page: pages.Page, status: int = HTTP_200_OK) -> Response[str]:
    return Response(page.html, status_code=status, media_type=MediaType.HTML, headers=page.headers)


ROUTES = [
    make_hand_out,
    list_hand_outs,
    get_hand_out,
    withdraw_hand_out,
    before_opening,
    open_page,
    open_softphone,
    open_desk_phone,
]
