"""Orders that end before they open: cancelled, lapsed unpaid, voided by finance, left without their opening (rule 5).

What a person decides is refused where it would void what must stand: an invoice with a fapiao, or one whose credit was
paid out. What lapses by itself cannot be refused: there all that still stands of such an invoice is credited.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, invoices, leases, ledger, openings, order_invoices, qualifications
from billing.contracts import ADVANCE_ORDERS, get_contract
from billing.corrections import credit_notes
from billing.errors import InvoiceNotVoidable, OpeningNeeded, OrderInForce
from billing.models import Contract, Holding, Invoice
from billing.rules.invoicing import lapses_on
from infra.kit import audit, clock, jobs, money, reasons


async def cancel_order(session: AsyncSession, *, tenant_id: str, order_id: str, reason: str) -> None:
    """Take an order back that is unpaid or not in force yet, be it for lack of papers (C19): nothing is owed, what was
    paid becomes credit (rule 5).

    Where its invoice charges other orders too, it is made again for those, and what was paid is used for them first.
    An order that has lapsed already stays so. Without its opening a contract does not open (rule 2): the opening is
    not cancelled while additions wait for it. Raises `OrderInForce` once the order has opened, `OpeningNeeded`,
    `InvoiceNotVoidable` for an invoice that has a fapiao or whose credit was paid out, `OrderNotHeld` for an unknown
    order.
    """
    contract, waiting = await _lock_waiting(session, tenant_id, order_id)
    if not waiting:
        return
    order, today = waiting[0], clock.today()
    for row in waiting:
        row.lapsed = True
    await order_invoices.recharge_without(session, contract, order, reason=reason, today=today)
    if order.opening:
        await _check_nothing_waits_for_it(session, contract)
    await _let_go_without_opening(session, contract)
    await ledger.set_off(session, tenant_id, today)
    await audit.record(session, tenant_id, "order.cancelled", order_id, reason=reason)


async def lapse_order(session: AsyncSession, *, tenant_id: str, order_id: str, reason: str) -> None:
    """An order that never opens is gone, with those on the same invoice, which never open either; nothing is owed.

    What was paid becomes credit, also where the invoice cannot be voided. With an opening its additions lapse. Raises
    `OrderInForce` once the order has opened, `OrderNotHeld` for an unknown order.
    """
    contract, waiting = await _lock_waiting(session, tenant_id, order_id)
    if not waiting:
        return
    order, today = waiting[0], clock.today()
    for row in await books.holding_rows(session, contract):
        is_beside = row.order_invoice_id is not None and row.order_invoice_id == order.order_invoice_id
        if row.order_id == order_id or (is_beside and row.opened_on is None):
            row.lapsed = True
    await _release(session, contract, {order.order_invoice_id}, reason=reason)
    await _let_go_without_opening(session, contract)
    await ledger.set_off(session, tenant_id, today)
    await audit.record(session, tenant_id, "order.lapsed", order_id, reason=reason)


async def lapse_unpaid(session: AsyncSession, contract: Contract, today: date) -> int:
    """Orders not paid by the end of their month are gone, their invoices void (rule 5); returns how many holdings.

    The contract is locked by the caller, who calls `ledger.set_off` afterwards.
    """
    query = select(Holding).where(
        Holding.tenant_id == contract.tenant_id,
        Holding.contract_id == contract.contract_id,
        Holding.opened_on.is_(None),
        Holding.lapsed.is_(False),
        Holding.effective_on < today.replace(day=1),
    )
    rows = (await session.execute(query)).scalars().all()
    due = await order_invoices.invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in rows})
    never_opens = bool(rows) and await _never_opens(session, contract, today)
    has_opening = bool(rows) and await openings.is_paid(session, contract)
    lapsed: list[Holding] = []
    for row in rows:
        invoice = due.get(row.order_invoice_id or "")
        # What joined the opening at no charge is paid with it.
        is_paid = ledger.is_settled(invoice) if invoice is not None else has_opening or not row.opening
        if lapses_on(row.effective_on) <= today and (never_opens or row.invoiced_on is None or not is_paid):
            row.lapsed = True
            lapsed.append(row)
    reason = "the papers never came" if never_opens else "not paid by the end of its month"
    await _release(session, contract, {row.order_invoice_id for row in lapsed}, reason=reason)
    for order_id in dict.fromkeys(row.order_id for row in lapsed):
        await audit.record(session, contract.tenant_id, "order.lapsed", order_id)
    lapsed += await _let_go_without_opening(session, contract)
    if lapsed:
        await _note_lapsed_contract(session, contract, today)
    return len(lapsed)


async def lapse_if_opening_is_gone(session: AsyncSession, contract: Contract) -> None:
    """What waits for an opening that is gone, however it went, lapses, and its money is used (rules 2 and 5).

    The contract is locked by the caller.
    """
    if await _let_go_without_opening(session, contract):
        await ledger.set_off(session, contract.tenant_id, clock.today())


async def void_unpaid(session: AsyncSession, tenant_id: str, invoice_id: str, *, reason: str) -> Invoice:
    """Void the unpaid invoice of orders: they lapse, and a part already paid is credit (rule 5).

    With an opening go its additions and what joined it. Raises `InvoiceNotFound`, `InvoiceNotVoidable` for any other
    invoice, and where this one or that of such an addition has a fapiao or its credit was paid out, `InvalidInput` for
    an empty reason.
    """
    reason = reasons.given(reason)
    contract_id = (await invoices.get(session, tenant_id, invoice_id)).contract_id
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    invoice = await invoices.get(session, tenant_id, invoice_id)
    if invoice.reason not in ledger.ORDER_REASONS or invoice.voided_at is not None or ledger.is_settled(invoice):
        raise InvoiceNotVoidable(
            f"The invoice {invoice.number} is {_state(invoice)}; only an unpaid invoice of an order can be voided.",
            field="invoice_id",
        )
    rows = [row for row in await books.holding_rows(session, contract) if not row.lapsed]
    charged = [row for row in rows if row.order_invoice_id == invoice_id]
    if any(row.opened_on is not None for row in charged):
        raise InvoiceNotVoidable(f"What {invoice.number} charges is open already; return it.", field="invoice_id")
    if invoice.reason == "opening":  # what joined it at no charge is paid with it
        charged += [row for row in rows if row.opening and row.order_invoice_id is None]
    await order_invoices.check_voidable(session, invoice)
    await invoices.void(session, invoice, reason=reason)
    for row in charged:
        row.lapsed = True
    await session.flush()
    left = await openings.left_without(session, contract)
    going = await order_invoices.invoices_by_id(session, tenant_id, {row.order_invoice_id for row in left})
    for each in going.values():
        await order_invoices.check_voidable(session, each)
    await _let_go_without_opening(session, contract)
    await ledger.set_off(session, tenant_id, clock.today())
    await jobs.defer(session, ADVANCE_ORDERS, lock=f"tenant:{tenant_id}", tenant_id=tenant_id)
    return invoice


async def _lock_waiting(session: AsyncSession, tenant_id: str, order_id: str) -> tuple[Contract, list[Holding]]:
    """The contract, locked, and what of the order may still open; nothing where it is gone. Raises `OrderInForce`.

    What has lapsed by now is gone, though nobody has looked at it yet.
    """
    contract, rows = await leases.lock_order(session, tenant_id, order_id)
    if any(not row.lapsed and lapses_on(row.effective_on) <= clock.today() for row in rows):
        await lapse_unpaid(session, contract, clock.today())
        await ledger.set_off(session, tenant_id, clock.today())
    waiting = [row for row in rows if not row.lapsed]
    if not waiting:
        return contract, []
    if any(row.opened_on is not None for row in waiting):
        raise OrderInForce(f"The order {order_id} is open; return what it has opened.", field="order_id")
    order = waiting[0]
    is_ready = await qualifications.ready_since(session, contract) is not None
    may_open = is_ready and await openings.is_paid(session, contract)
    if order.effective_on <= clock.today() and may_open and await leases.is_paid(session, order):
        raise OrderInForce(f"The order {order_id} is paid and in force since {order.effective_on}.", field="order_id")
    return contract, waiting


async def _check_nothing_waits_for_it(session: AsyncSession, contract: Contract) -> None:
    left = await openings.left_without(session, contract)
    if left:
        waiting = ", ".join(dict.fromkeys(row.order_id for row in left))
        raise OpeningNeeded(
            f"Nothing of this contract opens without it; cancel what waits for it first: {waiting}.", field="order_id"
        )


async def _let_go_without_opening(session: AsyncSession, contract: Contract) -> list[Holding]:
    """Additions whose opening is gone lapse with it; what was paid for them is credit (rules 2 and 5).

    The contract is locked by the caller, who calls `ledger.set_off` afterwards. Returns what has lapsed.
    """
    await session.flush()
    rows = await openings.left_without(session, contract)
    for row in rows:
        row.lapsed = True
    await _release(session, contract, {row.order_invoice_id for row in rows}, reason="the contract's opening is gone")
    for order_id in dict.fromkeys(row.order_id for row in rows):
        await audit.record(session, contract.tenant_id, "order.lapsed", order_id)
    return rows


async def _release(session: AsyncSession, contract: Contract, invoice_ids: set[str | None], *, reason: str) -> None:
    """Void what charges orders that have lapsed; where that cannot be, credit all that stands of it, deposits too.

    So no fen is given back twice: credit that a note gave before, and that was paid out, is not given again.
    """
    await session.flush()
    charged_by = await order_invoices.invoices_by_id(session, contract.tenant_id, invoice_ids)
    for invoice in sorted(charged_by.values(), key=lambda each: each.created_at):
        if invoice.voided_at is not None:
            continue
        if await order_invoices.what_keeps(session, invoice) is None:
            await invoices.void(session, invoice, reason=reason)
            continue
        await credit_notes.credit_lapsed(session, contract, invoice, reason=reason)
        contract.fixed_deposit_returned |= invoice.fixed_deposit_asked > 0
        await session.execute(
            update(Holding)
            .where(Holding.tenant_id == contract.tenant_id, Holding.order_invoice_id == invoice.invoice_id)
            .values(deposit_asked=money.ZERO)
            .execution_options(synchronize_session="fetch")
        )
    await session.flush()


async def _never_opens(session: AsyncSession, contract: Contract, today: date) -> bool:
    """Whether the contract is over and the papers that its orders waited for have not come."""
    is_over = contract.ends_on is not None and contract.ends_on < today
    return is_over and await qualifications.ready_since(session, contract) is None


async def _note_lapsed_contract(session: AsyncSession, contract: Contract, today: date) -> None:
    """A contract whose opening was never paid has lapsed with its last order."""
    if contract.state != "signed" or contract.opens_on >= today:
        return
    left = await session.scalar(
        select(func.count()).where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.lapsed.is_(False),
        )
    )
    if not left:
        contract.state = "lapsed"
        await audit.record(session, contract.tenant_id, "contract.lapsed", contract.contract_id)


def _state(invoice: Invoice) -> str:
    if invoice.voided_at is not None:
        return "void already"
    return "paid" if ledger.is_settled(invoice) else f"a {invoice.reason} invoice"
