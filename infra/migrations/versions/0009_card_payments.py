"""Payments through Stripe: checkouts, events as received, refunds and disputes."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

EVERYTHING = "SELECT, INSERT, UPDATE"
TENANT_MAY = {"checkout": "SELECT, INSERT", "card_payment": "SELECT", "card_return": "SELECT"}
"""A tenant's own request makes a checkout; it changes no money."""


def _moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, postgresql.TIMESTAMP(timezone=True), nullable=nullable)


def _words(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def upgrade() -> None:
    op.create_table(
        "checkout",
        *_words("tenant_id", "checkout_id", "invoice_id"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=2), nullable=False),
        *_words("session_id", "url", "state"),
        _moment("expires_at"),
        *_words("created_by"),
        _moment("created_at"),
        _moment("looked_at"),
        sa.PrimaryKeyConstraint("tenant_id", "checkout_id", name=op.f("pk_checkout")),
        sa.UniqueConstraint(
            "tenant_id", "invoice_id", "attempt", name=op.f("uq_checkout_tenant_id_invoice_id_attempt")
        ),
    )
    op.create_index(op.f("ix_checkout_session_id"), "checkout", ["session_id"], unique=False)
    op.create_index(
        "ix_checkout_open",
        "checkout",
        ["looked_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('open', 'processing')"),
    )
    op.create_table(
        "card_payment",
        *_words("tenant_id", "payment_id", "checkout_id", "invoice_id", "payment_intent_id", "charge_id", "method"),
        sa.Column("settled_amount", sa.Numeric(precision=18, scale=3), nullable=True),
        *_words("settled_currency", nullable=True),
        sa.Column("settled_fee", sa.Numeric(precision=18, scale=3), nullable=True),
        sa.Column("exchange_rate", sa.Numeric(precision=20, scale=10), nullable=True),
        sa.Column("fee", sa.Numeric(precision=16, scale=2), nullable=True),
        sa.Column("exchange", sa.Numeric(precision=16, scale=2), nullable=True),
        _moment("looked_at"),
        sa.PrimaryKeyConstraint("tenant_id", "payment_id", name=op.f("pk_card_payment")),
        sa.UniqueConstraint("tenant_id", "payment_intent_id", name=op.f("uq_card_payment_tenant_id_payment_intent_id")),
    )
    op.create_index(
        "ix_card_payment_not_settled",
        "card_payment",
        ["looked_at"],
        unique=False,
        postgresql_where=sa.text("settled_amount IS NULL"),
    )
    op.create_table(
        "card_return",
        *_words("tenant_id", "refund_id", "payment_id", "kind", "state"),
        *_words("stripe_id", "stripe_status", "problem", nullable=True),
        sa.Column("settled_amount", sa.Numeric(precision=18, scale=3), nullable=True),
        *_words("settled_currency", nullable=True),
        sa.Column("settled_fee", sa.Numeric(precision=18, scale=3), nullable=True),
        sa.Column("fee", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("exchange", sa.Numeric(precision=16, scale=2), nullable=False),
        _moment("created_at"),
        _moment("looked_at"),
        sa.PrimaryKeyConstraint("tenant_id", "refund_id", name=op.f("pk_card_return")),
        sa.UniqueConstraint("tenant_id", "stripe_id", name=op.f("uq_card_return_tenant_id_stripe_id")),
    )
    op.create_index(
        op.f("ix_card_return_tenant_id_card_return_payment_id"),
        "card_return",
        ["tenant_id", "payment_id"],
        unique=False,
    )
    op.create_index(
        "ix_card_return_waiting",
        "card_return",
        ["looked_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "stripe_event",
        *_words("event_id", "kind", "object_kind", "object_id"),
        *_words("payment_intent_id", nullable=True),
        sa.Column("content", postgresql.BYTEA(), nullable=False),
        _moment("sent_at"),
        _moment("received_at"),
        _moment("woken_at"),
        *_words("state"),
        *_words("reason", "note", nullable=True),
        _moment("applied_at", nullable=True),
        *_words("found_tenant_id", nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_stripe_event")),
    )
    op.create_index(
        op.f("ix_stripe_event_state_stripe_event_event_id"), "stripe_event", ["state", "event_id"], unique=False
    )
    op.create_index(
        "ix_stripe_event_new",
        "stripe_event",
        ["woken_at"],
        unique=False,
        postgresql_where=sa.text("state = 'new'"),
    )
    for table, tenant_may in TENANT_MAY.items():
        row_security.protect_tenant_table(op.get_bind(), table, platform_may=EVERYTHING, tenant_may=tenant_may)
    row_security.grant_global_table(op.get_bind(), "stripe_event")
