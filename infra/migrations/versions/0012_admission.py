"""What calls may do: the platform's policy, each tenant's, and its spend cap with what was told about it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
JSONB = postgresql.JSONB()
MONEY = sa.Numeric(precision=16, scale=2)
RATED = sa.Numeric(precision=16, scale=4)


def upgrade() -> None:
    _create_policies()
    _create_spending()
    connection = op.get_bind()
    row_security.grant_global_table(connection, "platform_call_policy", tenant_may="SELECT")
    for table in ("call_policy", "spend_cap"):
        row_security.protect_tenant_table(
            connection, table, platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT, INSERT, UPDATE"
        )
    row_security.protect_tenant_table(
        connection, "spend_alert", platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT, INSERT"
    )
    _let_refusals_be_found()


def _create_policies() -> None:
    op.create_table(
        "platform_call_policy",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("calls_per_tenant", sa.Integer(), nullable=True),
        sa.Column("calls_per_seat", sa.Integer(), nullable=False),
        sa.Column("calls_per_second", sa.Integer(), nullable=False),
        sa.Column("countries", JSONB, nullable=False),
        sa.Column("barred_prefixes", JSONB, nullable=False),
        sa.Column("premium_prefixes", JSONB, nullable=False),
        sa.Column("premium_allowed", sa.Boolean(), nullable=False),
        sa.Column("short_codes_allowed", sa.Boolean(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_platform_call_policy")),
    )
    op.create_table(
        "call_policy",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("calls_per_tenant", sa.Integer(), nullable=True),
        sa.Column("calls_per_seat", sa.Integer(), nullable=True),
        sa.Column("calls_per_second", sa.Integer(), nullable=True),
        sa.Column("countries", JSONB, nullable=True),
        sa.Column("barred_prefixes", JSONB, nullable=False),
        sa.Column("premium_allowed", sa.Boolean(), nullable=True),
        sa.Column("short_codes_allowed", sa.Boolean(), nullable=True),
        sa.Column("forwarding", JSONB, nullable=False),
        sa.Column("cap_reached_on", sa.DATE(), nullable=True),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_call_policy")),
    )


def _create_spending() -> None:
    op.create_table(
        "spend_cap",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("daily_cap", MONEY, nullable=True),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_spend_cap")),
    )
    op.create_table(
        "spend_alert",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("day", sa.DATE(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("daily_cap", MONEY, nullable=False),
        sa.Column("charged", RATED, nullable=False),
        sa.Column("running", RATED, nullable=False),
        sa.Column("raised_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "day", "kind", name=op.f("pk_spend_alert")),
    )
    op.create_index(op.f("ix_spend_alert_alert_id"), "spend_alert", ["alert_id"], unique=False)


def _let_refusals_be_found() -> None:
    """Refused calls are few among many: an index of their own, for a tenant's list and for everybody's."""
    refused = sa.text("refusal IS NOT NULL")
    op.create_index(
        "ix_call_record_refused",
        "call_record",
        ["tenant_id", "started_at", "leg_id"],
        unique=False,
        postgresql_where=refused,
    )
    op.create_index(
        "ix_call_record_refused_by_time",
        "call_record",
        ["started_at", "leg_id"],
        unique=False,
        postgresql_where=refused,
    )
