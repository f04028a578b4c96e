"""A node's row says whether it gets answers from the API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Since when without a gap, when last, and since when not; nobody knows until its supervisor has looked."""
    for name in ("answered_since", "answered_at", "unanswered_since"):
        op.add_column("node", sa.Column(name, postgresql.TIMESTAMP(timezone=True), nullable=True))
