"""Of a canary that fails it is kept which step did not work."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Until now it could only fail to sign in."""
    op.execute(
        """
        UPDATE canary_watch SET failing = (
            SELECT jsonb_object_agg(each.key, jsonb_build_object('since', each.value, 'what', 'the sign-in failed'))
            FROM jsonb_each(failing) AS each
        ) WHERE failing <> '{}'
        """
    )
