"""The objects that the stand-in answers with: Stripe's own shapes, reduced to what is used."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from infra.kit import clock

Document = dict[str, Any]
SESSION_LIFETIME_SECONDS = 24 * 3600
_numbers = itertools.count(1)


def new_name(prefix: str) -> str:
    """A name as Stripe makes them: `pi_` and letters that nobody can guess."""
    return f"{prefix}_standin{next(_numbers):06d}{secrets.token_hex(6)}"


def now() -> int:
    """The present moment in whole seconds."""
    return int(clock.now().timestamp())


def session(params: Mapping[str, Any], *, page_url: str) -> Document:
    """A Checkout Session that waits to be paid; its PaymentIntent is made when somebody pays."""
    item = params["line_items"][0]
    price = item["price_data"]
    total = int(price["unit_amount"]) * int(item.get("quantity", 1))
    name = new_name("cs_test")
    return {
        "id": name,
        "object": "checkout.session",
        "amount_subtotal": total,
        "amount_total": total,
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now(),
        "currency": price["currency"],
        "expires_at": now() + SESSION_LIFETIME_SECONDS,
        "livemode": False,
        "metadata": dict(params.get("metadata", {})),
        "mode": params["mode"],
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "status": "open",
        "success_url": params.get("success_url"),
        "url": f"{page_url}/pay/{name}",
    }


def payment_intent(*, amount: int, currency: str, metadata: Mapping[str, str]) -> Document:
    """A PaymentIntent that nobody has paid yet."""
    return {
        "id": new_name("pi"),
        "object": "payment_intent",
        "amount": amount,
        "amount_received": 0,
        "capture_method": "automatic",
        "created": now(),
        "currency": currency,
        "latest_charge": None,
        "livemode": False,
        "metadata": dict(metadata),
        "status": "requires_payment_method",
    }


def charge(intent: Document, *, method: str) -> Document:
    """A charge that has succeeded."""
    return {
        "id": new_name("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "captured": True,
        "created": now(),
        "currency": intent["currency"],
        "disputed": False,
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method_details": {"type": method, method: {}},
        "refunded": False,
        "status": "succeeded",
    }


def balance_transaction(
    source: str, *, kind: str, amount: int, fee: int, currency: str, exchange_rate: float | None
) -> Document:
    """What moved on the account's balance, in its own currency; `amount` is negative when it left."""
    return {
        "id": new_name("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now(),
        "created": now(),
        "currency": currency,
        "exchange_rate": exchange_rate,
        "fee": fee,
        "fee_details": [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source,
        "status": "available",
        "type": kind,
    }


def refund(of: Document, *, amount: int, metadata: Mapping[str, str]) -> Document:
    """A refund of a charge."""
    return {
        "id": new_name("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": of["id"],
        "created": now(),
        "currency": of["currency"],
        "metadata": dict(metadata),
        "payment_intent": of["payment_intent"],
        "reason": None,
        "status": "succeeded",
    }


def dispute(of: Document, *, amount: int, status: str) -> Document:
    """A payer's bank asks for the money of a charge back."""
    return {
        "id": new_name("dp"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": of["id"],
        "created": now(),
        "currency": of["currency"],
        "livemode": False,
        "metadata": {},
        "payment_intent": of["payment_intent"],
        "reason": "fraudulent",
        "status": status,
    }


def event(kind: str, about: Mapping[str, Any]) -> Document:
    """What is sent to the webhook: the object as it is now."""
    return {
        "id": new_name("evt"),
        "object": "event",
        "api_version": None,
        "created": now(),
        "data": {"object": dict(about)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def page(items: Sequence[Document], url: str) -> Document:
    """A list."""
    return {"object": "list", "data": list(items), "has_more": False, "url": url}


def error(kind: str, message: str, *, code: str | None = None, param: str | None = None) -> Document:
    """What stands in the body of a refusal."""
    named = {"code": code, "param": param}
    return {"error": {"type": kind, "message": message} | {name: text for name, text in named.items() if text}}
