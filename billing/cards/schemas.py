"""Request and response bodies of payments through Stripe. Money is CNY but for what is settled."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from billing.cards.models import CardPayment, CardReturn, Checkout, StripeEvent
from billing.models import Refund
from infra.kit import money
from infra.kit.http import Body, View


class CheckoutView(View):
    """A page to pay on: send the payer's browser to `url` before `expires_at`.

    `state` is `open`, `processing` (paid by a method that takes days), `paid`, `failed` or `expired`.
    """

    checkout_id: str
    tenant_id: str
    invoice_id: str
    amount: str
    currency: str
    url: str
    state: str
    expires_at: datetime
    created_at: datetime


class CardPaymentView(View):
    """What Stripe settled of a payment: in `settled_currency`, with its fee, at `exchange_rate` units for one CNY.

    `fee` and `exchange` (what the exchange has cost) are the same in CNY, as the ledger has them. Null: not yet.
    """

    payment_id: str
    tenant_id: str
    invoice_id: str
    checkout_id: str
    payment_intent_id: str
    charge_id: str
    method: str
    settled_amount: str | None
    settled_fee: str | None
    settled_currency: str | None
    exchange_rate: str | None
    fee: str | None
    exchange: str | None
    currency: str


class NewCardRefund(Body):
    """Free credit of a card payment that goes back to the card, and why."""

    amount: str
    note: str


class CardReturnView(View):
    """Money of a card payment that went back to the payer.

    `kind` is `released` (by finance), `at_stripe` (a refund made there) or `dispute`; `state` is `waiting`, `out` or
    `back` (it failed, or the dispute was won: the money is ours again). `problem` says why Stripe refused it.
    """

    refund_id: str
    tenant_id: str
    payment_id: str
    kind: str
    state: str
    stripe_id: str | None
    stripe_status: str | None
    problem: str | None
    settled_amount: str | None
    settled_fee: str | None
    settled_currency: str | None
    fee: str
    exchange: str
    currency: str
    created_at: datetime


class CardRefundView(View):
    """A refund to the card as it was released."""

    refund_id: str
    payment_id: str
    tenant_id: str
    amount: str
    currency: str
    note: str
    released_by: str
    state: str


class StripeEventView(View):
    """An event as received; `state` is `new`, `applied` or `set_aside` with a `reason` and a `note`."""

    event_id: str
    kind: str
    object_kind: str
    object_id: str
    state: str
    reason: str | None
    note: str | None
    sent_at: datetime
    received_at: datetime
    applied_at: datetime | None
    tenant_id: str | None


class EventReceipt(View):
    """The answer to an event: it is stored; `known` when it had come before."""

    event_id: str
    known: bool


def checkout_view(checkout: Checkout) -> CheckoutView:
    """A checkout as the API shows it."""
    return CheckoutView(
        checkout_id=checkout.checkout_id,
        tenant_id=checkout.tenant_id,
        invoice_id=checkout.invoice_id,
        amount=money.amount_text(checkout.amount),
        currency=money.CURRENCY,
        url=checkout.url,
        state=checkout.state,
        expires_at=checkout.expires_at,
        created_at=checkout.created_at,
    )


def card_payment_view(card: CardPayment) -> CardPaymentView:
    """What was settled, as the API shows it."""
    return CardPaymentView(
        payment_id=card.payment_id,
        tenant_id=card.tenant_id,
        invoice_id=card.invoice_id,
        checkout_id=card.checkout_id,
        payment_intent_id=card.payment_intent_id,
        charge_id=card.charge_id,
        method=card.method,
        settled_amount=_plain(card.settled_amount),
        settled_fee=_plain(card.settled_fee),
        settled_currency=_code(card.settled_currency),
        exchange_rate=_plain(card.exchange_rate),
        fee=None if card.fee is None else money.amount_text(card.fee),
        exchange=None if card.exchange is None else money.amount_text(card.exchange),
        currency=money.CURRENCY,
    )


def card_return_view(found: CardReturn) -> CardReturnView:
    """Money that went back, as the API shows it."""
    return CardReturnView(
        refund_id=found.refund_id,
        tenant_id=found.tenant_id,
        payment_id=found.payment_id,
        kind=found.kind,
        state=found.state,
        stripe_id=found.stripe_id,
        stripe_status=found.stripe_status,
        problem=found.problem,
        settled_amount=_plain(found.settled_amount),
        settled_fee=_plain(found.settled_fee),
        settled_currency=_code(found.settled_currency),
        fee=money.amount_text(found.fee),
        exchange=money.amount_text(found.exchange),
        currency=money.CURRENCY,
        created_at=found.created_at,
    )


def card_refund_view(refund: Refund, found: CardReturn) -> CardRefundView:
    """A released refund as the API shows it."""
    return CardRefundView(
        refund_id=refund.refund_id,
        payment_id=found.payment_id,
        tenant_id=refund.tenant_id,
        amount=money.amount_text(refund.amount),
        currency=money.CURRENCY,
        note=refund.note,
        released_by=refund.released_by,
        state=found.state,
    )


def stripe_event_view(event: StripeEvent) -> StripeEventView:
    """An event as the API shows it, without its body."""
    return StripeEventView(
        event_id=event.event_id,
        kind=event.kind,
        object_kind=event.object_kind,
        object_id=event.object_id,
        state=event.state,
        reason=event.reason,
        note=event.note,
        sent_at=event.sent_at,
        received_at=event.received_at,
        applied_at=event.applied_at,
        tenant_id=event.found_tenant_id,
    )


def _plain(amount: Decimal | None) -> str | None:
    """A number in another currency's places: plain digits without the zeros that the column adds, at least two."""
    if amount is None:
        return None
    whole, _, part = f"{amount.normalize():f}".partition(".")
    return f"{whole}.{part.ljust(2, '0')}"


def _code(currency: str | None) -> str | None:
    return None if currency is None else currency.upper()
