"""What is looked at again without being told: events may be lost, jobs may have given up, invoices are paid otherwise.

Open checkouts of invoices that are settled, void or changed are ended, so that nobody pays on them; those that no event
has come for are read anew, and so are payments that were not settled yet. Refunds and events that wait are woken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import or_, select

from billing.cards import application, checkouts, events, releases, settlement
from billing.cards.errors import StripeRefused, StripeUnavailable
from billing.cards.models import CardPayment, CardReturn, Checkout, StripeEvent
from billing.cards.set_aside import SetAside
from billing.models import Invoice
from billing.stripe_gateway import StripeGateway
from infra.kit import clock, logs
from infra.kit.database import Database, Scope

LOOK_AFTER = timedelta(minutes=10)
SETTLES_WITHIN = timedelta(days=14)
"""A payment that Stripe has not settled by then is left to its events."""

LIMIT_OBJECTS = 200
"""Of each kind, in one run; the next run takes the next."""

log = logs.get(__name__)
Look = Callable[[], Awaitable[None]]


async def tend(database: Database, gateway: StripeGateway) -> Sequence[str]:
    """Look at everything that is due once; returns what failed, which has stopped nothing else."""
    now = clock.now()
    failed: list[str] = []
    for name, look in [
        *await _checkouts_due(database, gateway, now),
        *await _payments_due(database, gateway, now),
    ]:
        try:
            await look()
        except StripeUnavailable:  # nor would it answer for the others
            raise
        except Exception:  # the others are not to wait for this one
            log.exception("card_payments.not_tended", object_id=name)
            failed.append(name)
    await _wake_what_waits(database, now)
    return failed


async def _checkouts_due(database: Database, gateway: StripeGateway, now: datetime) -> list[tuple[str, Look]]:
    query = (
        select(Checkout, Invoice)
        .join(Invoice, (Invoice.tenant_id == Checkout.tenant_id) & (Invoice.invoice_id == Checkout.invoice_id))
        .where(
            Checkout.state.in_(checkouts.UNDER_WAY),
            or_(
                Checkout.looked_at < now - LOOK_AFTER,
                (Checkout.state == "open")
                & (Invoice.voided_at.is_not(None) | (Invoice.total - Invoice.paid != Checkout.amount)),
            ),
        )
        .order_by(Checkout.looked_at)
        .limit(LIMIT_OBJECTS)
    )
    async with database.transaction(Scope.platform()) as session:
        rows = (await session.execute(query)).all()
    return [
        (checkout.checkout_id, partial(_look_at_checkout, database, gateway, checkout, invoice))
        for checkout, invoice in rows
    ]


async def _look_at_checkout(database: Database, gateway: StripeGateway, checkout: Checkout, invoice: Invoice) -> None:
    if checkout.state == "open" and checkouts.is_obsolete(checkout, invoice):
        try:
            await gateway.expire_checkout(checkout.session_id)
        except StripeRefused:  # it is paid or has ended by itself: what it is now is read next
            log.info("checkout.not_open", checkout_id=checkout.checkout_id)
    try:
        await application.look_again(database, gateway, session_id=checkout.session_id, intent=None)
    except SetAside as error:  # finance has its event to look at; reading it again would give the same
        log.warning("checkout.set_aside", checkout_id=checkout.checkout_id, reason=error.reason)
        async with database.transaction(Scope.platform()) as session:
            kept = await checkouts.by_session(session, checkout.session_id)
            if kept is not None:
                kept.state, kept.looked_at = "failed", clock.now()


async def _payments_due(database: Database, gateway: StripeGateway, now: datetime) -> list[tuple[str, Look]]:
    query = (
        select(CardPayment)
        .join(
            Checkout, (Checkout.tenant_id == CardPayment.tenant_id) & (Checkout.checkout_id == CardPayment.checkout_id)
        )
        .where(
            CardPayment.settled_amount.is_(None),
            CardPayment.looked_at < now - LOOK_AFTER,
            Checkout.created_at > now - SETTLES_WITHIN,
        )
        .order_by(CardPayment.looked_at)
        .limit(LIMIT_OBJECTS)
    )
    async with database.transaction(Scope.platform()) as session:
        rows = (await session.execute(query)).scalars().all()
    return [
        (
            card.payment_id,
            partial(application.look_again, database, gateway, session_id=None, intent=card.payment_intent_id),
        )
        for card in rows
    ]


async def _wake_what_waits(database: Database, now: datetime) -> None:
    """Defer again what a job has given up: its tries end within minutes, a Stripe that is away may take hours."""
    waiting = (
        select(CardReturn)
        .where(CardReturn.state == "waiting", CardReturn.looked_at < now - LOOK_AFTER)
        .order_by(CardReturn.looked_at)
        .limit(LIMIT_OBJECTS)
    )
    unapplied = (
        select(StripeEvent)
        .where(StripeEvent.state == "new", StripeEvent.woken_at < now - LOOK_AFTER)
        .order_by(StripeEvent.woken_at)
        .limit(LIMIT_OBJECTS)
    )
    async with database.transaction(Scope.platform()) as session:
        for each in (await session.execute(waiting)).scalars().all():
            card = await settlement.by_payment(session, each.tenant_id, each.payment_id)
            each.looked_at = now
            if card is not None:
                await releases.wake(session, card, each.refund_id)
        for event in (await session.execute(unapplied)).scalars().all():
            event.woken_at = now
            await events.wake(session, event.event_id, event.payment_intent_id or event.object_id)
