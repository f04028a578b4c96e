"""Groups and people of seats, and the hand-outs that their users open once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    for column in ("group_name", "person_name", "person_mail", "person_number"):
        op.add_column("seat", sa.Column(column, sa.Text(), nullable=True))
    op.add_column("seat", sa.Column("suspended_at", MOMENT, nullable=True))
    _create_hand_outs()
    connection = op.get_bind()
    for table in ("hand_out", "hand_out_link"):
        row_security.protect_tenant_table(
            connection, table, platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT, INSERT, UPDATE"
        )


def _create_hand_outs() -> None:
    op.create_table(
        "hand_out",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("hand_out_id", sa.Text(), nullable=False),
        sa.Column("seat_id", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "hand_out_id", name=op.f("pk_hand_out")),
    )
    op.create_index(op.f("ix_hand_out_hand_out_id"), "hand_out", ["hand_out_id"], unique=False)
    op.create_index("ix_hand_out_of_seat", "hand_out", ["tenant_id", "seat_id"], unique=False)
    op.create_table(
        "hand_out_link",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("hand_out_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.Text(), nullable=False),
        sa.Column("sealed_content", postgresql.BYTEA(), nullable=True),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "hand_out_id", "kind", name=op.f("pk_hand_out_link")),
    )
    op.create_index(op.f("ix_hand_out_link_secret_digest"), "hand_out_link", ["secret_digest"], unique=False)
    op.create_index(
        "ix_hand_out_link_unread",
        "hand_out_link",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("sealed_content IS NOT NULL"),
    )
