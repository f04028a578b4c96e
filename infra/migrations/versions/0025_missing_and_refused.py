"""Calls that are nobody's are counted, records set aside can be put away, and what ran at a cost is remembered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column("spend_cap", sa.Column("seen_on", sa.Date(), nullable=True))
    op.add_column("spend_cap", sa.Column("seen_running", postgresql.JSONB(), nullable=True))
    op.add_column("set_aside_record", sa.Column("dismissed_reason", sa.Text(), nullable=True))
    op.create_table(
        "stray_call",
        sa.Column("stray_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("stray_id", name=op.f("pk_stray_call")),
        sa.UniqueConstraint("node", "hour", "reason", "number", name=op.f("uq_stray_call_node_hour_reason_number")),
    )
    op.create_index(op.f("ix_stray_call_last_at"), "stray_call", ["last_at"], unique=False)
    row_security.grant_global_table(op.get_bind(), "stray_call")
