"""The pool of numbers, their history, and gateways with routes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    _widen_gateways()
    _create_gateway_states()
    _create_pool()
    connection = op.get_bind()
    row_security.grant_global_table(connection, "gateway_state")
    row_security.protect_tenant_table(
        connection, "pooled_number", platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT"
    )
    # Nobody rewrites what happened to a number.
    row_security.protect_tenant_table(connection, "number_event", platform_may="SELECT, INSERT", tenant_may="SELECT")
    op.execute(
        "INSERT INTO pooled_number (number, state, tenant_id, added_at, changed_at) "
        "SELECT number, 'assigned', tenant_id, created_at, created_at FROM phone_number"
    )
    op.execute(
        "INSERT INTO number_event (number, event_id, event, tenant_id, actor, occurred_at) "
        "SELECT number, 'nev_0', 'assigned', tenant_id, 'migration', created_at FROM phone_number"
    )


def _widen_gateways() -> None:
    """A gateway of before stays as it was: it takes every number, without limit, and is asked nothing."""
    op.add_column("gateway", sa.Column("weight", sa.Integer(), nullable=False, server_default="100"))
    op.add_column("gateway", sa.Column("prefixes", postgresql.JSONB(), nullable=False, server_default="[]"))
    op.add_column("gateway", sa.Column("capacity_calls", sa.Integer(), nullable=True))
    op.add_column("gateway", sa.Column("check_seconds", sa.Integer(), nullable=True))
    op.add_column("gateway", sa.Column("is_enabled", sa.Boolean(), nullable=False, server_default="true"))
    op.add_column("gateway", sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
    for column in ("weight", "prefixes", "is_enabled", "generation"):
        op.alter_column("gateway", column, server_default=None)


def _create_gateway_states() -> None:
    op.create_table(
        "gateway_state",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("is_up", sa.Boolean(), nullable=False),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.Column("checked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("node", "gateway_id", name=op.f("pk_gateway_state")),
    )
    op.create_index(op.f("ix_gateway_state_gateway_id"), "gateway_state", ["gateway_id"], unique=False)


def _create_pool() -> None:
    op.create_table(
        "pooled_number",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("quarantined_until", MOMENT, nullable=True),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_pooled_number")),
    )
    op.create_index(op.f("ix_pooled_number_state_number"), "pooled_number", ["state", "number"], unique=False)
    op.create_table(
        "number_event",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", "event_id", name=op.f("pk_number_event")),
    )
