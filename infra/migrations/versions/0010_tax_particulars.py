"""Particulars for official VAT invoices (fapiao) and the numbers written back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tax_particulars",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("credit_code", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("bank_name", sa.Text(), nullable=True),
        sa.Column("bank_account", sa.Text(), nullable=True),
        sa.Column("fapiao_kind", sa.Text(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "version", name=op.f("pk_tax_particulars")),
    )
    op.create_table(
        "fapiao",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("fapiao_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("issued_on", sa.DATE(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("voided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("void_reason", sa.Text(), nullable=True),
        sa.Column("replaced_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "fapiao_id", name=op.f("pk_fapiao")),
    )
    op.create_index(op.f("ix_fapiao_fapiao_id"), "fapiao", ["fapiao_id"], unique=False)
    op.create_index(op.f("ix_fapiao_tenant_id_fapiao_invoice_id"), "fapiao", ["tenant_id", "invoice_id"], unique=False)
    op.create_table(
        "fapiao_number",
        sa.Column("full_number", sa.Text(), nullable=False),
        sa.Column("fapiao_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("full_number", name=op.f("pk_fapiao_number")),
    )
    op.create_index(op.f("ix_fapiao_number_fapiao_id"), "fapiao_number", ["fapiao_id"], unique=False)
    connection = op.get_bind()
    row_security.protect_tenant_table(
        connection, "tax_particulars", platform_may="SELECT, INSERT", tenant_may="SELECT, INSERT"
    )
    row_security.protect_tenant_table(connection, "fapiao", platform_may="SELECT, INSERT, UPDATE", tenant_may="SELECT")
    row_security.grant_global_table(connection, "fapiao_number")
