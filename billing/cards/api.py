"""HTTP for payments through Stripe: checkouts, what was settled, refunds to the card, and the webhook."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from billing.cards import checkouts, events, releases
from billing.cards.errors import OnlinePaymentNotSetUp
from billing.cards.models import CardPayment, CardReturn, Checkout, StripeEvent
from billing.cards.schemas import (
    CardPaymentView,
    CardRefundView,
    CardReturnView,
    CheckoutView,
    EventReceipt,
    NewCardRefund,
    StripeEventView,
    card_payment_view,
    card_refund_view,
    card_return_view,
    checkout_view,
    stripe_event_view,
)
from billing.stripe_gateway import StripeGateway
from infra.kit.database import Database, Scope
from infra.kit.http import DEFAULT_PAGE, PUBLIC, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.settings import Settings

TAGS = ["Online payments"]
SIGNATURE = "stripe-signature"
EventState = Annotated[str | None, QueryParameter(name="state", description="`new`, `applied` or `set_aside`")]


@post(
    "/v1/invoices/{invoice_id:str}/checkout",
    permission="checkouts:write",
    tags=TAGS,
    operation_id="OpenCheckout",
    status_code=HTTP_200_OK,
)
async def open_checkout(
    invoice_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    stripe_gateway: NamedDependency[StripeGateway],
    settings: NamedDependency[Settings],
) -> CheckoutView:
    """A page on which what is open of an invoice can be paid by card or wallet; the same one while it is open."""
    checkout = await checkouts.open_checkout(
        session,
        stripe_gateway,
        tenant_id=principal.tenant_id,
        invoice_id=invoice_id,
        return_url=settings.stripe_return_url or settings.public_url,
    )
    return checkout_view(checkout)


@get("/v1/checkouts", permission="invoices:read", tags=TAGS, operation_id="ListCheckouts")
async def list_checkouts(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[CheckoutView]:
    """Checkouts, newest first."""
    query = principal.narrowed(select(Checkout), Checkout.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Checkout.checkout_id,), limit=limit, after=after)
    return Page(items=[checkout_view(row) for row in rows], next=following)


@get("/v1/card-payments", permission="payments:read", tags=TAGS, operation_id="ListCardPayments")
async def list_card_payments(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[CardPaymentView]:
    """What Stripe settled of each payment: amount, currency, fee and rate; newest first."""
    query = principal.narrowed(select(CardPayment), CardPayment.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(CardPayment.payment_id,), limit=limit, after=after)
    return Page(items=[card_payment_view(row) for row in rows], next=following)


@get("/v1/card-returns", permission="payments:read", tags=TAGS, operation_id="ListCardReturns")
async def list_card_returns(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[CardReturnView]:
    """Money that went back to payers: refunds by card and disputes; each is a refund under the same id."""
    query = principal.narrowed(select(CardReturn), CardReturn.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(CardReturn.refund_id,), limit=limit, after=after)
    return Page(items=[card_return_view(row) for row in rows], next=following)


@post(
    "/v1/payments/{payment_id:str}/card-refund",
    permission="refunds:write",
    tags=TAGS,
    operation_id="ReleaseCardRefund",
    status_code=HTTP_201_CREATED,
)
async def release_card_refund(
    payment_id: FromPath[str],
    data: JSONBody[NewCardRefund],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> CardRefundView:
    """Send free credit of a card payment back to the card; the caller is kept as who released it."""
    if settings.stripe_secret_key is None:
        raise OnlinePaymentNotSetUp
    refund, found = await releases.release(
        session, tenant_id=principal.tenant_id, payment_id=payment_id, amount=data.amount, note=data.note
    )
    return card_refund_view(refund, found)


@get("/v1/stripe/events", permission="stripe_events:read", tags=TAGS, operation_id="ListStripeEvents")
async def list_stripe_events(
    *,
    session: NamedDependency[AsyncSession],
    event_state: EventState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[StripeEventView]:
    """Events as received; `state=set_aside` are those that a person should look at."""
    query = events.wanted(event_state).options(defer(StripeEvent.content, raiseload=True))
    rows, following = await fetch_page(session, query, keys=(StripeEvent.event_id,), limit=limit, after=after)
    return Page(items=[stripe_event_view(row) for row in rows], next=following)


@post(
    "/v1/stripe/events/{event_id:str}/retry",
    permission="stripe_events:write",
    tags=TAGS,
    operation_id="RetryStripeEvent",
    status_code=HTTP_200_OK,
)
async def retry_stripe_event(event_id: FromPath[str], session: NamedDependency[AsyncSession]) -> StripeEventView:
    """Try an event again that was set aside, after its cause is gone."""
    return stripe_event_view(await events.retry(session, event_id))


@post(
    "/v1/stripe/webhooks",
    permission=PUBLIC,
    tags=TAGS,
    operation_id="ReceiveStripeEvent",
    status_code=HTTP_200_OK,
)
async def receive_stripe_event(
    request: Request[Any, Any, Any], database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> EventReceipt:
    """What Stripe calls: no token, but signed (`Stripe-Signature`). Stored once, then applied by a job.

    An event that came before is answered the same and changes nothing.
    """
    if settings.stripe_webhook_secret is None:
        raise OnlinePaymentNotSetUp
    body = await request.body()
    events.check_signature(body, request.headers.get(SIGNATURE), settings.stripe_webhook_secret)
    async with database.transaction(Scope.platform()) as session:
        received = await events.receive(session, body)
    return EventReceipt(event_id=received.event_id, known=received.known)


ROUTES = [
    open_checkout,
    list_checkouts,
    list_card_payments,
    list_card_returns,
    release_card_refund,
    list_stripe_events,
    retry_stripe_event,
    receive_stripe_event,
]
