"""Money of a card payment that went back to the payer, and that came back to us: refunds and disputes (C25).

What is gone at Stripe is gone from our books whoever sent it: it is taken from what the payment paid, the newest use
first, as a refund of ours. A refund that fails and a dispute that is won reverse that refund: the money is credit
again and is used at once.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import journal, ledger, payments, refunds
from billing.cards.models import CardPayment, CardReturn
from billing.cards.seen import ReturnSeen
from billing.cards.set_aside import SetAside
from billing.journal import Entry
from billing.models import Allocation, Invoice
from billing.rules import accounts
from billing.rules.minor_units import from_minor, in_cny
from infra.kit import clock, jobs, money
from infra.kit.ids import new_id

CHANNEL = payments.STRIPE
CURRENCY = money.CURRENCY.lower()
KINDS = {"refund": "at_stripe", "dispute": "dispute"}
NOTES = {"refund": "refunded at Stripe", "dispute": "disputed by the payer"}


async def agree(session: AsyncSession, card: CardPayment, seen: ReturnSeen) -> CardReturn | None:
    """Make our books agree with one refund or dispute; None where it has moved nothing yet.

    The caller holds the tenant's lock. Raises `SetAside`.
    """
    if seen.currency != CURRENCY:
        raise SetAside("wrong_currency", f"{seen.stripe_id} is in {seen.currency}, the payment in {CURRENCY}.")
    found = await _find(session, card, seen)
    if found is None:
        if not seen.is_out and (seen.kind == "refund" or seen.settled is None):
            return None  # a dispute that was won before we heard of it has its fee all the same
        found = await _take_back(session, card, seen)
    if found.state == "back":
        if seen.is_out:
            raise SetAside("gone_again", f"{seen.stripe_id} had come back and is gone again; record it by hand.")
        return found
    found.stripe_id, found.stripe_status, found.looked_at = seen.stripe_id, seen.status, clock.now()
    await _settle(session, card, found, seen)
    if seen.is_out:
        found.state = "out"
        await session.flush()
        return found
    await bring_back(session, found, f"{seen.kind} {seen.status}")
    return found


async def bring_back(session: AsyncSession, found: CardReturn, reason: str) -> None:
    """The money did not go, or came back: it is the tenant's credit again and is used at once."""
    found.state = "back"
    await session.flush()
    await refunds.reverse(session, tenant_id=found.tenant_id, refund_id=found.refund_id, reason=reason, by_channel=True)


async def _find(session: AsyncSession, card: CardPayment, seen: ReturnSeen) -> CardReturn | None:
    query = (
        select(CardReturn)
        .where(
            CardReturn.tenant_id == card.tenant_id,
            CardReturn.payment_id == card.payment_id,
            or_(CardReturn.stripe_id == seen.stripe_id, CardReturn.refund_id == seen.refund_id),
        )
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalars().first()


async def _take_back(session: AsyncSession, card: CardPayment, seen: ReturnSeen) -> CardReturn:
    amount = from_minor(seen.amount, seen.currency)
    await _free(session, card, amount)
    refund = await refunds.write(
        session,
        tenant_id=card.tenant_id,
        amount=amount,
        channel=CHANNEL,
        value_on=clock.local_date(seen.created_at),
        reference=seen.stripe_id,
        note=NOTES[seen.kind],
        only_from=card.payment_id,
    )
    found = CardReturn(
        tenant_id=card.tenant_id,
        refund_id=refund.refund_id,
        payment_id=card.payment_id,
        kind=KINDS[seen.kind],
        state="out",
        stripe_id=seen.stripe_id,
        stripe_status=seen.status,
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
    await ledger.set_off(session, card.tenant_id, clock.today())
    lock = f"tenant:{card.tenant_id}"
    await jobs.defer(session, ledger.ADVANCE_DUNNING_OF_TENANT, lock=lock, tenant_id=card.tenant_id)
    return found


async def _free(session: AsyncSession, card: CardPayment, amount: Decimal) -> None:
    """Undo what the payment paid, the newest first, until `amount` of it is free. Raises `SetAside` for too much."""
    query = (
        select(Allocation.invoice_id)
        .join(Invoice, (Invoice.tenant_id == Allocation.tenant_id) & (Invoice.invoice_id == Allocation.invoice_id))
        .where(
            Allocation.tenant_id == card.tenant_id,
            Allocation.source_id == card.payment_id,
            Allocation.undone_at.is_(None),
        )
        .order_by(Allocation.allocation_id.desc())
    )
    paid = list(dict.fromkeys((await session.execute(query)).scalars()))
    while await _left(session, card) < amount:
        if not paid:
            raise SetAside(
                "more_than_is_left",
                f"{money.amount_text(amount)} CNY went back at Stripe, but more of the payment was paid out before.",
            )
        await ledger.undo(session, card.tenant_id, source_id=card.payment_id, invoice_id=paid.pop(0))


async def _left(session: AsyncSession, card: CardPayment) -> Decimal:
    return await ledger.left_of(session, card.tenant_id, card.payment_id)


async def _settle(session: AsyncSession, card: CardPayment, found: CardReturn, seen: ReturnSeen) -> None:
    """Keep what left the operator's balance, and post the fee (a dispute has one) and what another rate has cost.

    Both in CNY at the payment's rate, as far as they are not posted yet.
    """
    if seen.settled is None:
        return
    settled = seen.settled
    found.settled_amount, found.settled_currency, found.settled_fee = settled.amount, settled.currency, settled.fee
    fee = in_cny(settled.fee, settled.currency, card.exchange_rate)
    left = -in_cny(settled.amount, settled.currency, card.exchange_rate)
    if seen.is_out:
        exchange = left - from_minor(seen.amount, seen.currency)
    else:  # a failed refund comes back as it went; a dispute won is put back at the rate of that day
        exchange = left if seen.kind == "dispute" else money.ZERO
    postings = accounts.settled(
        found.refund_id, fee=fee - found.fee, exchange=exchange - found.exchange, channel=CHANNEL
    )
    found.fee, found.exchange = fee, exchange
    await journal.post(  # it may change more than once
        session, card.tenant_id, [Entry(found.refund_id, new_id("fee"), clock.today(), postings)]
    )
    await session.flush()
