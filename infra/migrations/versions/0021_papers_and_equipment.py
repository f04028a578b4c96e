"""Papers of tenants, orders that wait for them, and equipment handed out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "paper",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("paper_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DATE(), nullable=True),
        sa.Column("valid_until", sa.DATE(), nullable=True),
        sa.Column("uploaded_at", MOMENT, nullable=False),
        sa.Column("uploaded_by", sa.Text(), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("erased_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "paper_id", name=op.f("pk_paper")),
    )
    op.create_index(op.f("ix_paper_paper_id"), "paper", ["paper_id"], unique=False)
    op.create_index(
        "ix_paper_expiring", "paper", ["valid_until"], unique=False, postgresql_where=sa.text("state = 'accepted'")
    )
    op.create_table(
        "equipment",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("equipment_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("seat_number", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("makers_price", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("handed_out_on", sa.DATE(), nullable=False),
        sa.Column("ended_on", sa.DATE(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("charge_id", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "equipment_id", name=op.f("pk_equipment")),
    )
    op.create_index(op.f("ix_equipment_equipment_id"), "equipment", ["equipment_id"], unique=False)
    op.create_index(
        "uq_equipment_label_out",
        "equipment",
        ["tenant_id", "label"],
        unique=True,
        postgresql_where=sa.text("state = 'out'"),
    )
    op.create_index(
        "uq_equipment_charge",
        "equipment",
        ["tenant_id", "charge_id"],
        unique=True,
        postgresql_where=sa.text("charge_id IS NOT NULL"),
    )
    op.add_column("seat_order", sa.Column("held_back_by", sa.Text(), nullable=True))
    connection = op.get_bind()
    row_security.protect_tenant_table(
        connection, "paper", platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT, INSERT"
    )
    row_security.protect_tenant_table(
        connection, "equipment", platform_may="SELECT, INSERT, UPDATE", tenant_may="SELECT"
    )
