"""A record set aside knows how far it came from the future, and by how much a person has corrected its times."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of those that wait, their problem tells: which time it was and what the record said."""
    for name in ("ahead_seconds", "corrected_seconds"):
        op.add_column("set_aside_record", sa.Column(name, sa.Integer(), nullable=True))
    op.execute("""
        UPDATE set_aside_record SET ahead_seconds = ceil(told.ahead)
        FROM (
            SELECT record_id, CAST(substring(problem FROM '^[a-z]+_uepoch: ([0-9]{1,18}) is not a time ') AS numeric)
                   / 1000000 - extract(epoch FROM received_at) AS ahead
            FROM set_aside_record
        ) AS told
        WHERE told.record_id = set_aside_record.record_id AND told.ahead > 300 AND told.ahead <= 2000000000
    """)
