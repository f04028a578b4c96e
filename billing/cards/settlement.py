"""A payment as Stripe tells it now becomes ours: recorded once, with what was settled, and what went back of it (C25).

Whatever the event that made us look, the whole payment is read anew and our books are made to agree with it under the
tenant's lock. So events that come twice, late or in the wrong order change nothing.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import journal, payments
from billing.cards import checkouts, returns
from billing.cards.models import CardPayment, Checkout
from billing.cards.seen import CheckoutSeen, PaymentSeen, Settled
from billing.cards.set_aside import SetAside
from billing.journal import Entry
from billing.rules import accounts
from billing.rules.minor_units import from_minor, in_cny, to_fen
from infra.kit import audit, clock, money
from tenancy import tenants

CHANNEL = payments.STRIPE
CURRENCY = money.CURRENCY.lower()
SUCCEEDED = "succeeded"


async def agree(session: AsyncSession, page: CheckoutSeen | None, payment: PaymentSeen | None) -> str:
    """Make our books agree with a session, its payment, or both, as they are now; returns whose they are.

    Raises `SetAside`, and then nothing may be kept of it.
    """
    checkout = await _checkout_of(session, page, payment)
    tenant_id = checkout.tenant_id
    await tenants.get(session, tenant_id, for_update=True)
    await session.refresh(checkout)
    if page is not None:
        checkouts.note_state(checkout, page, None if payment is None else payment.status)
    if payment is not None and payment.status == SUCCEEDED:
        card = await by_intent(session, tenant_id, payment.payment_intent_id)
        if card is None:
            card = await _record(session, checkout, payment)
        checkout.state = "paid"
        card.looked_at = clock.now()
        if payment.charge is not None and payment.charge.settled is not None and card.settled_amount is None:
            await _settle(session, card, payment.charge.settled)
        for each in payment.returns:
            await returns.agree(session, card, each)
    await session.flush()
    return tenant_id


async def by_intent(session: AsyncSession, tenant_id: str, payment_intent_id: str) -> CardPayment | None:
    """The payment that a PaymentIntent has become."""
    query = (
        select(CardPayment)
        .where(CardPayment.tenant_id == tenant_id, CardPayment.payment_intent_id == payment_intent_id)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def by_payment(session: AsyncSession, tenant_id: str, payment_id: str) -> CardPayment | None:
    """What Stripe says of one of our payments; None where it did not come through Stripe."""
    query = select(CardPayment).where(CardPayment.tenant_id == tenant_id, CardPayment.payment_id == payment_id)
    return (await session.execute(query)).scalar_one_or_none()


async def _checkout_of(session: AsyncSession, page: CheckoutSeen | None, payment: PaymentSeen | None) -> Checkout:
    if page is not None:
        checkout = await checkouts.by_session(session, page.session_id)
        if checkout is None:
            raise SetAside("not_ours", f"No checkout of ours has the session {page.session_id}.")
        return checkout
    if payment is None or payment.tenant_id is None or payment.invoice_id is None or payment.attempt is None:
        raise SetAside("not_ours", "The payment bears no invoice of ours; it belongs to somebody else's business.")
    checkout = await checkouts.by_attempt(session, payment.tenant_id, payment.invoice_id, payment.attempt)
    if checkout is None:
        raise SetAside("not_ours", f"There is no checkout {payment.attempt} of an invoice {payment.invoice_id}.")
    return checkout


async def _record(session: AsyncSession, checkout: Checkout, payment: PaymentSeen) -> CardPayment:
    if payment.currency != CURRENCY:
        raise SetAside("wrong_currency", f"It was paid in {payment.currency}, the invoice is in {CURRENCY}.")
    if payment.amount_received != to_fen(checkout.amount):
        received = money.amount_text(from_minor(payment.amount_received, CURRENCY))
        raise SetAside("wrong_amount", f"{received} CNY were paid, {money.amount_text(checkout.amount)} asked for.")
    if payment.charge is None:
        raise SetAside("no_charge", "The payment has succeeded without a charge.")
    recorded = await payments.record_received(
        session,
        tenant_id=checkout.tenant_id,
        amount=checkout.amount,
        value_on=clock.local_date(payment.charge.created_at),
        channel=CHANNEL,
        payer=None,
        reference=payment.payment_intent_id,
    )
    card = CardPayment(
        tenant_id=checkout.tenant_id,
        payment_id=recorded.payment_id,
        checkout_id=checkout.checkout_id,
        invoice_id=checkout.invoice_id,
        payment_intent_id=payment.payment_intent_id,
        charge_id=payment.charge.charge_id,
        method=payment.charge.method,
        settled_amount=None,
        settled_currency=None,
        settled_fee=None,
        exchange_rate=None,
        fee=None,
        exchange=None,
        looked_at=clock.now(),
    )
    session.add(card)
    await session.flush()
    return card


async def _settle(session: AsyncSession, card: CardPayment, settled: Settled) -> None:
    """Keep what reached the operator's balance, and post the fee and what the exchange has cost, in CNY."""
    payment = await payments.find(session, card.payment_id, card.tenant_id)
    card.settled_amount, card.settled_currency = settled.amount, settled.currency
    card.settled_fee, card.exchange_rate = settled.fee, settled.exchange_rate
    fee = in_cny(settled.fee, settled.currency, settled.exchange_rate)
    exchange = payment.amount - in_cny(settled.amount, settled.currency, settled.exchange_rate)
    card.fee, card.exchange = fee, exchange
    postings = accounts.settled(card.payment_id, fee=fee, exchange=exchange, channel=CHANNEL)
    await journal.post(session, card.tenant_id, [Entry(card.payment_id, "settled", payment.value_on, postings)])
    await audit.record(
        session,
        card.tenant_id,
        "card_payment.settled",
        card.payment_id,
        amount=str(settled.amount),
        currency=settled.currency,
        fee=str(settled.fee),
        rate=None if settled.exchange_rate is None else str(settled.exchange_rate),
    )
