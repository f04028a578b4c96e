"""Faults and planned maintenance as the invoice sees them, and what was credited for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    _create_fault()
    _create_fault_credit()
    _create_maintenance_window()
    for table in ("fault", "fault_credit"):
        row_security.protect_tenant_table(
            op.get_bind(), table, platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT"
        )
    row_security.grant_global_table(op.get_bind(), "maintenance_window", tenant_may="SELECT")


def _create_fault() -> None:
    op.create_table(
        "fault",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("fault_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("numbers", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("window_id", sa.Text(), nullable=True),
        sa.Column("split_from", sa.Text(), nullable=True),
        sa.Column("to_credit", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "fault_id", name=op.f("pk_fault")),
    )
    op.create_index(op.f("ix_fault_fault_id"), "fault", ["fault_id"], unique=False)
    op.create_index(
        op.f("ix_fault_tenant_id_fault_contract_id_fault_began_at"),
        "fault",
        ["tenant_id", "contract_id", "began_at"],
        unique=False,
    )
    op.create_index(
        "uq_fault_one_of_a_window",
        "fault",
        ["tenant_id", "contract_id", "item", "window_id"],
        unique=True,
        postgresql_where=sa.text("window_id IS NOT NULL AND split_from IS NULL"),
    )
    op.create_index(
        "ix_fault_to_credit",
        "fault",
        ["tenant_id", "contract_id"],
        unique=False,
        postgresql_where=sa.text("to_credit"),
    )


def _create_fault_credit() -> None:
    key = ("tenant_id", "contract_id", "item", "number", "month", "invoice_id")
    op.create_table(
        "fault_credit",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("month", sa.DATE(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("exact_amount", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_fault_credit")),
    )
    op.create_index(
        op.f("ix_fault_credit_tenant_id_fault_credit_invoice_id"),
        "fault_credit",
        ["tenant_id", "invoice_id"],
        unique=False,
    )


def _create_maintenance_window() -> None:
    op.create_table(
        "maintenance_window",
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("begins_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("month", sa.DATE(), nullable=False),
        sa.Column("place_in_month", sa.Integer(), nullable=False),
        sa.Column("announced_at", MOMENT, nullable=False),
        sa.Column("announced_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("window_id", name=op.f("pk_maintenance_window")),
    )
    op.create_index(
        "uq_maintenance_window_place_in_month",
        "maintenance_window",
        ["cluster", "month", "place_in_month"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
    op.create_index(op.f("ix_maintenance_window_begins_at"), "maintenance_window", ["begins_at"], unique=False)
