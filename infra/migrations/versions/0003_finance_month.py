"""What finance's month needs: one-off charges that can be cancelled, and refunds of credit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("one_off_charge", sa.Column("cancelled_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("one_off_charge", sa.Column("cancellation_reason", sa.Text(), nullable=True))
    op.create_index(op.f("ix_one_off_charge_charge_id"), "one_off_charge", ["charge_id"], unique=False)
    op.create_index(
        "ix_one_off_charge_to_bill",
        "one_off_charge",
        ["tenant_id", "contract_id", "on"],
        unique=False,
        postgresql_where=sa.text("billed_on IS NULL AND cancelled_at IS NULL"),
    )
    op.create_table(
        "refund",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("refund_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("value_on", sa.DATE(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("reversed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reversal_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "refund_id", name=op.f("pk_refund")),
    )
    op.create_index(op.f("ix_refund_refund_id"), "refund", ["refund_id"], unique=False)
    op.create_index(
        "uq_refund_reference",
        "refund",
        ["tenant_id", "reference"],
        unique=True,
        postgresql_where=sa.text("reversed_at IS NULL"),
    )
    row_security.protect_tenant_table(
        op.get_bind(), "refund", platform_may="SELECT, INSERT, UPDATE", tenant_may="SELECT"
    )
