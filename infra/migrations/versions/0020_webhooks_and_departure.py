"""Webhooks of tenants; export and erasure."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
DOCUMENT = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    _create_webhooks()
    _create_departure()
    connection = op.get_bind()
    may = {
        "webhook_endpoint": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE, DELETE"),
        "webhook_event": ("SELECT, INSERT", "SELECT, INSERT, DELETE"),
        "webhook_delivery": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE, DELETE"),
        "webhook_attempt": ("SELECT", "SELECT, INSERT, DELETE"),
        "ended_call": ("SELECT", "SELECT, INSERT, UPDATE, DELETE"),
        "tenant_export": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
        "departure": ("SELECT", "SELECT, INSERT, UPDATE"),
    }
    for table, (tenant_may, platform_may) in may.items():
        row_security.protect_tenant_table(connection, table, tenant_may=tenant_may, platform_may=platform_may)
    row_security.allow_erasure(connection)


def _create_webhooks() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", DOCUMENT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("sealed_secret", postgresql.BYTEA(), nullable=False),
        sa.Column("sealed_former_secret", postgresql.BYTEA(), nullable=True),
        sa.Column("former_secret_until", MOMENT, nullable=True),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("resume_at", MOMENT, nullable=True),
        sa.Column("is_slow", sa.Boolean(), nullable=False),
        sa.Column("served_at", MOMENT, nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index(op.f("ix_webhook_endpoint_endpoint_id"), "webhook_endpoint", ["endpoint_id"], unique=False)
    op.create_table(
        "webhook_event",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "event_id", name=op.f("pk_webhook_event")),
    )
    op.create_index(op.f("ix_webhook_event_occurred_at"), "webhook_event", ["occurred_at"], unique=False)
    op.create_table(
        "webhook_delivery",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempts_left", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_problem", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "delivery_id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint(
            "tenant_id", "event_id", "endpoint_id", name=op.f("uq_webhook_delivery_tenant_id_event_id_endpoint_id")
        ),
    )
    op.create_index(op.f("ix_webhook_delivery_delivery_id"), "webhook_delivery", ["delivery_id"], unique=False)
    op.create_index(
        "ix_webhook_delivery_to_send",
        "webhook_delivery",
        ["tenant_id", "endpoint_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'sending')"),
    )
    op.create_table(
        "webhook_attempt",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("duration_milliseconds", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "delivery_id", "number", name=op.f("pk_webhook_attempt")),
    )
    op.create_table(
        "ended_call",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("month", sa.DATE(), nullable=False),
        sa.Column("leg_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "month", "leg_id", name=op.f("pk_ended_call")),
    )


def _create_departure() -> None:
    op.create_table(
        "tenant_export",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("export_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("ready_at", MOMENT, nullable=True),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("contents", DOCUMENT, nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("link_digest", sa.Text(), nullable=True),
        sa.Column("link_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "export_id", name=op.f("pk_tenant_export")),
    )
    op.create_index(op.f("ix_tenant_export_export_id"), "tenant_export", ["export_id"], unique=False)
    op.create_index(op.f("ix_tenant_export_link_digest"), "tenant_export", ["link_digest"], unique=False)
    op.create_table(
        "departure",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("departure_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begun_by", sa.Text(), nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("erase_on", sa.DATE(), nullable=False),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("cancellation_reason", sa.Text(), nullable=True),
        sa.Column("held_because", sa.Text(), nullable=True),
        sa.Column("counts", DOCUMENT, nullable=False),
        sa.Column("erased_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "departure_id", name=op.f("pk_departure")),
    )
    op.create_index(op.f("ix_departure_departure_id"), "departure", ["departure_id"], unique=False)
    op.create_index(
        "uq_departure_one_at_a_time",
        "departure",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
