"""Bank statements: column mappings, files as uploaded, and their lines; the platform's alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ONCE = op.f("uq_bank_statement_bank_account_content_digest")


def upgrade() -> None:
    op.create_table(
        "bank_mapping",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("bank_account", sa.Text(), nullable=False),
        sa.Column("layout", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_bank_mapping")),
    )
    op.create_table(
        "bank_statement",
        sa.Column("statement_id", sa.Text(), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=False),
        sa.Column("bank_account", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.Text(), nullable=False),
        sa.Column("content", postgresql.BYTEA(), nullable=False),
        sa.Column("outgoing_count", sa.Integer(), nullable=False),
        sa.Column("imported_by", sa.Text(), nullable=False),
        sa.Column("imported_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("statement_id", name=op.f("pk_bank_statement")),
        sa.UniqueConstraint("bank_account", "content_digest", name=ONCE),
    )
    op.create_table(
        "bank_statement_line",
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("statement_id", sa.Text(), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("bank_account", sa.Text(), nullable=False),
        sa.Column("value_on", sa.DATE(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("bank_reference", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=True),
        sa.Column("remittance", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("suggested_tenant_id", sa.Text(), nullable=True),
        sa.Column("matched_tenant_id", sa.Text(), nullable=True),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("matched_by", sa.Text(), nullable=True),
        sa.Column("duplicate_of", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("line_id", name=op.f("pk_bank_statement_line")),
    )
    op.create_index(
        "uq_bank_statement_line_once",
        "bank_statement_line",
        ["bank_account", "bank_reference", "value_on", "amount"],
        unique=True,
        postgresql_where=sa.text("state <> 'duplicate'"),
    )
    op.create_index(
        op.f("ix_bank_statement_line_statement_id_bank_statement_line_state"),
        "bank_statement_line",
        ["statement_id", "state"],
        unique=False,
    )
    op.create_index(op.f("ix_bank_statement_line_payment_id"), "bank_statement_line", ["payment_id"], unique=False)
    for table in ("bank_mapping", "bank_statement", "bank_statement_line"):
        row_security.grant_global_table(op.get_bind(), table)
