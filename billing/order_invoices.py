"""The invoices of orders: which orders share one, when it is made, and what replaces it (C6, C9, rules 2, 4 and 5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import cast

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, invoices, ledger
from billing.contracts import terms_of
from billing.errors import InvoiceNotVoidable
from billing.fapiao.records import has_fapiao
from billing.models import Contract, Holding, Invoice, RentCharge
from billing.rules.book import HoldingKey, Item
from billing.rules.invoicing import addition_invoice, opening_dates, opening_invoice
from billing.rules.lines import InvoiceDraft
from billing.rules.months import Month
from billing.rules.volume import counted_seats
from infra.kit import money


@dataclass(frozen=True, slots=True)
class OrderGroup:
    """What shares one invoice: an opening, or all adds of one order day and one effective day."""

    opening: bool
    ordered_on: date
    effective_on: date

    def holds(self, row: Holding) -> bool:
        """Whether a holding was ordered in this group; all orders of an opening are one."""
        if self.opening:
            return row.opening
        return not row.opening and (row.ordered_on, row.effective_on) == (self.ordered_on, self.effective_on)

    @classmethod
    def of(cls, row: Holding) -> OrderGroup:
        """The group that a holding was ordered in."""
        return cls(row.opening, row.ordered_on, row.effective_on)


async def charge(session: AsyncSession, contract: Contract, group: OrderGroup, *, today: date) -> Invoice | None:
    """Make the group's invoice, or make it again with what was ordered since; None when there is nothing to charge now.

    What is paid already stays as it is, and so does a part that was paid of an invoice that is made again; an opening
    waits for its day of issue. The contract is locked by the caller, who calls `ledger.set_off` afterwards. Raises
    `InvoiceNotVoidable` where an unpaid invoice of the group has a fapiao, or its credit note was paid out.
    """
    rows = await books.holding_rows(session, contract)
    waiting = await _waiting(session, contract, [row for row in rows if group.holds(row)])
    if not waiting:
        return None
    if group.opening and opening_dates(terms_of(contract, contract.opens_on), contract.opens_on)[0].day > today:
        return None
    unpaid = await invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in waiting})
    paid = await ledger.paid_with(session, contract.tenant_id, unpaid)
    for invoice in unpaid.values():
        await check_voidable(session, invoice)
        await invoices.void(session, invoice, reason="made again with later orders of the same day")
    has_opened = group.opening and await _is_opening_charged(session, rows, waiting)
    draft = await _draft(session, contract, replace(group, opening=group.opening and not has_opened), waiting)
    invoice = None if draft is None else await invoices.issue(session, contract, draft)
    await _note(session, contract, waiting, draft, invoice, today=today)
    if invoice is not None:
        await ledger.use_again(session, contract.tenant_id, paid, [invoice], today)
    return invoice


async def upcoming(session: AsyncSession, contract: Contract, group: OrderGroup) -> InvoiceDraft | None:
    """The invoice that the group will get when its day of issue comes; None when there is nothing to charge.

    Nothing is written. It is for an opening that was ordered long before (rule 2).
    """
    rows = await books.holding_rows(session, contract)
    waiting = await _waiting(session, contract, [row for row in rows if group.holds(row)])
    if not waiting:
        return None
    has_opened = group.opening and await _is_opening_charged(session, rows, waiting)
    return await _draft(session, contract, replace(group, opening=group.opening and not has_opened), waiting)


async def recharge_without(
    session: AsyncSession, contract: Contract, cancelled: Holding, *, reason: str, today: date
) -> None:
    """Void the invoice of a cancelled order, and make it again for the orders that shared it.

    What was paid on it is used for those first, so that they stay paid; the caller calls `ledger.set_off` afterwards.
    Raises `InvoiceNotVoidable` for one that has a fapiao, or whose credit note was paid out.
    """
    await session.flush()
    if cancelled.order_invoice_id is None:
        return
    invoice = await invoices.get(session, contract.tenant_id, cancelled.order_invoice_id)
    if invoice.voided_at is None:
        await _make_again(session, contract, cancelled, invoice, reason=reason, today=today)


async def recharge_cut_at(session: AsyncSession, contract: Contract, ended_before: date, *, today: date) -> None:
    """After a renewal: make the invoices again that charge the month of the old end only up to it (rule 11).

    What the new ones add is due with them, before their orders open; what was paid stays with them. A renewal comes a
    month before the end, so that nothing of that month is open yet. The contract is locked by the caller. Raises
    `InvoiceNotVoidable` for an invoice that has a fapiao, or whose credit note was paid out.
    """
    month = Month.of(ended_before)
    query = (
        select(Holding)
        .join(
            RentCharge,
            (RentCharge.tenant_id == Holding.tenant_id)
            & (RentCharge.contract_id == Holding.contract_id)
            & (RentCharge.item == Holding.item)
            & (RentCharge.number == Holding.number),
        )
        .where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.opened_on.is_(None),
            Holding.lapsed.is_(False),
            RentCharge.month == month.first,
            RentCharge.invoice_id == Holding.order_invoice_id,
            RentCharge.days + func.extract("day", Holding.effective_on) - 1 < month.last.day,
            RentCharge.days < RentCharge.month_days,
        )
        .order_by(Holding.item, Holding.number)
    )
    cut = {row.order_invoice_id: row for row in (await session.execute(query)).scalars()}
    charged = await invoices_by_id(session, contract.tenant_id, cut)
    reason = f"the contract goes on after {ended_before}"
    for invoice_id, invoice in charged.items():
        await _make_again(session, contract, cut[invoice_id], invoice, reason=reason, today=today)
    await ledger.set_off(session, contract.tenant_id, today)


async def withdraw(session: AsyncSession, contract: Contract, invoice: Invoice, *, reason: str) -> None:
    """Void an invoice of orders, which are charged by none then: the caller charges them again, or lets them go.

    The contract is locked by the caller, who calls `ledger.set_off` afterwards. Raises `InvoiceNotVoidable` for one
    that has a fapiao, or whose credit note was paid out.
    """
    await check_voidable(session, invoice)
    await invoices.void(session, invoice, reason=reason)
    await session.execute(
        update(Holding)
        .where(
            Holding.tenant_id == contract.tenant_id,
            Holding.order_invoice_id == invoice.invoice_id,
            Holding.lapsed.is_(False),
        )
        .values(invoiced_on=None, order_invoice_id=None)
        .execution_options(synchronize_session="fetch")
    )


async def _make_again(
    session: AsyncSession, contract: Contract, of_group: Holding, invoice: Invoice, *, reason: str, today: date
) -> None:
    paid = await ledger.paid_with(session, contract.tenant_id, [invoice.invoice_id])
    await withdraw(session, contract, invoice, reason=reason)
    made = await charge(session, contract, OrderGroup.of(of_group), today=today)
    if made is not None:
        await ledger.use_again(session, contract.tenant_id, paid, [made], today)


async def check_voidable(session: AsyncSession, invoice: Invoice) -> None:
    """Refuse to void by a decision what a fapiao was issued for, or what gave credit that is with the tenant."""
    obstacle = await what_keeps(session, invoice)
    if obstacle is not None:
        raise InvoiceNotVoidable(f"The invoice {invoice.number} {obstacle}", field="invoice_id")


async def what_keeps(session: AsyncSession, invoice: Invoice) -> str | None:
    """What an invoice has or was that it cannot be voided with, and what to do first; None where it can."""
    if await has_fapiao(session, invoice.tenant_id, invoice.invoice_id):
        return "has a fapiao: void that first."
    for note in await invoices.notes_on(session, invoice):
        if await has_fapiao(session, invoice.tenant_id, note.invoice_id):
            return f"was credited by {note.number}, which has a fapiao: void that first."
        refunds = await ledger.refunds_from(session, invoice.tenant_id, note.invoice_id)
        if refunds:
            return f"was credited by {note.number}, and that credit was paid out: reverse {', '.join(refunds)} first."
    return None


async def invoices_by_id(
    session: AsyncSession, tenant_id: str, invoice_ids: Iterable[str | None]
) -> dict[str, Invoice]:
    """Invoices of a tenant by their ids."""
    wanted = [each for each in invoice_ids if each is not None]
    if not wanted:
        return {}
    query = select(Invoice).where(Invoice.tenant_id == tenant_id, Invoice.invoice_id.in_(wanted))
    return {each.invoice_id: each for each in (await session.execute(query)).scalars()}


async def _waiting(session: AsyncSession, contract: Contract, ordered: Sequence[Holding]) -> list[Holding]:
    """Those that are neither open nor paid: not charged yet, free of charge until now, or on an unpaid invoice."""
    rows = [row for row in ordered if not row.lapsed and row.opened_on is None]
    known = await invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in rows})
    return [row for row in rows if row.order_invoice_id is None or not ledger.is_settled(known[row.order_invoice_id])]


async def _is_opening_charged(session: AsyncSession, rows: Sequence[Holding], waiting: Sequence[Holding]) -> bool:
    """Whether the opening has been charged and paid before: what joins it now is an addition of the same day.

    What joined it before does not count: the deposit is on the opening's own invoice, which may be unpaid again (C4).
    """
    pending = {(row.item, row.number) for row in waiting}
    others = [row for row in rows if row.opening and not row.lapsed and (row.item, row.number) not in pending]
    if any(row.opened_on is not None for row in others):
        return True
    tenant_id = waiting[0].tenant_id
    known = await invoices_by_id(session, tenant_id, {row.order_invoice_id for row in others})
    return any(invoice.reason == "opening" for invoice in known.values())


async def _draft(
    session: AsyncSession, contract: Contract, group: OrderGroup, waiting: Sequence[Holding]
) -> InvoiceDraft | None:
    holdings = await books.load_holdings(session, contract, since=Month.of(group.effective_on))
    wanted = {(row.item, row.number) for row in waiting}
    ordered = [each for each in holdings if (each.item, each.number) in wanted]
    if group.opening:
        terms = terms_of(contract, contract.opens_on)
        issued_on = max(opening_dates(terms, contract.opens_on)[0].day, *(each.ordered_on for each in ordered))
        seats = counted_seats(holdings, issued_on)
        draft = opening_invoice(terms, ordered, contract.opens_on, seats=seats, ends_on=contract.ends_on)
        return None if draft is None else replace(draft, issued_on=issued_on, due_on=max(draft.due_on, issued_on))
    ordered_on = max(each.ordered_on for each in ordered)
    seats = counted_seats(holdings, ordered_on)
    terms = terms_of(contract, ordered_on)  # priced at the order day, whatever holds when it takes effect (rule 4)
    return addition_invoice(terms, ordered, ordered_on, group.effective_on, seats=seats, ends_on=contract.ends_on)


async def _note(
    session: AsyncSession,
    contract: Contract,
    charged: Sequence[Holding],
    draft: InvoiceDraft | None,
    invoice: Invoice | None,
    *,
    today: date,
) -> None:
    """Keep with the holdings which invoice charges them and the deposit it asks for each."""
    asked: dict[HoldingKey, Decimal] = {} if draft is None else dict(draft.deposits_asked)
    groups: defaultdict[tuple[str, Decimal], list[int]] = defaultdict(list)
    for row in charged:
        groups[(row.item, asked.get(HoldingKey(cast("Item", row.item), row.number), money.ZERO))].append(row.number)
    for (item, deposit), numbers in groups.items():
        await session.execute(
            update(Holding)
            .where(
                Holding.tenant_id == contract.tenant_id,
                Holding.contract_id == contract.contract_id,
                Holding.item == item,
                Holding.number.in_(numbers),
            )
            .values(
                invoiced_on=today if draft is None else draft.issued_on,
                order_invoice_id=None if invoice is None else invoice.invoice_id,
                deposit_asked=deposit,
            )
            .execution_options(synchronize_session="fetch")
        )
