"""Holdings: what is rented under a contract, ordered, charged, opened and returned (rules 2, 4, 5 and 6).

Provisioning calls this for every order; what ends before it opens is in `billing.order_ends`. Each function that
changes something locks the tenant and the contract first, and leaves the commit to its caller.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices, ledger, openings, order_invoices, qualifications
from billing.contracts import check_orderable, get_contract, terms_of
from billing.errors import NotReturnable, OrderInForce, OrderNotHeld, OrderNotPaid
from billing.models import Contract, Holding, Invoice
from billing.rules.arrears import ranges
from billing.rules.book import Item
from infra.kit import audit, clock, money

__all__ = [
    "OrderedHoldings",
    "get_contract",
    "is_order_gone",
    "is_order_paid",
    "is_paid",
    "lock_order",
    "open_holdings",
    "open_what_is_paid",
    "order_holdings",
    "order_invoice",
    "return_holdings",
    "terms_of",
]

MAXIMUM_QUANTITY = 10_000
"""Seats or circuits of one order."""


@dataclass(frozen=True, slots=True)
class OrderedHoldings:
    """The numbers an order was given in its contract, and the invoice that charges it.

    `invoice` None: there is nothing to pay, or the opening invoice's day has not come.
    """

    numbers: list[int]
    invoice: Invoice | None


async def order_holdings(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    item: Item,
    quantity: int,
    ordered_on: date,
    effective_on: date,
    order_id: str,
    opening: bool,
) -> OrderedHoldings:
    """Order seats or circuits and charge them (rules 2 and 4); what is ordered gets the contract's next numbers.

    An opening is charged on the third working day before it (the daily job does it then), or now when that day has
    passed. All adds of one order day and effective day are on one invoice: an unpaid earlier one is voided and made
    again with both. Credit of the tenant is used at once. Raises `ContractNotOpen`, `AfterTheEnd`, `ContractNotFound`,
    `InvoiceNotVoidable` where that one has a fapiao.
    """
    if not 1 <= quantity <= MAXIMUM_QUANTITY:
        raise ValueError(f"quantity is {quantity}; expected 1 to {MAXIMUM_QUANTITY}")
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    check_orderable(contract, effective_on)
    if opening and effective_on != contract.opens_on:
        raise ValueError(f"an opening on {effective_on}; expected the contract's own day, {contract.opens_on}")
    first = await _next_number(session, contract, item)
    numbers = list(range(first, first + quantity))
    await session.execute(
        insert(Holding),
        [
            {
                "tenant_id": tenant_id,
                "contract_id": contract_id,
                "item": item,
                "number": number,
                "order_id": order_id,
                "ordered_on": ordered_on,
                "effective_on": effective_on,
                "opening": opening,
                "invoiced_on": None,
                "order_invoice_id": None,
                "deposit_asked": money.ZERO,
                "deposit_returned": False,
                "opened_on": None,
                "closes_on": None,
                "returned": False,
                "return_ordered_on": None,
                "lapsed": False,
            }
            for number in numbers
        ],
    )
    group = order_invoices.OrderGroup(opening, ordered_on, effective_on)
    invoice = await order_invoices.charge(session, contract, group, today=clock.today())
    await ledger.set_off(session, tenant_id, clock.today())
    return OrderedHoldings(numbers, invoice)


async def open_holdings(session: AsyncSession, *, tenant_id: str, order_id: str, on: date) -> None:
    """An order is open from this day on; what is open already stays as it is. Raises `OrderNotPaid`, `OrderInForce`."""
    contract, rows = await lock_order(session, tenant_id, order_id)
    waiting = [row for row in rows if row.opened_on is None]
    if any(row.lapsed for row in waiting):
        raise OrderInForce(f"The order {order_id} has lapsed or was cancelled; place it again.", field="order_id")
    if not waiting:
        return
    if waiting[0].effective_on > on:
        raise OrderNotPaid(f"The order {order_id} opens on {waiting[0].effective_on}, not before.", field="order_id")
    if not await is_paid(session, waiting[0]):
        raise OrderNotPaid(f"The order {order_id} is not paid; nothing opens unpaid.", field="order_id")
    if not await openings.may_open(session, contract, opening=waiting[0].opening):
        raise OrderNotPaid(f"The order {order_id} waits for the contract's opening.", field="order_id")
    await _open(session, contract, waiting, on)


async def open_what_is_paid(session: AsyncSession, contract: Contract, first_of_month: date) -> int:
    """Count what was paid and due to open before a month as open when that month is charged.

    Provisioning opens within seconds; should its work run late over the turn of a month, the rent of the month would
    be lost. What was paid after the contract's end never opens, nor what waits for the tenant's papers or for the
    contract's opening. The contract is locked by the caller. Returns how many holdings.
    """
    query = select(Holding).where(
        Holding.tenant_id == contract.tenant_id,
        Holding.contract_id == contract.contract_id,
        Holding.opened_on.is_(None),
        Holding.lapsed.is_(False),
        Holding.invoiced_on.is_not(None),
        Holding.effective_on <= first_of_month,
    )
    in_order = query.order_by(Holding.effective_on, Holding.item, Holding.number)  # the opening comes first
    rows = (await session.execute(in_order)).scalars().all()
    due = await order_invoices.invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in rows})
    ready_since = await qualifications.ready_since(session, contract) if rows else None
    if ready_since is None:
        return 0
    opened = 0
    for row in rows:
        invoice = due.get(row.order_invoice_id or "")
        paid_on = row.effective_on if invoice is None else invoice.paid_on
        if paid_on is None or max(paid_on, ready_since) > first_of_month:
            continue
        opened_on = max(row.effective_on, paid_on, ready_since)
        is_in_time = contract.ends_on is None or opened_on <= contract.ends_on
        if is_in_time and await openings.may_open(session, contract, opening=row.opening):
            await _open(session, contract, [row], opened_on)
            opened += 1
    return opened


async def return_holdings(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    item: Item,
    numbers: Collection[int],
    ordered_on: date,
    effective_on: date,
) -> None:
    """Give open seats or circuits back at the end of `effective_on` (rule 6); the next monthly invoice credits it.

    Raises `NotReturnable` naming what is not open, or is being returned already.
    """
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    check_orderable(contract, effective_on)
    query = select(Holding).where(
        Holding.tenant_id == tenant_id,
        Holding.contract_id == contract_id,
        Holding.item == item,
        Holding.number.in_(numbers),
        Holding.opened_on.is_not(None),
        Holding.closes_on.is_(None),
    )
    rows = (await session.execute(query)).scalars().all()
    missing = set(numbers) - {row.number for row in rows}
    if missing or not numbers:
        raise NotReturnable(f"{item} {ranges(missing)} is not open, or is being returned already.", field="numbers")
    await session.execute(
        update(Holding)
        .where(
            Holding.tenant_id == tenant_id,
            Holding.contract_id == contract_id,
            Holding.item == item,
            Holding.number.in_(numbers),
        )
        .values(closes_on=effective_on, returned=True, return_ordered_on=ordered_on)
    )
    await audit.record(
        session,
        tenant_id,
        "holdings.return_ordered",
        contract_id,
        item=item,
        numbers=ranges(numbers),
        effective_on=effective_on.isoformat(),
    )


async def is_order_gone(session: AsyncSession, *, tenant_id: str, order_id: str) -> bool:
    """Whether an order has lapsed or was taken back."""
    return (await _any_holding(session, tenant_id, order_id)).lapsed


async def is_order_paid(session: AsyncSession, *, tenant_id: str, order_id: str) -> bool:
    """Whether an order may open: its invoice is settled, or there was nothing to pay; False once it has lapsed."""
    row = await _any_holding(session, tenant_id, order_id)
    return not row.lapsed and await is_paid(session, row)


async def order_invoice(session: AsyncSession, tenant_id: str, order_id: str) -> Invoice | None:
    """The invoice that charges an order; None when there is none yet, or nothing to pay."""
    row = await _any_holding(session, tenant_id, order_id)
    return None if row.order_invoice_id is None else await invoices.get(session, tenant_id, row.order_invoice_id)


async def lock_order(session: AsyncSession, tenant_id: str, order_id: str) -> tuple[Contract, Sequence[Holding]]:
    """The contract of an order, locked after its tenant, and the order's holdings. Raises `OrderNotHeld`."""
    contract_id = (await _any_holding(session, tenant_id, order_id)).contract_id
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    query = (
        select(Holding)
        .where(Holding.tenant_id == tenant_id, Holding.order_id == order_id)
        .order_by(Holding.item, Holding.number)
        .execution_options(populate_existing=True)
    )
    return contract, (await session.execute(query)).scalars().all()


async def _any_holding(session: AsyncSession, tenant_id: str, order_id: str) -> Holding:
    query = (
        select(Holding)
        .where(Holding.tenant_id == tenant_id, Holding.order_id == order_id)
        .order_by(Holding.number)
        .limit(1)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise OrderNotHeld(f"Nothing is held by an order {order_id}.", field="order_id")
    return row


async def is_paid(session: AsyncSession, row: Holding) -> bool:
    """Whether the invoice that charges a holding's order is settled, or there was nothing to pay."""
    if row.invoiced_on is None:
        return False
    if row.order_invoice_id is None:
        return True
    return ledger.is_settled(await invoices.get(session, row.tenant_id, row.order_invoice_id))


async def _next_number(session: AsyncSession, contract: Contract, item: Item) -> int:
    last = await session.scalar(
        select(func.max(Holding.number)).where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.item == item,
        )
    )
    return (last or 0) + 1


async def _open(session: AsyncSession, contract: Contract, rows: Sequence[Holding], on: date) -> None:
    if not rows[0].opening:
        on = max(on, await _first_opened_on(session, contract) or on)
    for row in rows:
        row.opened_on = on
        if contract.state == "ended":  # it was open to the end, which was carried out already
            row.closes_on = contract.ends_on
    if contract.state == "signed":
        contract.state = "open"
        await audit.record(session, contract.tenant_id, "contract.opened", contract.contract_id, on=on.isoformat())
    await session.flush()


async def _first_opened_on(session: AsyncSession, contract: Contract) -> date | None:
    """The day on which the contract opened; None: it has not yet."""
    query = select(func.min(Holding.opened_on)).where(
        Holding.tenant_id == contract.tenant_id, Holding.contract_id == contract.contract_id
    )
    return await session.scalar(query)
