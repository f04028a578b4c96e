"""Seat orders: placed, found, cancelled. Everything about one order is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, cast

from sqlalchemy import Integer, Select, func, insert, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, leases, order_ends
from billing.models import Contract, Holding
from billing.rules.book import Item
from infra.kit import audit, clock, jobs, logs, reasons
from infra.kit.ids import new_id
from provisioning import placing
from provisioning.errors import (
    OpeningMissing,
    OrderNotCancellable,
    OrderRefused,
    OrderUnknown,
    SeatNotOpen,
    SeatReturning,
    SeatUnknown,
    TenantMayNotOrder,
)
from provisioning.models import Seat, SeatOrder
from provisioning.rules import order_steps, seat_states
from provisioning.rules.extensions import next_extensions
from provisioning.rules.notice import check_notice, needs_waiver
from provisioning.tunnels import pools
from tenancy import tenants

ADVANCE_ORDERS = "provisioning.advance_orders"
MAX_SEATS_AN_ORDER = 5_000

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """What is ordered. Adds name a `quantity`; returns name `seat_ids`, or a `quantity` of those added last."""

    contract_id: str
    kind: Literal["add", "return"]
    item: Item
    effective_on: date
    quantity: int | None = None
    seat_ids: Sequence[str] | None = None
    notice_waived_by: str | None = None
    """Who lets it stand without notice (rule 4); only operators may."""


async def place_order(session: AsyncSession, *, tenant_id: str, request: OrderRequest) -> SeatOrder:
    """Order seats or circuits, or their return (C6, C9, C10), with invoice, seats, placement, audit and job.

    Runs under the platform's role: it counts every tenant's seats. Refuses what standing, contract, notice or room
    do not allow: `TenantMayNotOrder`, `ContractNotOpen`, `NoticeTooShort`, `OpeningMissing`, `ClusterFull`,
    `SeatNotOpen`, `SeatReturning`, `SeatUnknown`, `OrderRefused`.
    """
    contract = await contracts.get_contract(session, tenant_id, request.contract_id, for_update=True)
    await check_standing(session, tenant_id, request.kind)
    contracts.check_orderable(contract, request.effective_on)
    order = _unfilled_order(contract, request)
    if request.kind == "add":
        await _add(session, contract, order, _wanted_quantity(request))
    else:
        await _return(session, order, request)
    await audit.record(
        session,
        tenant_id,
        "seat_order.placed",
        order.order_id,
        kind=order.kind,
        item=order.item,
        quantity=order.quantity,
        effective_on=order.effective_on.isoformat(),
        notice_waived_by=order.notice_waived_by,
    )
    await wake(session, tenant_id)
    return order


def _unfilled_order(contract: Contract, request: OrderRequest) -> SeatOrder:
    """The order without its seats yet; refused where the notice is too short."""
    is_opening = request.kind == "add" and request.effective_on == contract.opens_on
    today, now = clock.today(), clock.now()
    notice_days = contracts.terms_of(contract).change_notice_days
    is_waived = request.notice_waived_by is not None
    check_notice(today, request.effective_on, notice_days, opening=is_opening, waived=is_waived)
    needed = needs_waiver(today, request.effective_on, notice_days, opening=is_opening)
    return SeatOrder(
        tenant_id=contract.tenant_id,
        order_id=new_id("ord"),
        contract_id=contract.contract_id,
        kind="opening" if is_opening else request.kind,
        item=request.item,
        quantity=0,
        seat_ids=[],
        ordered_on=today,
        effective_on=request.effective_on,
        state="awaiting_payment" if request.kind == "add" else "scheduled",
        held_back_by=None,
        notice_waived_by=request.notice_waived_by if needed else None,
        created_at=now,
        changed_at=now,
    )


async def wake(session: AsyncSession, tenant_id: str) -> None:
    """Let a worker look at the tenant's orders after this commit."""
    await jobs.defer(session, ADVANCE_ORDERS, lock=f"orders:{tenant_id}", tenant_id=tenant_id)


async def get_order(
    session: AsyncSession, order_id: str, tenant_id: str | None, *, for_update: bool = False
) -> SeatOrder:
    """An order, narrowed to a tenant where the caller belongs to one. Raises `OrderUnknown`."""
    query = select(SeatOrder).where(SeatOrder.order_id == order_id)
    if tenant_id is not None:
        query = query.where(SeatOrder.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    order = (await session.execute(query)).scalar_one_or_none()
    if order is None:
        raise OrderUnknown(f"There is no seat order {order_id}.", field="order_id")
    return order


async def invoice_ids(session: AsyncSession, shown: Sequence[SeatOrder]) -> dict[str, str]:
    """Order id → the invoice that charges it now, for those that have one.

    It is asked of the holdings, because an opening is charged days after its order (rule 2), and an invoice that
    several orders share is made again when one of them comes or goes (rule 4).
    """
    charged_by = (
        select(Holding.order_invoice_id)
        .where(Holding.tenant_id == SeatOrder.tenant_id, Holding.order_id == SeatOrder.order_id)
        .limit(1)
        .scalar_subquery()
    )
    query = select(SeatOrder.order_id, charged_by).where(
        SeatOrder.tenant_id.in_({order.tenant_id for order in shown}),
        SeatOrder.order_id.in_([order.order_id for order in shown]),
    )
    return {order_id: invoice_id for order_id, invoice_id in await session.execute(query) if invoice_id is not None}


async def cancel_order(session: AsyncSession, *, order_id: str, tenant_id: str | None, reason: str | None) -> SeatOrder:
    """Cancel an addition or opening that has not taken effect (rule 5); what was paid for it becomes credit.

    Raises `OrderUnknown`, `OrderNotCancellable`, `InvalidInput` for a reason that is too long, and what billing refuses
    (`OrderInForce`).
    """
    reason = reasons.given(reason) if reason is not None and reason.strip() else None
    found = await get_order(session, order_id, tenant_id)
    await contracts.get_contract(session, found.tenant_id, found.contract_id, for_update=True)
    order = await get_order(session, order_id, found.tenant_id, for_update=True)
    if order.kind == "return":
        raise OrderNotCancellable("A return stands once it is ordered; order seats anew instead.", field="order_id")
    if order.state not in order_steps.PENDING:
        raise OrderNotCancellable(
            f"The order is {order.state}; only what has not taken effect can be cancelled.", field="order_id"
        )
    await order_ends.cancel_order(
        session, tenant_id=order.tenant_id, order_id=order.order_id, reason=reason or "cancelled on request"
    )
    await drop(session, order, state="cancelled")
    await audit.record(session, order.tenant_id, "seat_order.cancelled", order.order_id, reason=reason)
    await wake(session, order.tenant_id)
    return order


async def drop(session: AsyncSession, order: SeatOrder, *, state: Literal["cancelled", "lapsed"]) -> None:
    """End an order that never took effect, and its seats with it; their extensions are not given out again."""
    await session.execute(
        update(Seat)
        .where(
            Seat.tenant_id == order.tenant_id,
            Seat.order_id == order.order_id,
            Seat.state.in_(seat_states.sources("cancel")),
        )
        .values(state=seat_states.result("cancel"))
        .execution_options(synchronize_session=False)
    )
    order.state = state
    order.held_back_by = None
    order.changed_at = clock.now()
    await session.flush()


async def check_standing(session: AsyncSession, tenant_id: str, kind: Literal["add", "return"]) -> None:
    """Refuse what the tenant's standing does not allow; the tenant is locked by the caller. `TenantMayNotOrder`."""
    tenant = await tenants.get(session, tenant_id)  # get_contract has locked it and read it anew
    if tenant.standing == "closed":
        raise TenantMayNotOrder("The tenant is closed; it orders nothing more.", field="tenant_id")
    if tenant.standing == "suspended" and kind == "add":
        raise TenantMayNotOrder("The tenant is suspended; it can add seats when it is restored.", field="tenant_id")


def _wanted_quantity(request: OrderRequest) -> int:
    if request.seat_ids is not None:
        raise OrderRefused("Seats to add have no ids yet; say how many: `quantity`.", field="seat_ids")
    if request.quantity is None or not 1 <= request.quantity <= MAX_SEATS_AN_ORDER:
        raise OrderRefused(f"An order adds 1 to {MAX_SEATS_AN_ORDER} seats or circuits.", field="quantity")
    return request.quantity


async def _add(session: AsyncSession, contract: Contract, order: SeatOrder, quantity: int) -> None:
    is_opening = order.kind == "opening"
    if not is_opening and contract.state == "signed" and not await _has_opening(session, contract):
        first = f"its first order is effective on {contract.opens_on}"
        if contract.opens_on < order.ordered_on:
            first = f"its opening on {contract.opens_on} was never ordered, so it needs a new contract that opens later"
        raise OpeningMissing(f"Nothing opens with this contract yet; {first}.", field="effective_on")
    held = await leases.order_holdings(
        session,
        tenant_id=order.tenant_id,
        contract_id=order.contract_id,
        item=cast("Item", order.item),
        quantity=quantity,
        ordered_on=order.ordered_on,
        effective_on=order.effective_on,
        order_id=order.order_id,
        opening=is_opening,
    )
    seats = await _new_seats(session, order, held.numbers)
    order.quantity = quantity
    order.seat_ids = [seat["seat_id"] for seat in seats]
    session.add(order)
    await session.flush()
    await session.execute(insert(Seat), seats)
    if order.item == "seat":
        await pools.check_room(session, order.tenant_id)
        await placing.require_room(session, order.tenant_id)


async def _has_opening(session: AsyncSession, contract: Contract) -> bool:
    query = select(SeatOrder.order_id).where(
        SeatOrder.tenant_id == contract.tenant_id,
        SeatOrder.contract_id == contract.contract_id,
        SeatOrder.kind == "opening",
        SeatOrder.state.in_((*order_steps.PENDING, "done")),
    )
    return (await session.execute(query.limit(1))).scalar() is not None


async def _new_seats(session: AsyncSession, order: SeatOrder, numbers: Sequence[int]) -> list[dict[str, object]]:
    extensions: Sequence[str | None] = [None] * len(numbers)
    if order.item == "seat":
        last = select(func.max(sql_cast(Seat.extension, Integer))).where(Seat.tenant_id == order.tenant_id)
        extensions = next_extensions((await session.execute(last)).scalar(), len(numbers))
    return [
        {
            "tenant_id": order.tenant_id,
            "seat_id": new_id("seat"),
            "contract_id": order.contract_id,
            "item": order.item,
            "number": number,
            "extension": extension,
            "name": None,
            "order_id": order.order_id,
            "state": "ordered",
            "opened_at": None,
            "closes_on": None,
            "closed_at": None,
            "created_at": order.created_at,
        }
        for number, extension in zip(numbers, extensions, strict=True)
    ]


async def _return(session: AsyncSession, order: SeatOrder, request: OrderRequest) -> None:
    seats = await _seats_to_return(session, order, request)
    await leases.return_holdings(
        session,
        tenant_id=order.tenant_id,
        contract_id=order.contract_id,
        item=cast("Item", order.item),
        numbers=[seat.number for seat in seats],
        ordered_on=order.ordered_on,
        effective_on=order.effective_on,
    )
    for seat in seats:
        seat.closes_on = order.effective_on
    order.quantity = len(seats)
    order.seat_ids = [seat.seat_id for seat in seats]
    session.add(order)
    await session.flush()


async def _seats_to_return(session: AsyncSession, order: SeatOrder, request: OrderRequest) -> list[Seat]:
    if (request.seat_ids is None) == (request.quantity is None):
        raise OrderRefused("Say either which (`seat_ids`) or how many (`quantity`) are returned.", field="seat_ids")
    of_contract = (
        select(Seat)
        .where(Seat.tenant_id == order.tenant_id, Seat.contract_id == order.contract_id, Seat.item == order.item)
        .with_for_update()
    )
    if request.seat_ids is not None:
        return await _named_seats(session, of_contract.where(Seat.seat_id.in_(request.seat_ids)), request.seat_ids)
    quantity = request.quantity or 0
    if not 1 <= quantity <= MAX_SEATS_AN_ORDER:
        raise OrderRefused(f"An order returns 1 to {MAX_SEATS_AN_ORDER} seats or circuits.", field="quantity")
    last_added = of_contract.where(Seat.state.in_(seat_states.IN_USE), Seat.closes_on.is_(None)).order_by(
        Seat.number.desc()
    )
    seats = list((await session.execute(last_added.limit(quantity))).scalars())
    if len(seats) < quantity:
        raise SeatNotOpen(f"Only {len(seats)} can be returned, not {quantity}.", field="quantity")
    return sorted(seats, key=lambda seat: seat.number)


async def _named_seats(session: AsyncSession, query: Select[Seat], seat_ids: Sequence[str]) -> list[Seat]:
    if not 1 <= len(seat_ids) <= MAX_SEATS_AN_ORDER or len(set(seat_ids)) < len(seat_ids):
        raise OrderRefused(f"Name 1 to {MAX_SEATS_AN_ORDER} seats, each once.", field="seat_ids")
    seats = list((await session.execute(query.order_by(Seat.number))).scalars())
    missing = sorted(set(seat_ids) - {seat.seat_id for seat in seats})
    if missing:
        raise SeatUnknown(f"The contract has no such seat or circuit: {missing[0]}.", field="seat_ids")
    for seat in seats:
        if seat.state not in seat_states.IN_USE:
            raise SeatNotOpen(f"{seat.seat_id} is {seat.state}; only what is open is returned.", field="seat_ids")
        if seat.closes_on is not None:
            raise SeatReturning(f"The return of {seat.seat_id} is ordered for {seat.closes_on}.", field="seat_ids")
    return seats
