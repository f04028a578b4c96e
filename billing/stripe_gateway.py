"""The adapter to Stripe: every call that we make, with a time limit, our idempotency key, and refusals of ours.

Nothing here touches the database, and no transaction that holds a tenant's lock may call it. What Stripe answers is
read into `billing.cards.seen`. The secret key goes to Stripe and nowhere else: its errors are rewritten, not passed on.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import stripe

from billing.cards import seen
from billing.cards.errors import (
    OnlinePaymentNotSetUp,
    StripeCredentialsRefused,
    StripeObjectUnknown,
    StripeRefused,
    StripeUnavailable,
)
from billing.rules.minor_units import to_fen
from infra.kit import logs, money
from infra.kit.settings import Settings

log = logs.get(__name__)
T = TypeVar("T")

CALL_TIMEOUT_SECONDS = 10.0
"""Of one request; together with its repetitions a call takes at most `WHOLE_TIMEOUT_SECONDS`."""
WHOLE_TIMEOUT_SECONDS = 25.0
REPETITIONS = 1
CALLS_AT_ONCE = 6
"""Of one gateway; a Stripe that hangs must not take every connection to the database with it."""
LIST_LIMIT = 100
"""Refunds or disputes of one payment."""

CURRENCY = money.CURRENCY.lower()


class _Http(stripe.HTTPClient):
    """The library's own client over httpx passes bodies in a way that httpx has deprecated; this one does not."""

    name = "httpx"

    def __init__(self) -> None:
        super().__init__()
        self._client = httpx.AsyncClient(timeout=CALL_TIMEOUT_SECONDS)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = await self._client.request(method, url, headers=dict(headers), content=post_data)
        except httpx.HTTPError as error:
            raise stripe.APIConnectionError(type(error).__name__, should_retry=True) from error
        return answer.content, answer.status_code, answer.headers

    async def sleep_async(self, secs: float) -> None:
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        await self._client.aclose()


class StripeGateway:
    """Stripe over one HTTP client; made without a key it refuses everything. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.stripe_secret_key
        self._api_url = settings.stripe_api_url
        self._http: _Http | None = None
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._http is not None:
            await self._http.close_async()
            self._http = None

    async def create_checkout(
        self,
        *,
        tenant_id: str,
        invoice_id: str,
        invoice_number: str,
        amount: Decimal,
        attempt: int,
        return_url: str,
    ) -> seen.CheckoutSeen:
        """A page to pay `amount` CNY on. The same arguments give the same session for a day, however often asked."""
        metadata = {seen.TENANT: tenant_id, seen.INVOICE: invoice_id, seen.ATTEMPT: str(attempt)}
        params: dict[str, Any] = {
            "mode": "payment",
            "client_reference_id": invoice_id,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": CURRENCY,
                        "unit_amount": to_fen(amount),
                        "product_data": {"name": f"Invoice {invoice_number}"},
                    },
                }
            ],
            "adaptive_pricing": {"enabled": False},  # the payer is shown what is owed, in CNY
            "success_url": return_url,
            "cancel_url": return_url,
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
        }
        key = f"checkout-{invoice_id}-{attempt}-{_digest(params)}"
        made = await self._ask(lambda client: client.v1.checkout.sessions.create_async(_typed(params), _keyed(key)))
        return seen.checkout(made.to_dict())

    async def checkout(self, session_id: str) -> seen.CheckoutSeen:
        """A session as it is now. Raises `StripeObjectUnknown`."""
        found = await self._ask(lambda client: client.v1.checkout.sessions.retrieve_async(session_id))
        return seen.checkout(found.to_dict())

    async def expire_checkout(self, session_id: str) -> None:
        """End an open session, so that nobody pays on it any more. Raises `StripeRefused` where it is not open."""
        key = f"expire-{session_id}"
        await self._ask(lambda client: client.v1.checkout.sessions.expire_async(session_id, {}, _keyed(key)))

    async def payment(self, payment_intent_id: str) -> seen.PaymentSeen:
        """A payment as it is now, with its charge, refunds and disputes. Raises `StripeObjectUnknown`."""
        expand = ["latest_charge.balance_transaction"]
        intent = await self._ask(
            lambda client: client.v1.payment_intents.retrieve_async(payment_intent_id, {"expand": expand})
        )
        refunds = await self._ask(
            lambda client: client.v1.refunds.list_async(
                {"payment_intent": payment_intent_id, "limit": LIST_LIMIT, "expand": ["data.balance_transaction"]}
            )
        )
        disputes = await self._ask(
            lambda client: client.v1.disputes.list_async({"payment_intent": payment_intent_id, "limit": LIST_LIMIT})
        )
        return seen.payment(
            intent.to_dict(),
            [each.to_dict() for each in refunds.data],
            [each.to_dict() for each in disputes.data],
        )

    async def refund(self, *, refund_id: str, payment_intent_id: str, amount: Decimal) -> seen.ReturnSeen:
        """Send CNY back to the payer, once for each of our refunds. Raises `StripeRefused`."""
        params = {
            "payment_intent": payment_intent_id,
            "amount": to_fen(amount),
            "metadata": {seen.REFUND: refund_id},
        }
        made = await self._ask(lambda client: client.v1.refunds.create_async(_typed(params), _keyed(refund_id)))
        return seen.refund(made.to_dict())

    async def _ask(self, call: Callable[[stripe.StripeClient], Awaitable[T]]) -> T:
        client = self._client()
        if self._calls.locked():
            raise _unavailable()  # to wait here would keep a connection to the database waiting as well
        try:
            async with asyncio.timeout(WHOLE_TIMEOUT_SECONDS), self._calls:
                return await call(client)
        except TimeoutError:
            raise _unavailable() from None
        except stripe.StripeError as error:
            raise _refusal(error) from None  # its text and trace may show what was sent

    def _client(self) -> stripe.StripeClient:
        if self._key is None:
            raise OnlinePaymentNotSetUp
        if self._http is None:
            self._http = _Http()
        return stripe.StripeClient(
            self._key,
            http_client=self._http,
            max_network_retries=REPETITIONS,
            base_addresses={"api": self._api_url} if self._api_url else {},
        )


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[StripeGateway]:
    """A gateway for one job."""
    gateway = StripeGateway(settings)
    try:
        yield gateway
    finally:
        await gateway.close()


def _typed(params: Mapping[str, Any]) -> Any:
    """Parameters that the library describes by hundreds of typed dictionaries."""
    return params


def _keyed(key: str) -> stripe.RequestOptions:
    return {"idempotency_key": key}


def _digest(params: Mapping[str, Any]) -> str:
    """Stripe refuses a key that comes with other parameters, so that these are part of it."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:24]


def _unavailable() -> StripeUnavailable:
    return StripeUnavailable("The payment provider does not answer. Try again shortly, or pay by bank transfer.")


def _refusal(error: stripe.StripeError) -> Exception:
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        log.error("stripe.credentials_refused", request_id=error.request_id, status=error.http_status)
        return StripeCredentialsRefused("The payment provider does not accept this installation's key.")
    if isinstance(error, stripe.InvalidRequestError) and error.code == "resource_missing":
        return StripeObjectUnknown(f"The payment provider knows no such object ({error.param}).")
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError | stripe.IdempotencyError):
        why = error.code or type(error).__name__
        return StripeRefused(f"The payment provider refused: {why}.", stripe_code=why)
    log.warning("stripe.unavailable", kind=type(error).__name__, status=error.http_status, request_id=error.request_id)
    return _unavailable()
