"""What phones are told of nodes, the edges in front of them, and which tenants demand encrypted media."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column("node", sa.Column("sip_tls_port", sa.Integer(), nullable=True))
    op.create_table(
        "sip_edge",
        sa.Column("edge_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("sip_port", sa.Integer(), nullable=False),
        sa.Column("sip_tls_port", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("edge_id", name=op.f("pk_sip_edge")),
        sa.UniqueConstraint("name", name=op.f("uq_sip_edge_name")),
    )
    op.create_table(
        "media_policy",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("encryption", sa.Text(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_media_policy")),
    )
    connection = op.get_bind()
    row_security.grant_global_table(connection, "sip_edge", tenant_may="SELECT")
    row_security.protect_tenant_table(
        connection, "media_policy", platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT, INSERT, UPDATE"
    )
