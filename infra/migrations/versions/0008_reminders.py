"""Reminders sent by mail, the addresses they go to, and promises to pay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ONCE = op.f("uq_reminder_tenant_id_subject_id_kind_day_recipient")


def upgrade() -> None:
    op.create_table(
        "billing_contact",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("topics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "address", name=op.f("pk_billing_contact")),
    )
    op.create_table(
        "reminder",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("reminder_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.DATE(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("unknown_outcomes", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("headline", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("last_problem", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sent_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "reminder_id", name=op.f("pk_reminder")),
        sa.UniqueConstraint("tenant_id", "subject_id", "kind", "day", "recipient", name=ONCE),
    )
    op.create_index(op.f("ix_reminder_reminder_id"), "reminder", ["reminder_id"], unique=False)
    op.create_index(op.f("ix_reminder_day"), "reminder", ["day"], unique=False)
    op.create_index(
        "ix_reminder_to_send",
        "reminder",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'sending')"),
    )
    op.create_table(
        "payment_promise",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("promise_id", sa.Text(), nullable=False),
        sa.Column("until", sa.DATE(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("promised_by", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("withdrawn_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("withdrawal_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "promise_id", name=op.f("pk_payment_promise")),
    )
    op.create_index(op.f("ix_payment_promise_promise_id"), "payment_promise", ["promise_id"], unique=False)
    connection = op.get_bind()
    row_security.protect_tenant_table(
        connection,
        "billing_contact",
        platform_may="SELECT, INSERT, UPDATE, DELETE",
        tenant_may="SELECT, INSERT, UPDATE, DELETE",
    )
    row_security.protect_tenant_table(
        connection, "reminder", platform_may="SELECT, INSERT, UPDATE", tenant_may="SELECT"
    )

    row_security.protect_tenant_table(
        connection, "payment_promise", platform_may="SELECT, INSERT, UPDATE", tenant_may="SELECT"
    )
