"""The release of a month by finance, credit notes and re-rating."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
SUM = sa.Numeric(precision=18, scale=4)
PRICE = sa.Numeric(precision=16, scale=4)
EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    _add_columns()
    _create_runs()
    _create_re_ratings()
    connection = op.get_bind()
    row_security.grant_global_table(connection, "invoice_run")
    for table in ("set_aside_contract", "re_rating", "re_rated_call"):
        row_security.protect_tenant_table(connection, table, platform_may=EVERYTHING, tenant_may="SELECT")


def _add_columns() -> None:
    op.add_column("invoice", sa.Column("corrects_invoice_id", sa.Text(), nullable=True))
    op.create_index(
        "ix_invoice_corrects",
        "invoice",
        ["tenant_id", "corrects_invoice_id"],
        unique=False,
        postgresql_where=sa.text("corrects_invoice_id IS NOT NULL"),
    )
    op.create_index(
        "ix_invoice_of_month",
        "invoice",
        ["issued_on"],
        unique=False,
        postgresql_where=sa.text("reason IN ('monthly', 'final')"),
    )
    op.add_column("holding", sa.Column("deposit_returned_on", sa.DATE(), nullable=True))
    op.add_column("charge", sa.Column("revised_amount", PRICE, nullable=True))


def _create_runs() -> None:
    op.create_table(
        "invoice_run",
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("released_at", MOMENT, nullable=False),
        sa.Column("released_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_invoice_run")),
    )
    op.create_table(
        "set_aside_contract",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("set_aside_at", MOMENT, nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "contract_id", "month", name=op.f("pk_set_aside_contract")),
    )
    op.create_index(op.f("ix_set_aside_contract_month"), "set_aside_contract", ["month"], unique=False)
    op.create_index(
        "ix_set_aside_contract_waiting",
        "set_aside_contract",
        ["tenant_id", "contract_id"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )


def _create_re_ratings() -> None:
    op.create_table(
        "re_rating",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("re_rating_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("month", sa.DATE(), nullable=False),
        sa.Column("deck_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("last_month", sa.DATE(), nullable=True),
        sa.Column("last_leg_id", sa.Text(), nullable=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("without_price", sa.Integer(), nullable=False),
        sa.Column("first_priced", sa.Integer(), nullable=False),
        sa.Column("old_total", SUM, nullable=False),
        sa.Column("new_total", SUM, nullable=False),
        sa.Column("first_total", SUM, nullable=False),
        sa.Column("computed_at", MOMENT, nullable=True),
        sa.Column("settled_at", MOMENT, nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settlement", sa.Text(), nullable=True),
        sa.Column("credit_note_id", sa.Text(), nullable=True),
        sa.Column("billing_month", sa.DATE(), nullable=True),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "re_rating_id", name=op.f("pk_re_rating")),
    )
    op.create_index(op.f("ix_re_rating_re_rating_id"), "re_rating", ["re_rating_id"], unique=False)
    op.create_index(
        "uq_re_rating_one_open",
        "re_rating",
        ["tenant_id", "contract_id", "month"],
        unique=True,
        postgresql_where=sa.text("state IN ('computing', 'computed')"),
    )
    op.create_index("ix_re_rating_supplement", "re_rating", ["tenant_id", "contract_id", "billing_month"], unique=False)
    op.create_table(
        "re_rated_call",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("re_rating_id", sa.Text(), nullable=False),
        sa.Column("month", sa.DATE(), nullable=False),
        sa.Column("leg_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("old_amount", PRICE, nullable=True),
        sa.Column("new_amount", PRICE, nullable=True),
        sa.Column("prefix", sa.Text(), nullable=True),
        sa.Column("billed_seconds", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "re_rating_id", "month", "leg_id", name=op.f("pk_re_rated_call")),
    )
