"""Refunds to the card: finance releases free credit of a card payment, a job sends it through Stripe (C25, rule 11).

The refund is in our books from the release on; the money leaves with the job, which asks Stripe with the refund's id
as its key. Killed before or after the call, it asks again and nothing is sent twice.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import ledger, payments, refunds
from billing.cards import returns, settlement
from billing.cards.errors import NotACardPayment, StripeObjectUnknown, StripeRefused
from billing.cards.models import CardPayment, CardReturn
from billing.errors import CreditTooSmall, RefundRefused
from billing.models import Refund
from billing.rules.reading import Reader
from billing.stripe_gateway import StripeGateway
from infra.kit import audit, clock, jobs, logs, money
from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from tenancy import tenants

SEND = "billing.send_card_refund"
"""The task that sends a released refund (billing/cards/jobs.py)."""

LEAST_AMOUNT = Decimal("0.01")
_READER = Reader(RefundRefused)
log = logs.get(__name__)


async def release(
    session: AsyncSession, *, tenant_id: str | None, payment_id: str, amount: str, note: str
) -> tuple[Refund, CardReturn]:
    """Send free credit of a card payment back to the card (CNY, a decimal string); open invoices are paid first.

    Raises `PaymentNotFound`, `NotACardPayment`, `RefundRefused` naming the value, `CreditTooSmall`.
    """
    sent_back = _READER.decimal(amount, "amount", places=money.FEN, minimum=LEAST_AMOUNT)
    note = refunds.checked_text(note, "note")
    payment = await payments.find(session, payment_id, tenant_id)
    tenant_id = payment.tenant_id
    await tenants.get(session, tenant_id, for_update=True)
    card = await settlement.by_payment(session, tenant_id, payment_id)
    if card is None:
        raise NotACardPayment(f"The payment {payment_id} came by {payment.channel}; refund it by bank transfer.")
    today = clock.today()
    await ledger.set_off(session, tenant_id, today)
    free = await ledger.left_of(session, tenant_id, payment_id)
    if free < sent_back:
        shown = money.amount_text(free)
        raise CreditTooSmall(
            f"{shown} CNY of this payment are free; refund at most that.", field="amount", free_credit=shown
        )
    refund_id = new_id("rfd")
    refund = await refunds.write(
        session,
        refund_id=refund_id,
        tenant_id=tenant_id,
        amount=sent_back,
        channel=payments.STRIPE,
        value_on=today,
        reference=refund_id,
        note=note,
        only_from=payment_id,
    )
    found = CardReturn(
        tenant_id=tenant_id,
        refund_id=refund_id,
        payment_id=payment_id,
        kind="released",
        state="waiting",
        stripe_id=None,
        stripe_status=None,
        problem=None,
        settled_amount=None,
        settled_currency=None,
        settled_fee=None,
        fee=money.ZERO,
        exchange=money.ZERO,
        created_at=clock.now(),
        looked_at=clock.now(),
    )
    session.add(found)
    await session.flush()
    await wake(session, card, refund_id)
    return refund, found


async def wake(session: AsyncSession, card: CardPayment, refund_id: str) -> None:
    """Have a released refund sent; nothing else about the same payment is done at the same time."""
    lock = f"stripe:{card.payment_intent_id}"
    await jobs.defer(session, SEND, lock=lock, tenant_id=card.tenant_id, refund_id=refund_id)


async def send(database: Database, gateway: StripeGateway, *, tenant_id: str, refund_id: str) -> None:
    """Send a released refund that waits; what Stripe refuses is credit again, with its reason kept.

    Raises `StripeUnavailable` where nothing is known: it is tried again.
    """
    async with database.transaction(Scope.platform()) as session:
        found = await _get(session, tenant_id, refund_id)
        if found.state != "waiting":
            return
        refund = await refunds.find(session, refund_id, tenant_id)
        card = await _card_of(session, found)
    try:
        seen = await gateway.refund(refund_id=refund_id, payment_intent_id=card.payment_intent_id, amount=refund.amount)
    except (StripeRefused, StripeObjectUnknown) as error:
        log.error("card_refund.refused", tenant_id=tenant_id, refund_id=refund_id, problem=error.detail)
        async with database.transaction(Scope.platform()) as session:
            await tenants.get(session, tenant_id, for_update=True)
            found = await _get(session, tenant_id, refund_id)
            if found.state == "waiting":
                found.problem = error.detail
                await audit.record(session, tenant_id, "card_refund.refused", refund_id, problem=error.detail)
                await returns.bring_back(session, found, error.detail)
        return
    async with database.transaction(Scope.platform()) as session:
        await tenants.get(session, tenant_id, for_update=True)
        card = await _card_of(session, await _get(session, tenant_id, refund_id))
        await returns.agree(session, card, seen)


async def _get(session: AsyncSession, tenant_id: str, refund_id: str) -> CardReturn:
    query = (
        select(CardReturn)
        .where(CardReturn.tenant_id == tenant_id, CardReturn.refund_id == refund_id)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalar_one()


async def _card_of(session: AsyncSession, found: CardReturn) -> CardPayment:
    card = await settlement.by_payment(session, found.tenant_id, found.payment_id)
    if card is None:
        raise RuntimeError(f"The refund {found.refund_id} has no card payment.")
    return card
