"""What a node's files say besides its addresses, ends of sweeps by hand, examinations, and refused sign-ins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
LIMITS = {"max_sessions": "5000", "sessions_per_second": "200", "rtp_timeout_seconds": "0"}
"""What every node's files have said until now."""


def upgrade() -> None:
    """Columns of nodes and drains, two tables."""
    op.add_column("node", sa.Column("listen_host", sa.Text(), nullable=True))
    for name, default in LIMITS.items():
        op.add_column("node", sa.Column(name, sa.Integer(), nullable=False, server_default=default))
        op.alter_column("node", name, server_default=None)
    op.add_column("node_drain", sa.Column("sweep_waived_because", sa.Text(), nullable=True))
    _create_examinations()
    _create_refused_sign_ins()
    connection = op.get_bind()
    row_security.grant_global_table(connection, "examination")
    row_security.protect_tenant_table(
        connection, "refused_sign_in", platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT"
    )


def _create_examinations() -> None:
    op.create_table(
        "examination",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("examined_at", MOMENT, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_examination")),
    )


def _create_refused_sign_ins() -> None:
    op.create_table(
        "refused_sign_in",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "hour", "node", "domain", "username", "source", name=op.f("pk_refused_sign_in")
        ),
    )
    op.create_index("ix_refused_sign_in_hour", "refused_sign_in", ["hour"], unique=False)
