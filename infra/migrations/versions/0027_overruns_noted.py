"""A window that nobody closed at its end is an alarm once a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """When the last alarm of a window's overrun was raised; none was before."""
    op.add_column(
        "maintenance_window", sa.Column("overrun_noted_at", postgresql.TIMESTAMP(timezone=True), nullable=True)
    )
