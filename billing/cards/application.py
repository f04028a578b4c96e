"""Events applied: the object is read anew from Stripe, then our books are made to agree with it, in one transaction."""

from __future__ import annotations

from billing.cards import events, settlement
from billing.cards.errors import StripeObjectUnknown
from billing.cards.models import StripeEvent
from billing.cards.seen import CheckoutSeen, PaymentSeen
from billing.cards.set_aside import SetAside
from billing.stripe_gateway import StripeGateway
from infra.kit import audit, clock, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal, Unavailable

ACTOR = "stripe"
"""Who acts where money moved at Stripe."""

ABOUT_PAYMENTS = frozenset({"checkout.session", "payment_intent", "charge", "refund", "dispute"})
log = logs.get(__name__)


async def apply_event(database: Database, gateway: StripeGateway, event_id: str) -> None:
    """Apply an event once; what cannot be applied is set aside with a reason, without effect.

    Raises `StripeUnavailable` and `Unavailable`: it is tried again.
    """
    async with database.transaction(Scope.platform()) as session:
        event = await events.find(session, event_id)
    if event.state != "new":
        return
    actor = audit.actor.set(ACTOR)
    try:
        page, payment = await _read(gateway, event)
        async with database.transaction(Scope.platform()) as session:
            tenant_id = await settlement.agree(session, page, payment)
            kept = await events.find(session, event_id, for_update=True)
            kept.state, kept.applied_at, kept.found_tenant_id = "applied", clock.now(), tenant_id
            kept.content = b""
    except SetAside as error:
        await _set_aside(database, event, error.reason, error.note)
    except Unavailable:
        raise
    except Refusal as error:  # the payments' own rules say no; another try would hear the same
        await _set_aside(database, event, error.code, error.detail)
    finally:
        audit.actor.reset(actor)


async def look_again(database: Database, gateway: StripeGateway, *, session_id: str | None, intent: str | None) -> None:
    """Make our books agree with a session or a payment without an event. Raises `SetAside`."""
    actor = audit.actor.set(ACTOR)
    try:
        page = None if session_id is None else await gateway.checkout(session_id)
        intent = intent if page is None else page.payment_intent_id
        payment = None if intent is None else await gateway.payment(intent)
        async with database.transaction(Scope.platform()) as session:
            await settlement.agree(session, page, payment)
    finally:
        audit.actor.reset(actor)


async def _read(gateway: StripeGateway, event: StripeEvent) -> tuple[CheckoutSeen | None, PaymentSeen | None]:
    if event.object_kind not in ABOUT_PAYMENTS:
        raise SetAside("unknown_type", f"Nothing is done for {event.kind}.")
    try:
        page = await gateway.checkout(event.object_id) if event.object_kind == "checkout.session" else None
        intent = event.payment_intent_id if page is None else page.payment_intent_id
        payment = None if intent is None else await gateway.payment(intent)
    except StripeObjectUnknown as error:
        raise SetAside("unknown_object", f"Stripe does not know {event.object_id}: {error.detail}") from None
    if page is None and payment is None:
        raise SetAside("not_ours", f"The {event.object_kind} {event.object_id} belongs to no payment.")
    return page, payment


async def _set_aside(database: Database, event: StripeEvent, reason: str, note: str) -> None:
    log.warning("stripe_event.set_aside", event_id=event.event_id, kind=event.kind, reason=reason)
    async with database.transaction(Scope.platform()) as session:
        kept = await events.find(session, event.event_id, for_update=True)
        if kept.state == "new":
            kept.state, kept.reason, kept.note = "set_aside", reason, note
