"""HTTP for seat orders and seats."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Scope, enter_scope
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden
from provisioning import order_moves, orders, price_preview, seats
from provisioning.models import Seat, SeatOrder
from provisioning.orders import OrderRequest
from provisioning.rules.seat_states import SeatState
from provisioning.schemas import (
    Cancellation,
    CredentialsView,
    NewSeatOrder,
    OrderMove,
    OrderPreviewView,
    Reissue,
    SeatDetail,
    SeatName,
    SeatOrderDetail,
    SeatOrderView,
    SeatView,
    credentials_view,
    order_preview_view,
    seat_detail,
    seat_order_detail,
    seat_order_view,
    seat_view,
)

InState = Annotated[SeatState | None, QueryParameter(name="state", description="Only those in this state")]
"""Named otherwise in the code, because the framework keeps `state` for itself."""

WAIVE_NOTICE = "seat_orders:waive_notice"
ORDER_TAGS = ["Seat orders"]
SEAT_TAGS = ["Seats"]
NOT_STORED = [ResponseHeader(name="cache-control", value="no-store")]


@post("/v1/seat-orders", permission="seat_orders:write", tags=ORDER_TAGS, operation_id="PlaceSeatOrder")
async def place_order(
    data: JSONBody[NewSeatOrder], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> SeatOrderDetail:
    """Order seats or circuits, or their return. What is added opens when it is paid and its day has come; what is
    returned closes at the end of `effective_on`."""
    tenant_id, request = principal.tenant_for(data.tenant_id), _request(data, principal)
    await _as_platform(session)
    return await _detail(session, await orders.place_order(session, tenant_id=tenant_id, request=request))


@post(
    "/v1/seat-orders/preview",
    permission="seat_orders:write",
    tags=ORDER_TAGS,
    operation_id="PreviewSeatOrder",
    status_code=HTTP_200_OK,
)
async def preview_order(
    data: JSONBody[NewSeatOrder], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> OrderPreviewView:
    """What an order would cost, or its return give back: the very invoice that would be made. Nothing is written; what
    would refuse the order refuses its preview."""
    tenant_id, request = principal.tenant_for(data.tenant_id), _request(data, principal)
    await _as_platform(session)
    return order_preview_view(await price_preview.preview(session, tenant_id=tenant_id, request=request))


@get("/v1/seat-orders", permission="seat_orders:read", tags=ORDER_TAGS, operation_id="ListSeatOrders")
async def list_orders(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[SeatOrderView]:
    """Seat orders, newest first."""
    query = select(SeatOrder)
    query = principal.narrowed(query, SeatOrder.tenant_id, tenant_id)
    if contract_id is not None:
        query = query.where(SeatOrder.contract_id == contract_id)
    rows, following = await fetch_page(session, query, keys=(SeatOrder.order_id,), limit=limit, after=after)
    invoice_ids = await orders.invoice_ids(session, rows)
    items = [seat_order_view(row, invoice_ids.get(row.order_id)) for row in rows]
    return Page(items=items, next=following)


@get("/v1/seat-orders/{order_id:str}", permission="seat_orders:read", tags=ORDER_TAGS, operation_id="GetSeatOrder")
async def get_order(
    order_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> SeatOrderDetail:
    """One seat order with its seats."""
    return await _detail(session, await orders.get_order(session, order_id, principal.tenant_id))


@post(
    "/v1/seat-orders/{order_id:str}/cancellation",
    permission="seat_orders:write",
    tags=ORDER_TAGS,
    operation_id="CancelSeatOrder",
    status_code=HTTP_200_OK,
)
async def cancel_order(
    order_id: FromPath[str],
    data: JSONBody[Cancellation],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SeatOrderDetail:
    """Cancel an addition that has not taken effect; its invoice is voided, what was paid becomes credit."""
    await orders.get_order(session, order_id, principal.tenant_id)
    await _as_platform(session)
    order = await orders.cancel_order(session, order_id=order_id, tenant_id=principal.tenant_id, reason=data.reason)
    return await _detail(session, order)


@post(
    "/v1/seat-orders/{order_id:str}/move",
    permission="seat_orders:write",
    tags=ORDER_TAGS,
    operation_id="MoveSeatOrder",
    status_code=HTTP_200_OK,
)
async def move_order(
    order_id: FromPath[str],
    data: JSONBody[OrderMove],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SeatOrderDetail:
    """Move an unpaid addition or opening to another day; its invoice is voided and issued again for that day. What
    opens with a contract moves as a whole, and the contract's first day with it."""
    waiver = waived_by(principal, waive=data.waive_notice)
    await orders.get_order(session, order_id, principal.tenant_id)
    await _as_platform(session)
    order = await order_moves.move_order(
        session,
        order_id=order_id,
        tenant_id=principal.tenant_id,
        effective_on=data.effective_on,
        waived_by=waiver,
    )
    return await _detail(session, order)


@post(
    "/v1/seat-orders/{order_id:str}/move/preview",
    permission="seat_orders:write",
    tags=ORDER_TAGS,
    operation_id="PreviewSeatOrderMove",
    status_code=HTTP_200_OK,
)
async def preview_move(
    order_id: FromPath[str],
    data: JSONBody[OrderMove],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> OrderPreviewView:
    """What an unpaid order would cost on another day. Nothing is written; what would refuse the move refuses this."""
    waiver = waived_by(principal, waive=data.waive_notice)
    await orders.get_order(session, order_id, principal.tenant_id)
    await _as_platform(session)
    found = await order_moves.preview_move(
        session,
        order_id=order_id,
        tenant_id=principal.tenant_id,
        effective_on=data.effective_on,
        waived_by=waiver,
    )
    return order_preview_view(found)


@get("/v1/seats", permission="seats:read", tags=SEAT_TAGS, operation_id="ListSeats")
async def list_seats(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    in_state: InState = None,
    item: FromQuery[Literal["seat", "circuit"] | None] = None,
    group: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[SeatView]:
    """Seats and circuits, newest first."""
    query = select(Seat)
    filters = (
        (Seat.tenant_id, principal.tenant_filter(tenant_id)),
        (Seat.contract_id, contract_id),
        (Seat.state, in_state),
        (Seat.item, item),
        (Seat.group_name, group),
    )
    for column, wanted in filters:
        if wanted is not None:
            query = query.where(column == wanted)
    rows, following = await fetch_page(session, query, keys=(Seat.seat_id,), limit=limit, after=after)
    return Page(items=[seat_view(row) for row in rows], next=following)


@get("/v1/seats/{seat_id:str}", permission="seats:read", tags=SEAT_TAGS, operation_id="GetSeat")
async def get_seat(
    seat_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> SeatDetail:
    """One seat, and where its phone registers."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id)
    return seat_detail(seat, await seats.sip_facts(session, seat))


@post(
    "/v1/seats/{seat_id:str}/credentials",
    permission="seats:write",
    tags=SEAT_TAGS,
    operation_id="ReissueSeatCredentials",
    status_code=HTTP_200_OK,
    response_headers=NOT_STORED,
)
async def reissue_credentials(
    seat_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    data: JSONBody[Reissue | None] = None,
) -> CredentialsView:
    """A new SIP password for a seat, shown this once. The old one is refused from now on, and the VPN key that was
    made for the seat ends with it: a hand-out makes both anew. A key that the tenant supplied ends where that is
    asked for."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await _as_platform(session)
    including = data is not None and data.including_tunnel
    return credentials_view(seat, await seats.renew_accounts(session, seat, including_tunnel=including))


@post(
    "/v1/seats/{seat_id:str}/name",
    permission="seats:write",
    tags=SEAT_TAGS,
    operation_id="NameSeat",
    status_code=HTTP_200_OK,
)
async def name_seat(
    seat_id: FromPath[str],
    data: JSONBody[SeatName],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SeatView:
    """Name a seat after whoever sits there."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await seats.rename(session, seat, data.name)
    return seat_view(seat)


def _request(data: NewSeatOrder, principal: Principal) -> OrderRequest:
    return data.request(waived_by=waived_by(principal, waive=data.waive_notice))


def waived_by(principal: Principal, *, waive: bool) -> str | None:
    """Who waives the notice (rule 4), None where nobody does; refused (403) for whoever may not."""
    if waive and WAIVE_NOTICE not in principal.permissions:
        raise Forbidden("Only the operator may waive the notice.", field="waive_notice", permission=WAIVE_NOTICE)
    return principal.client_id if waive else None


async def _detail(session: AsyncSession, order: SeatOrder) -> SeatOrderDetail:
    return seat_order_detail(order, (await orders.invoice_ids(session, [order])).get(order.order_id))


async def _as_platform(session: AsyncSession) -> None:
    """Go on under the platform's role: an order counts the seats of all tenants, places its tenant on nodes and issues
    invoices, none of which a tenant's role may do. The caller's right to this tenant has been checked before."""
    await enter_scope(session, Scope.platform())


ROUTES = [
    place_order,
    preview_order,
    list_orders,
    get_order,
    cancel_order,
    move_order,
    preview_move,
    list_seats,
    get_seat,
    reissue_credentials,
    name_seat,
]
