"""A boot says when it was last counted, and an hour which of its missing calls a person has signed for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("node_boot", sa.Column("counted_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    # Until now a sign of life was taken for a count.
    op.execute(
        "UPDATE node_boot SET counted_at = node.heartbeat_at FROM node"
        " WHERE node.name = node_boot.node AND node_boot.is_watched AND node_boot.ended_at IS NULL"
    )
    op.add_column("started_hour", sa.Column("signed_number", sa.Integer(), nullable=True))
    op.add_column("started_hour", sa.Column("signed", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("started_hour", "signed", server_default=None)
    # A signature that covers what is missing covers just that from here on.
    op.execute(
        "UPDATE started_hour AS part SET signed_number = part.last_number,"
        " signed = greatest(part.last_number - part.first_number + 1 - part.accepted - part.explained, 0)"
        " FROM hour_sign_off AS sign_off"
        " WHERE sign_off.node = part.node AND sign_off.hour = part.hour AND part.state <> 'counting'"
        " AND sign_off.missing >= ("
        "SELECT sum(whole.last_number - whole.first_number + 1 - whole.accepted - whole.explained - whole.running)"
        " FROM started_hour AS whole WHERE whole.node = part.node AND whole.hour = part.hour)"
    )
