"""What an order would cost or give back, before anybody confirms it.

The order is placed by the very function that places orders, inside a savepoint that is rolled back. So the preview is
the invoice that would be made, to the fen, and whatever refuses the order refuses its preview.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, contracts, invoices, leases, ledger, order_invoices
from billing.models import Contract, Invoice
from billing.order_invoices import OrderGroup
from billing.rules import book as rules
from billing.rules.book import Item
from billing.rules.lines import InvoiceDraft
from billing.rules.months import Month
from billing.rules.proration import month_rent
from billing.rules.returns import return_credit
from billing.rules.volume import counted_seats, unit_price
from billing.run_preview import PreviewedInvoice, PreviewedLine, previewed
from infra.kit import money
from provisioning import orders
from provisioning.models import Seat, SeatOrder
from provisioning.orders import OrderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPreview:
    """What a return gives back on the monthly invoice dated `credited_on`; CNY, positive."""

    credited_on: date
    rent_credit: Decimal
    deposit: Decimal
    is_estimate: bool
    """The month of the return is not charged yet: its rent is taken at today's price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePreview:
    """An order as it would be; CNY.

    `invoice` is the whole invoice of the order, None where nothing is to be paid; unpaid orders of the same days are on
    it too (rule 4), and the invoices that it `replaces`, by number, would be void. `paid_by_credit` is the part that
    the tenant's credit would pay at once.
    """

    kind: str
    item: str
    quantity: int
    effective_on: date
    invoice: PreviewedInvoice | None = None
    replaces: tuple[str, ...] = ()
    paid_by_credit: Decimal = money.ZERO
    returned: ReturnPreview | None = None

    @property
    def to_pay(self) -> Decimal:
        """What is left to be paid before it opens."""
        return money.ZERO if self.invoice is None else self.invoice.total - self.paid_by_credit


async def preview(session: AsyncSession, *, tenant_id: str, request: OrderRequest) -> PricePreview:
    """What an order would cost or give back; nothing is written.

    Runs under the platform's role. Raises whatever `orders.place_order` raises.
    """
    before = await open_order_invoices(session, tenant_id)
    savepoint = await session.begin_nested()
    try:
        order = await orders.place_order(session, tenant_id=tenant_id, request=request)
        await session.flush()
        return await describe(session, order, unpaid_before=before)
    finally:
        await savepoint.rollback()


async def describe(session: AsyncSession, order: SeatOrder, *, unpaid_before: Sequence[Invoice] = ()) -> PricePreview:
    """An order that was placed a moment ago in this transaction, with what it costs or gives back.

    `unpaid_before`: the invoices of orders that were unpaid before it was placed.
    """
    contract = await contracts.get_contract(session, order.tenant_id, order.contract_id)
    free = PricePreview(kind=order.kind, item=order.item, quantity=order.quantity, effective_on=order.effective_on)
    if order.kind == "return":
        return replace(free, returned=await _returned(session, contract, order))
    invoice = await leases.order_invoice(session, order.tenant_id, order.order_id)
    if invoice is None:
        group = OrderGroup(order.kind == "opening", order.ordered_on, order.effective_on)
        draft = await order_invoices.upcoming(session, contract, group) if group.opening else None
        return free if draft is None else replace(free, invoice=_of_draft(draft))
    for each in unpaid_before:
        await session.refresh(each)
    return replace(
        free,
        invoice=previewed(invoice, await invoices.lines_of(session, invoice)),
        replaces=tuple(each.number for each in unpaid_before if each.voided_at is not None),
        paid_by_credit=invoice.paid,
    )


async def open_order_invoices(session: AsyncSession, tenant_id: str) -> list[Invoice]:
    """The invoices of orders that are not paid, by number; a new order may take their place (rule 4)."""
    query = select(Invoice).where(
        Invoice.tenant_id == tenant_id,
        Invoice.reason.in_(ledger.ORDER_REASONS),
        Invoice.voided_at.is_(None),
        Invoice.paid_on.is_(None),
    )
    return list((await session.execute(query.order_by(Invoice.number))).scalars())


async def _returned(session: AsyncSession, contract: Contract, order: SeatOrder) -> ReturnPreview:
    month = Month.of(order.effective_on)
    held = await books.load_holdings(session, contract, since=month)
    numbers = await _numbers(session, order)
    terms = contracts.terms_of(contract, order.effective_on)
    price = unit_price(terms, cast("Item", order.item), counted_seats(held, order.ordered_on))
    rent, deposit, is_estimate = Fraction(0), money.ZERO, False
    for each in (holding for holding in held if holding.item == order.item and holding.number in numbers):
        charged = each
        if each.charged_for(month) is None:
            is_estimate = True
            charged = _charged(each, month_rent(terms, price, month.first, contract.ends_on))
        rent += return_credit(terms, charged)
        deposit += each.deposit
    return ReturnPreview(
        credited_on=month.following.first, rent_credit=money.fen(rent), deposit=deposit, is_estimate=is_estimate
    )


def _charged(holding: rules.Holding, rent: rules.RentCharge) -> rules.Holding:
    return replace(holding, rent=(*holding.rent, rent))


async def _numbers(session: AsyncSession, order: SeatOrder) -> Collection[int]:
    query = select(Seat.number).where(Seat.tenant_id == order.tenant_id, Seat.seat_id.in_(order.seat_ids))
    return set((await session.execute(query)).scalars())


def _of_draft(draft: InvoiceDraft) -> PreviewedInvoice:
    return PreviewedInvoice(
        reason=draft.reason,
        period=draft.period,
        issued_on=draft.issued_on,
        due_on=draft.due_on,
        total=draft.total,
        tax=draft.tax,
        lines=tuple(
            PreviewedLine(
                line.kind,
                line.item,
                line.quantity,
                line.unit_price,
                line.amount,
                "; ".join(dict.fromkeys(basis.clause for basis in line.bases)),
                " + ".join(basis.formula for basis in line.bases),
            )
            for line in draft.lines
        ),
    )
