"""Names of seats are their own, who made an API client, and whose addresses a provider lets in as new people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

HELD = "name IS NOT NULL AND state IN ('ordered', 'open', 'suspended')"

# Of seats that share a name the one that came first keeps it; the others get their extension behind it, and should
# that be somebody's name as well, the seat's id, which is nobody's.
NAME_APART = f"""
UPDATE seat SET name = left(seat.name, :room) || ' (' || {{mark}} || ')'
FROM (
    SELECT tenant_id, seat_id,
           row_number() OVER (PARTITION BY tenant_id, name ORDER BY created_at, number, seat_id) AS place
    FROM seat WHERE {HELD}
) AS same
WHERE same.place > 1 AND seat.tenant_id = same.tenant_id AND seat.seat_id = same.seat_id
"""  # noqa: S608 - the words are the constant above
ROOM_CHARACTERS = 60


def name_apart(connection: sa.Connection) -> None:
    """Give the seats that a tenant holds under one name names of their own."""
    for mark in ("coalesce(seat.extension, seat.seat_id)", "seat.seat_id"):
        connection.execute(sa.text(NAME_APART.format(mark=mark)), {"room": ROOM_CHARACTERS})


def note_makers(connection: sa.Connection) -> None:
    """Write down who made each API client, as the audit trail has it."""
    connection.execute(
        sa.text(
            "UPDATE client SET made_by = split_part(made.actor, ' ', 1) FROM audit_entry AS made"
            " WHERE made.action = 'client.created' AND made.object_id = client.client_id"
        )
    )


def let_in_nobody_new(connection: sa.Connection) -> None:
    """Nobody has said whom an identity provider may bring, so it brings nobody new until somebody does."""
    connection.execute(
        sa.text(
            "UPDATE identity_provider SET new_people_role = NULL"
            " WHERE new_people_role IS NOT NULL AND allowed_email_domains = '[]'"
        )
    )


def upgrade() -> None:
    connection = op.get_bind()
    name_apart(connection)
    op.create_index("uq_seat_name_of_held", "seat", ["tenant_id", "name"], unique=True, postgresql_where=sa.text(HELD))

    op.add_column("client", sa.Column("made_by", sa.Text(), nullable=True))
    op.create_index("ix_client_made_by", "client", ["made_by"], unique=False)
    note_makers(connection)

    op.add_column(
        "identity_provider",
        sa.Column("allowed_email_domains", postgresql.JSONB(), nullable=False, server_default="[]"),
    )
    op.alter_column("identity_provider", "allowed_email_domains", server_default=None)
    let_in_nobody_new(connection)
