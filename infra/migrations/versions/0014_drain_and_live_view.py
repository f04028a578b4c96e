"""Drains of nodes, and the live view of their calls and registrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
UNLOGGED = ["UNLOGGED"]


def upgrade() -> None:
    _create_drain()
    _create_live_legs()
    _create_live_registrations()
    _create_live_nodes()
    connection = op.get_bind()
    row_security.grant_global_table(connection, "node_drain")
    row_security.grant_global_table(connection, "live_node")
    for table in ("live_leg", "live_registration"):
        row_security.protect_tenant_table(
            connection, table, platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT"
        )


def _create_drain() -> None:
    op.create_table(
        "node_drain",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("deadline_at", MOMENT, nullable=False),
        sa.Column("phase_changed_at", MOMENT, nullable=False),
        sa.Column("tenants_left", sa.Integer(), nullable=False),
        sa.Column("legs_left", sa.Integer(), nullable=True),
        sa.Column("legs_ended", sa.Integer(), nullable=False),
        sa.Column("records_awaited", sa.Integer(), nullable=True),
        sa.Column("legs", postgresql.JSONB(), nullable=False),
        sa.Column("returns_tenants", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_node_drain")),
    )


def _create_live_legs() -> None:
    op.create_table(
        "live_leg",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("leg_id", sa.Text(), nullable=False),
        sa.Column("leg", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("other_leg_id", sa.Text(), nullable=True),
        sa.Column("seat_id", sa.Text(), nullable=True),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=True),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "node", "leg_id", name=op.f("pk_live_leg")),
        prefixes=UNLOGGED,
    )
    op.create_index(op.f("ix_live_leg_node"), "live_leg", ["node"], unique=False)
    op.create_index(op.f("ix_live_leg_leg_id"), "live_leg", ["leg_id"], unique=False)


def _create_live_registrations() -> None:
    op.create_table(
        "live_registration",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("network_ip", sa.Text(), nullable=False),
        sa.Column("network_port", sa.Integer(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "node", "username", "call_id", name=op.f("pk_live_registration")),
        prefixes=UNLOGGED,
    )
    op.create_index(op.f("ix_live_registration_node"), "live_registration", ["node"], unique=False)


def _create_live_nodes() -> None:
    op.create_table(
        "live_node",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("observed_at", MOMENT, nullable=False),
        sa.Column("compared_at", MOMENT, nullable=True),
        sa.Column("legs", sa.Integer(), nullable=False),
        sa.Column("registrations", sa.Integer(), nullable=False),
        sa.Column("unassigned", sa.Integer(), nullable=False),
        sa.Column("corrections", sa.Integer(), nullable=False),
        sa.Column("unknown_events", sa.Integer(), nullable=False),
        sa.Column("dropped_events", sa.Integer(), nullable=False),
        sa.Column("overflow", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_live_node")),
        prefixes=UNLOGGED,
    )
