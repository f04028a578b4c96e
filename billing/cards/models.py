"""Tables of payments through Stripe. What belongs to a tenant is the tenant's; events are the platform's alone."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Checkout(Base):
    """A page at Stripe on which one invoice's open amount can be paid."""

    __tablename__ = "checkout"
    __table_args__ = (
        UniqueConstraint("tenant_id", "invoice_id", "attempt"),
        Index(None, "session_id"),
        Index("ix_checkout_open", "looked_at", postgresql_where=text("state IN ('open', 'processing')")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    checkout_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str]
    attempt: Mapped[int]
    """1, 2, 3 … for an invoice; a page is made anew when the last one has ended or what is open has changed."""
    amount: Mapped[Decimal]
    """CNY."""
    session_id: Mapped[str]
    """Stripe's name for it."""
    url: Mapped[str]
    state: Mapped[str]
    """`open`, `processing` (paid by a method that takes days), `paid`, `failed` or `expired`."""
    expires_at: Mapped[datetime]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    looked_at: Mapped[datetime]
    """When it was last read from Stripe."""


class CardPayment(Base):
    """What Stripe says of one of our payments: what was settled, in which currency, at which rate and fee (C25)."""

    __tablename__ = "card_payment"
    __table_args__ = (
        UniqueConstraint("tenant_id", "payment_intent_id"),
        Index("ix_card_payment_not_settled", "looked_at", postgresql_where=text("settled_amount IS NULL")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[str] = mapped_column(primary_key=True)
    checkout_id: Mapped[str]
    invoice_id: Mapped[str]
    """The invoice it was meant for; what it has paid is in its allocations."""
    payment_intent_id: Mapped[str]
    charge_id: Mapped[str]
    method: Mapped[str]
    """`card`, `alipay`, `wechat_pay` …"""
    settled_amount: Mapped[Decimal | None] = mapped_column(Numeric(18, 3))
    """In `settled_currency`, before the fee; None while Stripe has not settled it."""
    settled_currency: Mapped[str | None]
    settled_fee: Mapped[Decimal | None] = mapped_column(Numeric(18, 3))
    exchange_rate: Mapped[Decimal | None] = mapped_column(Numeric(20, 10))
    """Units of `settled_currency` for one CNY; None: no exchange."""
    fee: Mapped[Decimal | None]
    """CNY, at that rate."""
    exchange: Mapped[Decimal | None]
    """CNY that the exchange has cost (negative: brought), at that rate."""
    looked_at: Mapped[datetime]


class CardReturn(Base):
    """Money of a card payment that went back to the payer; it is a refund of ours as well, under the same id."""

    __tablename__ = "card_return"
    __table_args__ = (
        UniqueConstraint("tenant_id", "stripe_id"),
        Index(None, "tenant_id", "payment_id"),
        Index("ix_card_return_waiting", "looked_at", postgresql_where=text("state = 'waiting'")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    refund_id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[str]
    kind: Mapped[str]
    """`released` (by finance here), `at_stripe` (a refund made there) or `dispute`."""
    state: Mapped[str]
    """`waiting` (not sent yet), `out` (with the payer), `back` (failed or won: the money is ours again)."""
    stripe_id: Mapped[str | None]
    stripe_status: Mapped[str | None]
    """Stripe's own word."""
    problem: Mapped[str | None]
    """Why Stripe refused it."""
    settled_amount: Mapped[Decimal | None] = mapped_column(Numeric(18, 3))
    settled_currency: Mapped[str | None]
    settled_fee: Mapped[Decimal | None] = mapped_column(Numeric(18, 3))
    fee: Mapped[Decimal]
    """CNY posted so far, at the payment's rate."""
    exchange: Mapped[Decimal]
    """CNY posted so far: what going back at another rate than the payment's has cost (negative: brought)."""
    created_at: Mapped[datetime]
    looked_at: Mapped[datetime]


class StripeEvent(Base):
    """An event as Stripe sent it, once; what became of it."""

    __tablename__ = "stripe_event"
    __table_args__ = (
        Index(None, "state", "event_id"),
        Index("ix_stripe_event_new", "woken_at", postgresql_where=text("state = 'new'")),
    )

    event_id: Mapped[str] = mapped_column(primary_key=True)
    """Stripe's own."""
    kind: Mapped[str]
    """Such as `checkout.session.completed`."""
    object_kind: Mapped[str]
    object_id: Mapped[str]
    payment_intent_id: Mapped[str | None]
    """The payment that the object belongs to, where it says so."""
    content: Mapped[bytes]
    """The body as it came, empty once it is applied: it may hold the payer's name and address (C26)."""
    sent_at: Mapped[datetime]
    received_at: Mapped[datetime]
    woken_at: Mapped[datetime]
    """When a job was last started for it."""
    state: Mapped[str]
    """`new`, `applied` or `set_aside`."""
    reason: Mapped[str | None]
    """Why it was set aside, as a code."""
    note: Mapped[str | None]
    """The same in words."""
    applied_at: Mapped[datetime | None]
    found_tenant_id: Mapped[str | None]
