"""An unpaid order moved to another day, before or instead of its payment (rule 5)."""

from __future__ import annotations

from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, order_moves
from billing.errors import OrderNotMovable
from infra.kit import audit, clock
from provisioning import orders, price_preview
from provisioning.errors import OrderRefused
from provisioning.models import SeatOrder
from provisioning.price_preview import PricePreview
from provisioning.rules import order_steps
from provisioning.rules.notice import check_notice, needs_waiver


async def move_order(
    session: AsyncSession, *, order_id: str, tenant_id: str | None, effective_on: date, waived_by: str | None = None
) -> SeatOrder:
    """Move an unpaid addition or opening to another day: its invoice is void, and issued again for that day.

    The notice runs from today, as for a new order (rule 4); `waived_by` is who of the operator lets it stand without.
    Runs under the platform's role. Raises `OrderUnknown`, `OrderNotMovable`, `NoticeTooShort`, `TenantMayNotOrder`,
    `OrderRefused` for the day that it has already, and what billing refuses for the new day.
    """
    found = await orders.get_order(session, order_id, tenant_id)
    contract = await contracts.get_contract(session, found.tenant_id, found.contract_id, for_update=True)
    await orders.check_standing(session, found.tenant_id, "add")
    order = await orders.get_order(session, order_id, found.tenant_id, for_update=True)
    if order.kind == "return" or order.state not in order_steps.PENDING:
        raise OrderNotMovable(
            f"The order is {'a return' if order.kind == 'return' else order.state}; only an unpaid addition or opening "
            "is moved.",
            field="order_id",
        )
    if effective_on == order.effective_on:
        raise OrderRefused(f"The order is for {effective_on} already.", field="effective_on")
    move = await order_moves.plan(session, contract, order_id)
    is_opening = move.opens_contract(effective_on)
    today, notice_days = clock.today(), contracts.terms_of(contract).change_notice_days
    check_notice(today, effective_on, notice_days, opening=is_opening, waived=waived_by is not None)
    needed = needs_waiver(today, effective_on, notice_days, opening=is_opening)
    await order_moves.carry_out(session, move, effective_on)
    for each_id in move.order_ids:
        each = await orders.get_order(session, each_id, order.tenant_id, for_update=True)
        before = each.effective_on
        each.kind = "opening" if is_opening else "add"
        each.ordered_on, each.effective_on = today, effective_on
        each.state, each.held_back_by = "awaiting_payment", None
        each.notice_waived_by = waived_by if needed else None
        each.changed_at = clock.now()
        await audit.record(
            session,
            each.tenant_id,
            "seat_order.moved",
            each_id,
            effective_on=effective_on.isoformat(),
            before=before.isoformat(),
            notice_waived_by=each.notice_waived_by,
        )
    await session.flush()
    await orders.wake(session, order.tenant_id)
    return order


async def preview_move(
    session: AsyncSession, *, order_id: str, tenant_id: str | None, effective_on: date, waived_by: str | None = None
) -> PricePreview:
    """What the order would cost on another day; nothing is written. Raises whatever `move_order` raises."""
    order = await orders.get_order(session, order_id, tenant_id)
    before = await price_preview.open_order_invoices(session, order.tenant_id)
    savepoint = await session.begin_nested()
    try:
        moved = await move_order(
            session, order_id=order_id, tenant_id=tenant_id, effective_on=effective_on, waived_by=waived_by
        )
        return await price_preview.describe(session, moved, unpaid_before=before)
    finally:
        await savepoint.rollback()
