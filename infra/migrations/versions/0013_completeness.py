"""Whether every session of a node has its call record, and the quality of each call."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
GLOBAL_TABLES = ("node_boot", "started_hour", "seen_leg", "hour_sign_off")


def upgrade() -> None:
    _add_columns()
    _create_tables()
    connection = op.get_bind()
    for table in GLOBAL_TABLES:
        row_security.grant_global_table(connection, table)


def _add_columns() -> None:
    for table in ("call_record", "set_aside_record"):
        op.add_column(table, sa.Column("boot_id", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("session_number", sa.Integer(), nullable=True))
        op.create_index(
            f"ix_{table}_session",
            table,
            ["boot_id", "session_number"],
            unique=False,
            postgresql_where=sa.text("boot_id IS NOT NULL"),
        )
    op.add_column("call_record", sa.Column("codec", sa.Text(), nullable=True))
    op.add_column("call_record", sa.Column("mean_opinion_score", sa.Numeric(precision=3, scale=2), nullable=True))
    op.add_column("call_record", sa.Column("quality_percent", sa.Numeric(precision=5, scale=2), nullable=True))
    op.add_column("call_record", sa.Column("jitter_variance", sa.Numeric(precision=12, scale=2), nullable=True))
    op.add_column("call_record", sa.Column("loss_percent", sa.Numeric(precision=5, scale=2), nullable=True))
    op.add_column("call_record", sa.Column("packets_received", sa.Integer(), nullable=True))


def _create_tables() -> None:
    op.create_table(
        "node_boot",
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("is_watched", sa.Boolean(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("boot_id", name=op.f("pk_node_boot")),
    )
    op.create_index(op.f("ix_node_boot_node"), "node_boot", ["node"], unique=False)
    op.create_table(
        "started_hour",
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("first_number", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("observed_from", MOMENT, nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("explained", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("counted_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("boot_id", "hour", name=op.f("pk_started_hour")),
    )
    op.create_index(op.f("ix_started_hour_hour_started_hour_node"), "started_hour", ["hour", "node"], unique=False)
    op.create_index(
        "ix_started_hour_unfinished",
        "started_hour",
        ["hour"],
        unique=False,
        postgresql_where=sa.text("state <> 'complete'"),
    )
    op.create_table(
        "seen_leg",
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("leg_id", sa.Text(), nullable=False),
        sa.Column("session_number", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("is_void", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("boot_id", "leg_id", name=op.f("pk_seen_leg")),
    )
    op.create_index(
        op.f("ix_seen_leg_boot_id_seen_leg_session_number"), "seen_leg", ["boot_id", "session_number"], unique=False
    )
    op.create_table(
        "hour_sign_off",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signed_by", sa.Text(), nullable=False),
        sa.Column("signed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("node", "hour", name=op.f("pk_hour_sign_off")),
    )
