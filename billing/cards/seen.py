"""What Stripe says of its objects, read into plain values; nothing of its library goes further than this and the
gateway.

Amounts of tenants' money are in fen as Stripe counts them; what it settles is in the account's own currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing.rules.minor_units import from_minor

Document = Mapping[str, Any]
"""An object of Stripe's as JSON gives it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a charge, refund or dispute moved on the operator's balance: negative when it left. `fee` is positive."""

    amount: Decimal
    currency: str
    fee: Decimal
    exchange_rate: Decimal | None
    """Units of `currency` for one unit of what the payer was shown; None: no exchange."""


@dataclass(frozen=True, slots=True)
class CheckoutSeen:
    """A Checkout Session."""

    session_id: str
    status: str
    """`open`, `complete` or `expired`."""
    payment_status: str
    """`paid`, `unpaid` or `no_payment_required`."""
    url: str
    expires_at: datetime
    payment_intent_id: str | None


@dataclass(frozen=True, slots=True)
class ChargeSeen:
    """The charge that carried a payment."""

    charge_id: str
    created_at: datetime
    method: str
    """`card`, `alipay`, `wechat_pay` …"""
    settled: Settled | None
    """None while Stripe has not settled it."""


@dataclass(frozen=True, slots=True)
class ReturnSeen:
    """A refund or a dispute: money going back to the payer, in fen of what the payer was shown."""

    stripe_id: str
    kind: str
    """`refund` or `dispute`."""
    amount: int
    currency: str
    status: str
    is_out: bool
    """Whether the money is away from us now."""
    created_at: datetime
    refund_id: str | None
    """Our own refund that this carries out; None: somebody else began it."""
    settled: Settled | None


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """A PaymentIntent with its charge and all that went back of it."""

    payment_intent_id: str
    status: str
    amount_received: int
    currency: str
    tenant_id: str | None
    invoice_id: str | None
    attempt: int | None
    charge: ChargeSeen | None
    returns: Sequence[ReturnSeen]


TENANT, INVOICE, ATTEMPT, REFUND = "seatline_tenant", "seatline_invoice", "seatline_attempt", "seatline_refund"
"""Keys of the metadata that we give our objects at Stripe."""

REFUNDS_UNDER_WAY = frozenset({"pending", "requires_action", "succeeded"})
DISPUTES_OVER = frozenset({"won", "warning_closed", "prevented"})
"""In our favour; put back at another rate, what was taken may not be all there again."""


def moment(seconds: int) -> datetime:
    """A point in time as Stripe writes it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def id_of(value: Any) -> str | None:
    """The id of an object that may be given in full, by its id, or not at all."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) else None


def checkout(document: Document) -> CheckoutSeen:
    """A Checkout Session."""
    return CheckoutSeen(
        session_id=document["id"],
        status=document["status"],
        payment_status=document["payment_status"],
        url=document.get("url") or "",
        expires_at=moment(document["expires_at"]),
        payment_intent_id=id_of(document.get("payment_intent")),
    )


def payment(intent: Document, refunds: Sequence[Document], disputes: Sequence[Document]) -> PaymentSeen:
    """A PaymentIntent whose latest charge, with its balance transaction, came with it."""
    metadata: Document = intent.get("metadata") or {}
    attempt = metadata.get(ATTEMPT)
    charge = intent.get("latest_charge")
    return PaymentSeen(
        payment_intent_id=intent["id"],
        status=intent["status"],
        amount_received=intent["amount_received"],
        currency=intent["currency"],
        tenant_id=metadata.get(TENANT),
        invoice_id=metadata.get(INVOICE),
        attempt=int(attempt) if isinstance(attempt, str) and attempt.isascii() and attempt.isdigit() else None,
        charge=_charge(charge) if isinstance(charge, Mapping) else None,
        returns=[*map(refund, refunds), *map(_dispute, disputes)],
    )


def refund(document: Document) -> ReturnSeen:
    """A refund: the money counts as away from its beginning on, until it has failed or was cancelled."""
    entry = document.get("balance_transaction")
    metadata: Document = document.get("metadata") or {}
    return ReturnSeen(
        stripe_id=document["id"],
        kind="refund",
        amount=document["amount"],
        currency=document["currency"],
        status=document["status"],
        is_out=document["status"] in REFUNDS_UNDER_WAY,
        created_at=moment(document["created"]),
        refund_id=metadata.get(REFUND),
        settled=_settled([entry]) if isinstance(entry, Mapping) else None,
    )


def _charge(document: Document) -> ChargeSeen:
    entry = document.get("balance_transaction")
    details: Document = document.get("payment_method_details") or {}
    return ChargeSeen(
        charge_id=document["id"],
        created_at=moment(document["created"]),
        method=details.get("type") or "unknown",
        settled=_settled([entry]) if isinstance(entry, Mapping) else None,
    )


def _dispute(document: Document) -> ReturnSeen:
    """A dispute: what Stripe has taken off the balance for it and not put back is away; an inquiry takes nothing."""
    settled = _settled(document.get("balance_transactions") or [])
    return ReturnSeen(
        stripe_id=document["id"],
        kind="dispute",
        amount=document["amount"],
        currency=document["currency"],
        status=document["status"],
        is_out=settled is not None and settled.amount < 0 and document["status"] not in DISPUTES_OVER,
        created_at=moment(document["created"]),
        refund_id=None,
        settled=settled,
    )


def _settled(entries: Sequence[Document]) -> Settled | None:
    """Balance transactions of one object added up; they are all in the account's one currency."""
    if not entries:
        return None
    currency = str(entries[0]["currency"])
    rate = entries[0].get("exchange_rate")
    return Settled(
        amount=from_minor(sum(entry["amount"] for entry in entries), currency),
        currency=currency,
        fee=from_minor(sum(entry["fee"] for entry in entries), currency),
        exchange_rate=None if rate is None else Decimal(str(rate)),  # JSON numbers; their text is what was sent
    )
