"""People, their sessions, invitations and identity providers; the outbox of all mail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security
from infra.kit.database import TENANT_ROLE

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)

TENANT_WRITES = {
    "person": "SELECT, INSERT, UPDATE",
    "invitation": "SELECT, INSERT, UPDATE",
    "person_session": "SELECT, UPDATE (ended_at)",
    "visit": "SELECT, UPDATE (ended_at)",
    "identity_provider": "SELECT, INSERT, UPDATE, DELETE",
}
"""What a tenant's own people and clients change under its role; whoever is not signed in yet comes as the platform."""


def upgrade() -> None:
    _outbox_of_all_mail()
    _people()
    _one_time_links()
    _sessions()
    _identity_providers()
    connection = op.get_bind()
    for table, tenant_may in TENANT_WRITES.items():
        row_security.protect_tenant_table(
            connection, table, platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may=tenant_may
        )
    row_security.protect_tenant_table(
        connection, "password_reset", platform_may="SELECT, INSERT, UPDATE, DELETE", tenant_may="SELECT"
    )
    row_security.grant_global_table(connection, "sign_in_attempts")


def _outbox_of_all_mail() -> None:
    """The reminders' outbox becomes everybody's; what lies in it stays."""
    op.rename_table("reminder", "outbox_mail")
    op.alter_column("outbox_mail", "reminder_id", new_column_name="mail_id")
    op.add_column(
        "outbox_mail",
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    op.alter_column("outbox_mail", "facts", server_default=None)
    op.add_column("outbox_mail", sa.Column("sealed_secret", postgresql.BYTEA(), nullable=True))
    once = "tenant_id_subject_id_kind_day_recipient"
    op.execute(f"ALTER TABLE outbox_mail RENAME CONSTRAINT uq_reminder_{once} TO uq_outbox_mail_{once}")
    op.execute("ALTER TABLE outbox_mail RENAME CONSTRAINT pk_reminder TO pk_outbox_mail")
    op.execute("ALTER INDEX ix_reminder_reminder_id RENAME TO ix_outbox_mail_mail_id")
    op.execute("ALTER INDEX ix_reminder_day RENAME TO ix_outbox_mail_day")
    op.execute("ALTER INDEX ix_reminder_to_send RENAME TO ix_outbox_mail_to_send")
    op.execute(f"GRANT INSERT ON outbox_mail TO {TENANT_ROLE}")


def _people() -> None:
    op.create_table(
        "person",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("signed_in_at", MOMENT, nullable=True),
        sa.Column("removed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "person_id", name=op.f("pk_person")),
    )
    op.create_index(op.f("ix_person_person_id"), "person", ["person_id"], unique=False)
    op.create_index(
        "uq_person_address",
        "person",
        ["tenant_id", "address"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_person_subject",
        "person",
        ["tenant_id", "issuer", "subject"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL AND subject IS NOT NULL"),
    )


def _one_time_links() -> None:
    op.create_table(
        "invitation",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("invitation_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("token_digest", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("accepted_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("person_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "invitation_id", name=op.f("pk_invitation")),
    )
    op.create_index(op.f("ix_invitation_invitation_id"), "invitation", ["invitation_id"], unique=False)
    op.create_index(op.f("ix_invitation_token_digest"), "invitation", ["token_digest"], unique=False)
    op.create_table(
        "password_reset",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("reset_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("token_digest", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "reset_id", name=op.f("pk_password_reset")),
    )
    op.create_index(op.f("ix_password_reset_token_digest"), "password_reset", ["token_digest"], unique=False)
    op.create_index(op.f("ix_password_reset_expires_at"), "password_reset", ["expires_at"], unique=False)


def _sessions() -> None:
    op.create_table(
        "person_session",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("token_digest", sa.Text(), nullable=False),
        sa.Column("csrf_token", sa.Text(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "session_id", name=op.f("pk_person_session")),
    )
    op.create_index(op.f("ix_person_session_token_digest"), "person_session", ["token_digest"], unique=False)
    op.create_index(
        op.f("ix_person_session_tenant_id_person_session_person_id"),
        "person_session",
        ["tenant_id", "person_id"],
        unique=False,
    )
    op.create_index(op.f("ix_person_session_expires_at"), "person_session", ["expires_at"], unique=False)
    op.create_table(
        "visit",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("visit_id", sa.Text(), nullable=False),
        sa.Column("visitor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "visit_id", name=op.f("pk_visit")),
    )
    op.create_index(op.f("ix_visit_visit_id"), "visit", ["visit_id"], unique=False)
    op.create_table(
        "sign_in_attempts",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("window_began_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_sign_in_attempts")),
    )


def _identity_providers() -> None:
    op.create_table(
        "identity_provider",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("sealed_client_secret", postgresql.BYTEA(), nullable=False),
        sa.Column("new_people_role", sa.Text(), nullable=True),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_identity_provider")),
    )
