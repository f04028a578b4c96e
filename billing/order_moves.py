"""An unpaid order moved to another day (rule 5): its invoice is voided, and issued again for the new day.

A moved order is one that is ordered on the day of the move: its notice runs from there, and its invoice is dated and
priced by that day (rule 4). What opens with the contract is one opening (rule 2): while nothing of it is paid it moves
as a whole, and the contract's first day with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, invoices, ledger, order_invoices
from billing.contracts import check_orderable
from billing.errors import OrderNotMovable
from billing.models import Contract, Holding, Invoice
from billing.order_invoices import OrderGroup
from billing.rules.invoicing import lapses_on
from infra.kit import audit, clock, money


@dataclass(frozen=True, slots=True)
class Move:
    """What a move takes along: one order, or all orders of an opening of which nothing is paid."""

    contract: Contract
    rows: Sequence[Holding]
    of_opening: bool
    """Whether the contract's first day moves too."""

    @property
    def order_ids(self) -> list[str]:
        """The orders that move, by id."""
        return sorted({row.order_id for row in self.rows})

    def opens_contract(self, effective_on: date) -> bool:
        """Whether the orders belong to the contract's opening when they are effective on this day."""
        return self.of_opening or effective_on == self.contract.opens_on


async def plan(session: AsyncSession, contract: Contract, order_id: str) -> Move:
    """What moves with this order; the contract is locked by the caller.

    Raises `OrderNotMovable` once the order is paid, open or gone.
    """
    held = [row for row in await books.holding_rows(session, contract) if not row.lapsed]
    rows = [row for row in held if row.order_id == order_id]
    if not rows or lapses_on(rows[0].effective_on) <= clock.today():
        raise OrderNotMovable(f"The order {order_id} has lapsed; place it again.", field="order_id")
    if await _any_paid_or_open(session, contract, rows):
        raise OrderNotMovable(
            f"The order {order_id} is paid or open; only what is unpaid is moved. Cancel or return it instead.",
            field="order_id",
        )
    opening = [row for row in held if row.opening]
    of_opening = rows[0].opening and not await _any_paid_or_open(session, contract, opening)
    if not of_opening and await _is_opening_itself(session, rows[0]):
        raise OrderNotMovable(
            "What opens with the contract moves as a whole, and some of it is paid; cancel that first.",
            field="order_id",
        )
    return Move(contract, opening if of_opening else rows, of_opening)


async def carry_out(session: AsyncSession, move: Move, effective_on: date) -> None:
    """Void what charges the orders, and charge them for the new day; a part that was paid is used for it.

    Where their invoice charges other orders too, it is made again for those, and the part is used for what is due first
    of them all. Raises `ContractNotOpen`, `ContractRefused` or `AfterTheEnd` for a day outside the contract,
    `OrderNotMovable` where additions would come before the opening, `InvoiceNotVoidable` for an invoice that has a
    fapiao.
    """
    contract, today = move.contract, clock.today()
    opening = move.opens_contract(effective_on)
    if move.of_opening:
        await _move_first_day(session, contract, effective_on)
    check_orderable(contract, effective_on)
    groups = {OrderGroup.of(row) for row in move.rows}
    charged_by = await order_invoices.invoices_by_id(
        session, contract.tenant_id, {row.order_invoice_id for row in move.rows}
    )
    paid = await ledger.paid_with(session, contract.tenant_id, charged_by)
    for invoice in charged_by.values():
        await order_invoices.withdraw(session, contract, invoice, reason=f"moved to {effective_on}")
    for row in move.rows:
        row.ordered_on, row.effective_on, row.opening = today, effective_on, opening
        row.invoiced_on, row.order_invoice_id, row.deposit_asked = None, None, money.ZERO
    await session.flush()
    new = OrderGroup(opening, today, effective_on)
    # An opening has one invoice, which is that of the new day.
    stay = {each for each in groups if not (each.opening and opening)}
    made: list[Invoice] = []
    for group in [*sorted(stay, key=lambda each: (each.ordered_on, each.effective_on)), new]:
        invoice = await order_invoices.charge(session, contract, group, today=today)
        made += [] if invoice is None else [invoice]
    await ledger.use_again(session, contract.tenant_id, paid, made, today)
    await ledger.set_off(session, contract.tenant_id, today)


async def _is_opening_itself(session: AsyncSession, row: Holding) -> bool:
    """Whether the contract's opening invoice charges it, which asks for the deposit (C4)."""
    if row.order_invoice_id is None:
        return False
    return (await invoices.get(session, row.tenant_id, row.order_invoice_id)).reason == "opening"


async def _any_paid_or_open(session: AsyncSession, contract: Contract, rows: Sequence[Holding]) -> bool:
    """Whether one of them is open or was paid for; where there was nothing to pay nothing has been paid."""
    if any(row.opened_on is not None for row in rows):
        return True
    known = await order_invoices.invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in rows})
    return any(ledger.is_settled(invoice) for invoice in known.values())


async def _move_first_day(session: AsyncSession, contract: Contract, opens_on: date) -> None:
    added = [
        row.effective_on
        for row in await books.holding_rows(session, contract)
        if not row.lapsed and not row.opening and row.effective_on <= opens_on
    ]
    if added:
        raise OrderNotMovable(
            f"Seats or circuits are added on {min(added)}; what opens with the contract comes before them. "
            "Move or cancel that addition first.",
            field="effective_on",
        )
    before, contract.opens_on = contract.opens_on, opens_on
    await audit.record(
        session,
        contract.tenant_id,
        "contract.opening_moved",
        contract.contract_id,
        opens_on=opens_on.isoformat(),
        before=before.isoformat(),
    )
