"""What was observed of faults, and how windows drain nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    _extend_outages()
    _create_evidence()
    _create_observation()
    _create_watches()
    _create_window_node()
    connection = op.get_bind()
    # Whoever reads that the service is paused has to read that it will be worked on.
    connection.execute(
        sa.text(
            "UPDATE billing_contact SET topics = topics || '[\"maintenance\"]'::jsonb"
            " WHERE topics @> '[\"standing\"]' AND NOT topics @> '[\"maintenance\"]'"
        )
    )
    for table in ("fault_evidence", "observation"):
        row_security.protect_tenant_table(connection, table, platform_may=EVERYTHING, tenant_may="SELECT")
    row_security.protect_tenant_table(connection, "registration_watch", platform_may=EVERYTHING, tenant_may="SELECT")
    for table in ("canary_watch", "window_node"):
        row_security.grant_global_table(connection, table)


def _extend_outages() -> None:
    op.add_column("fault", sa.Column("observation_id", sa.Text(), nullable=True))
    op.create_index(
        "uq_fault_one_of_an_observation",
        "fault",
        ["tenant_id", "contract_id", "item", "observation_id"],
        unique=True,
        postgresql_where=sa.text("observation_id IS NOT NULL AND split_from IS NULL"),
    )
    op.add_column("maintenance_window", sa.Column("nodes", sa.ARRAY(sa.Text()), nullable=False, server_default="{}"))
    op.alter_column("maintenance_window", "nodes", server_default=None)


def _create_evidence() -> None:
    op.create_table(
        "fault_evidence",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("evidence_id", sa.Text(), nullable=False),
        sa.Column("fault_id", sa.Text(), nullable=False),
        sa.Column("observation_id", sa.Text(), nullable=True),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "evidence_id", name=op.f("pk_fault_evidence")),
    )
    for column in ("fault_id", "observation_id"):
        name = op.f(f"ix_fault_evidence_tenant_id_fault_evidence_{column}")
        op.create_index(name, "fault_evidence", ["tenant_id", column], unique=False)


def _create_observation() -> None:
    op.create_table(
        "observation",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("observation_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("extensions", postgresql.JSONB(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("cleared_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "observation_id", name=op.f("pk_observation")),
    )
    op.create_index(op.f("ix_observation_observation_id"), "observation", ["observation_id"], unique=False)
    op.create_index(
        "uq_observation_one_at_a_time",
        "observation",
        ["tenant_id", "kind", "subject"],
        unique=True,
        postgresql_where=sa.text("state <> 'ended'"),
    )


def _create_watches() -> None:
    op.create_table(
        "registration_watch",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("seen", postgresql.JSONB(), nullable=False),
        sa.Column("lost", postgresql.JSONB(), nullable=False),
        sa.Column("looked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_registration_watch")),
    )
    op.create_table(
        "canary_watch",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("last_tenant_id", sa.Text(), nullable=False),
        sa.Column("failing", postgresql.JSONB(), nullable=False),
        sa.Column("looked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_canary_watch")),
    )


def _create_window_node() -> None:
    op.create_table(
        "window_node",
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.Column("turn_began_at", MOMENT, nullable=True),
        sa.Column("turn_ends_at", MOMENT, nullable=True),
        sa.Column("settled_at", MOMENT, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("window_id", "node", name=op.f("pk_window_node")),
    )
    op.create_index(
        "ix_window_node_on_the_way",
        "window_node",
        ["window_id"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
    )
