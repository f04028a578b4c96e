"""Checkouts: a page at Stripe on which a tenant pays what is open of one invoice (C25).

Stripe is asked before anything is locked or written, with a key made from the invoice, the amount and the attempt.
Killed at any point, the next click asks with the same key and gets the same page; a page whose row was never written
was never shown to anybody, and ends by itself within a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices
from billing.cards.errors import AmountNotPayableOnline, InvoiceNotPayable, StripeUnavailable
from billing.cards.models import Checkout
from billing.cards.seen import CheckoutSeen
from billing.models import Invoice
from billing.stripe_gateway import StripeGateway
from infra.kit import audit, clock, money
from infra.kit.ids import new_id

LEAST_AMOUNT, GREATEST_AMOUNT = Decimal("4.00"), Decimal("999999.99")
"""What Stripe takes as one payment in CNY: about half a US dollar, and eight digits."""

LEAST_TIME_LEFT = timedelta(minutes=5)
"""A page that ends sooner is not handed out again."""

CLASHES = 3
"""How often two clicks at once, with a payment between them, may get in each other's way."""

UNDER_WAY = ("open", "processing")


async def open_checkout(
    session: AsyncSession, gateway: StripeGateway, *, tenant_id: str | None, invoice_id: str, return_url: str
) -> Checkout:
    """The page on which what is open of an invoice can be paid; the same one while that amount is open.

    Raises `InvoiceNotFound`, `InvoiceNotPayable`, `AmountNotPayableOnline`, and what the gateway refuses.
    """
    for _ in range(CLASHES):
        invoice = await invoices.find(session, invoice_id, tenant_id)
        amount = _payable(invoice)
        known = await of_invoice(session, invoice)
        running = next((each for each in known if _is_usable(each, amount)), None)
        if running is not None:
            return running
        attempt = 1 + max((each.attempt for each in known), default=0)
        made = await gateway.create_checkout(
            tenant_id=invoice.tenant_id,
            invoice_id=invoice_id,
            invoice_number=invoice.number,
            amount=amount,
            attempt=attempt,
            return_url=return_url,
        )
        checkout = await _keep(session, invoice, made, amount=amount, attempt=attempt)
        if checkout is not None:
            return checkout
    raise StripeUnavailable("The invoice is being paid or changed at this moment. Try again shortly.")


async def of_invoice(session: AsyncSession, invoice: Invoice) -> Sequence[Checkout]:
    """The checkouts of an invoice, the newest first."""
    query = (
        select(Checkout)
        .where(Checkout.tenant_id == invoice.tenant_id, Checkout.invoice_id == invoice.invoice_id)
        .order_by(Checkout.attempt.desc())
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalars().all()


async def by_session(session: AsyncSession, session_id: str) -> Checkout | None:
    """The checkout of one of Stripe's sessions, whoever's it is."""
    query = select(Checkout).where(Checkout.session_id == session_id).execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one_or_none()


async def by_attempt(session: AsyncSession, tenant_id: str, invoice_id: str, attempt: int) -> Checkout | None:
    """The checkout that a payment's metadata names."""
    query = (
        select(Checkout)
        .where(Checkout.tenant_id == tenant_id, Checkout.invoice_id == invoice_id, Checkout.attempt == attempt)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalar_one_or_none()


def note_state(checkout: Checkout, seen: CheckoutSeen, payment_status: str | None) -> None:
    """Take over what Stripe says of a session; `payment_status` is that of its payment, where there is one.

    What is paid stays paid.
    """
    checkout.looked_at = clock.now()
    if checkout.state == "paid":
        return
    if seen.status == "expired":
        checkout.state = "expired"
    elif seen.status == "complete" and seen.payment_status == "paid":
        checkout.state = "paid"
    elif seen.status == "complete":
        checkout.state = "processing" if payment_status in {"processing", "succeeded"} else "failed"
    else:
        checkout.state = "open"


def is_obsolete(checkout: Checkout, invoice: Invoice) -> bool:
    """Whether nobody should pay on it any more: the invoice is settled, void, or another amount is open."""
    return invoice.voided_at is not None or invoice.total - invoice.paid != checkout.amount


def _payable(invoice: Invoice) -> Decimal:
    amount = invoice.total - invoice.paid
    if invoice.voided_at is not None or amount <= 0:
        what = "void" if invoice.voided_at is not None else "settled"
        raise InvoiceNotPayable(f"The invoice {invoice.number} is {what}; there is nothing to pay.", field="invoice_id")
    if not LEAST_AMOUNT <= amount <= GREATEST_AMOUNT:
        raise AmountNotPayableOnline(
            f"{money.amount_text(amount)} CNY are open; {LEAST_AMOUNT} to {GREATEST_AMOUNT} can be paid online. "
            "Pay by bank transfer.",
            field="invoice_id",
        )
    return amount


def _is_usable(checkout: Checkout, amount: Decimal) -> bool:
    if checkout.amount != amount:
        return False
    if checkout.state == "processing":
        return True  # its money is on its way; a second page would have it paid twice
    return checkout.state == "open" and checkout.expires_at > clock.now() + LEAST_TIME_LEFT


async def _keep(
    session: AsyncSession, invoice: Invoice, made: CheckoutSeen, *, amount: Decimal, attempt: int
) -> Checkout | None:
    """Write the row, or find the one that another click has written for the same page; None: for another page."""
    now = clock.now()
    claim = (
        insert(Checkout)
        .values(
            tenant_id=invoice.tenant_id,
            checkout_id=new_id("chk"),
            invoice_id=invoice.invoice_id,
            attempt=attempt,
            amount=amount,
            session_id=made.session_id,
            url=made.url,
            state="open",
            expires_at=made.expires_at,
            created_by=audit.actor.get(),
            created_at=now,
            looked_at=now,
        )
        .on_conflict_do_nothing()
        .returning(Checkout.checkout_id)
    )
    claimed = (await session.execute(claim)).scalar_one_or_none()
    checkout = await by_attempt(session, invoice.tenant_id, invoice.invoice_id, attempt)
    if claimed is not None:
        await audit.record(
            session,
            invoice.tenant_id,
            "checkout.opened",
            claimed,
            invoice_id=invoice.invoice_id,
            amount=money.amount_text(amount),
        )
    return checkout if checkout is not None and checkout.session_id == made.session_id else None
