"""What becomes of orders as days pass and payments come: opened, lapsed, closed. One transaction an order.

Every function may be repeated at any time, and a process may die between any two transactions: what a transaction
did is seen by the next run, what it did not do is done then, so each seat opens once and is charged once.
"""

from __future__ import annotations

from datetime import date
from typing import cast

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, leases, openings, order_ends, qualifications
from billing.models import Contract
from infra.kit import audit, clock, jobs, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning import number_returns, orders, placing
from provisioning.errors import OrdersNotAdvanced
from provisioning.models import Seat, SeatOrder
from provisioning.rules import order_steps, seat_states
from provisioning.rules.order_steps import PENDING, OrderKind, Step
from provisioning.tunnels import accounts as tunnel_accounts
from switch import accounts
from tenancy import tenants
from tenancy.models import Tenant

FLUSH_REGISTRATIONS = "provisioning.flush_registrations"
PAPERS = "papers"
OPENING = "opening"
"""What an order can be held back by: the tenant's papers (C19), or the opening of its contract (rule 2)."""

WHY_LAPSED = {PAPERS: "the papers never came", OPENING: "the contract never opened"}
UNPAID = "not paid by the end of its month"
WHY_GONE = "its invoice was voided, or the opening that it waited for is gone"

MAX_ORDERS_A_RUN = 1_000
"""Of one tenant; what is left waits for the next run, a minute later."""

MAX_TENANTS_A_RUN = 10_000

log = logs.get(__name__)


async def advance_tenant(runtime: Runtime, tenant_id: str) -> None:
    """Bring every pending order of a tenant, and every contract that has ended, to where today finds them.

    One that fails is logged and does not stop the others; `OrdersNotAdvanced` at the end has the task tried again.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        pending = await _pending_orders(session, tenant_id)
    failed: list[str] = []
    for order_id in pending:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await advance_order(session, tenant_id, order_id)
        except Exception:  # one bad order must not keep the seats of the others closed
            log.exception("seat_order.not_advanced", tenant_id=tenant_id, order_id=order_id)
            failed.append(order_id)
    await _close_ended(runtime, tenant_id)
    await number_returns.give_back(runtime, tenant_id)
    if failed:
        raise OrdersNotAdvanced(f"{len(failed)} orders of {tenant_id} were not advanced: {', '.join(failed[:5])}.")


async def advance_all(runtime: Runtime) -> None:
    """Advance every tenant that has something due today; the next run heals what fails in this one."""
    today = clock.today()
    async with runtime.database.transaction(Scope.platform()) as session:
        due = await _tenants_with_something_due(session, today)
    for tenant_id in due:
        try:
            await advance_tenant(runtime, tenant_id)
        except OrdersNotAdvanced as failure:
            log.error("seat_orders.not_advanced", tenant_id=tenant_id, reason=str(failure))


async def advance_order(session: AsyncSession, tenant_id: str, order_id: str) -> Step:
    """Take the one step that an order is due for today; returns it. Locks tenant, contract, order, in this order."""
    found = await orders.get_order(session, order_id, tenant_id)
    contract = await contracts.get_contract(session, tenant_id, found.contract_id, for_update=True)
    order = await orders.get_order(session, order_id, tenant_id, for_update=True)
    if order.state not in PENDING:
        return Step.WAIT
    today = clock.today()
    ready_since = await qualifications.ready_since(session, contract)
    adds, of = order.kind != "return", {"tenant_id": tenant_id, "order_id": order_id}
    if adds:
        await order_ends.lapse_if_opening_is_gone(session, contract)
    is_gone = adds and await leases.is_order_gone(session, **of)
    step = order_steps.next_step(
        cast("OrderKind", order.kind),
        order.state,
        effective_on=order.effective_on,
        today=today,
        is_paid=adds and await leases.is_order_paid(session, **of),
        contract_ended=contract.ends_on is not None and today > contract.ends_on,
        has_papers=ready_since is not None,
        has_opening=not adds or await openings.may_open(session, contract, opening=order.kind == "opening"),
        is_gone=is_gone,
    )
    facts: dict[str, object] = {"quantity": order.quantity}
    match step:
        case Step.WAIT:
            return step
        case Step.AWAIT_PAYMENT:
            order.state = "awaiting_payment"
        case Step.SCHEDULE:
            order.state = "scheduled"
        case Step.HOLD_BACK:
            by = PAPERS if ready_since is None else OPENING
            if order.held_back_by == by:
                return step
            order.state, order.held_back_by = "scheduled", by
            await audit.record(session, tenant_id, "seat_order.held_back", order_id, by=by)
        case Step.OPEN:
            await _open(session, order, today, ready_since)
        case Step.CLOSE:
            await _close(session, order)
        case Step.LAPSE:
            is_late = today > order_steps.last_day_to_pay(order.effective_on)
            why = WHY_GONE if is_gone and not is_late else UNPAID
            facts["reason"] = reason = WHY_LAPSED.get(order.held_back_by or "", why)
            await order_ends.lapse_order(session, **of, reason=reason)
            await orders.drop(session, order, state="lapsed")
    if step != Step.HOLD_BACK:
        order.held_back_by = None
        await audit.record(session, tenant_id, f"seat_order.{order.state}", order_id, **facts)
    order.changed_at = clock.now()
    await session.flush()
    log.info("seat_order.advanced", tenant_id=tenant_id, order_id=order_id, state=order.state)
    return step


async def _pending_orders(session: AsyncSession, tenant_id: str) -> list[str]:
    query = (
        select(SeatOrder.order_id)
        .where(SeatOrder.tenant_id == tenant_id, SeatOrder.state.in_(PENDING))
        .order_by(SeatOrder.effective_on, SeatOrder.order_id)
        .limit(MAX_ORDERS_A_RUN)
    )
    return list((await session.execute(query)).scalars())


async def _tenants_with_something_due(session: AsyncSession, today: date) -> list[str]:
    orders_due = select(SeatOrder.tenant_id).where(SeatOrder.state.in_(PENDING), SeatOrder.effective_on <= today)
    contracts_over = (
        select(Seat.tenant_id)
        .join(Contract, and_(Contract.tenant_id == Seat.tenant_id, Contract.contract_id == Seat.contract_id))
        .where(Contract.ends_on < today, Seat.state.in_(seat_states.sources("close")))
    )
    both = orders_due.union(contracts_over).subquery()
    query = select(both.c.tenant_id).order_by(both.c.tenant_id).limit(MAX_TENANTS_A_RUN)
    return list((await session.execute(query)).scalars())


async def _open(session: AsyncSession, order: SeatOrder, today: date, ready_since: date | None) -> None:
    """Open the seats, their SIP accounts (with passwords that nobody knows) and their holdings."""
    tenant = await tenants.get(session, order.tenant_id)
    opened = await session.execute(
        update(Seat)
        .where(
            Seat.tenant_id == order.tenant_id,
            Seat.order_id == order.order_id,
            Seat.state.in_(seat_states.sources("open")),
        )
        .values(state=seat_states.result("open"), opened_at=clock.now())
        .returning(Seat.seat_id, Seat.extension)
        .execution_options(synchronize_session=False)
    )
    rows = opened.all()
    seat_ids = sorted(seat_id for seat_id, _ in rows)
    facts = {"contract_id": order.contract_id, "item": order.item, "seat_ids": seat_ids}
    await audit.record(session, order.tenant_id, "seats.opened", order.order_id, **facts)
    pairs = [(seat_id, extension) for seat_id, extension in rows if extension is not None]
    if pairs:
        await placing.ensure_placed(session, order.tenant_id)
        await accounts.open_accounts(session, tenant, pairs)
        await tunnel_accounts.open_accounts(session, order.tenant_id, [seat_id for seat_id, _ in pairs])
        await accounts.ensure_canary(session, tenant)
    invoice = await leases.order_invoice(session, order.tenant_id, order.order_id)
    paid_on = None if invoice is None else invoice.paid_on
    on = order_steps.opens_on(order.effective_on, paid_on, today, ready_since)
    await leases.open_holdings(session, tenant_id=order.tenant_id, order_id=order.order_id, on=on)
    order.state = "done"


async def _close(session: AsyncSession, order: SeatOrder) -> None:
    tenant = await tenants.get(session, order.tenant_id)
    seat_ids = await _close_seats(session, tenant, Seat.seat_id.in_(order.seat_ids))
    if seat_ids:
        facts = {"contract_id": order.contract_id, "item": order.item, "count": len(seat_ids), "seat_ids": seat_ids}
        await audit.record(session, order.tenant_id, "seats.closed", order.order_id, **facts)
    order.state = "done"


async def _close_seats(session: AsyncSession, tenant: Tenant, which: ColumnElement[bool]) -> list[str]:
    """Close open seats and their accounts from this commit on; a job flushes their registrations. Returns their ids."""
    closed = await session.execute(
        update(Seat)
        .where(Seat.tenant_id == tenant.tenant_id, Seat.state.in_(seat_states.sources("close")), which)
        .values(state=seat_states.result("close"), closed_at=clock.now())
        .returning(Seat.seat_id)
        .execution_options(synchronize_session=False)
    )
    seat_ids = sorted(closed.scalars())
    await accounts.set_open(session, tenant.tenant_id, seat_ids, False)
    await tunnel_accounts.end_accounts(session, tenant.tenant_id, seat_ids)
    if seat_ids:
        await jobs.defer(session, FLUSH_REGISTRATIONS, tenant_id=tenant.tenant_id, seat_ids=seat_ids)
    return seat_ids


async def _close_ended(runtime: Runtime, tenant_id: str) -> None:
    """At the end of a contract's last day everything of it closes (rule 11)."""
    today = clock.today()
    async with runtime.database.transaction(Scope.platform()) as session:
        still_open = select(Seat.seat_id).where(
            Seat.tenant_id == tenant_id,
            Seat.contract_id == Contract.contract_id,
            Seat.state.in_(seat_states.sources("close")),
        )
        query = select(Contract.contract_id).where(
            Contract.tenant_id == tenant_id, Contract.ends_on < today, still_open.exists()
        )
        ended = list((await session.execute(query)).scalars())
    for contract_id in ended:
        async with runtime.database.transaction(Scope.platform()) as session:
            contract = await contracts.get_contract(session, tenant_id, contract_id, for_update=True)
            await session.execute(
                update(Seat)
                .where(
                    Seat.tenant_id == tenant_id,
                    Seat.contract_id == contract_id,
                    Seat.state.in_(seat_states.sources("close")),
                    or_(Seat.closes_on.is_(None), Seat.closes_on > contract.ends_on),
                )
                .values(closes_on=contract.ends_on)
                .execution_options(synchronize_session=False)
            )
            tenant = await tenants.get(session, tenant_id)
            seat_ids = await _close_seats(session, tenant, Seat.contract_id == contract_id)
            facts = {"count": len(seat_ids), "seat_ids": seat_ids}
            await audit.record(session, tenant_id, "contract.seats_closed", contract_id, **facts)
