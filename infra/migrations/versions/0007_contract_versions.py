"""Contracts over time: versions of their terms, agreements about change, end and transfer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.kit import row_security

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
PROTECTED = {"contract_version": "SELECT", "contract_agreement": "SELECT", "consent": "SELECT, INSERT",
             "contract_reminder": "SELECT"}  # fmt: skip
"""What tenants may do: they ask for consent by themselves, everything else is recorded by the operator."""


def upgrade() -> None:
    op.add_column("contract", sa.Column("term_years", sa.Integer(), nullable=True))
    op.add_column("contract", sa.Column("agreed_penalty", sa.Numeric(precision=16, scale=2), nullable=True))
    op.add_column("contract", sa.Column("transferred_from_contract_id", sa.Text(), nullable=True))
    op.create_table(
        "contract_version",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_on", sa.DATE(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("noticed_on", sa.DATE(), nullable=True),
        sa.Column("notice_waiver", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signed_by_operator", sa.Text(), nullable=False),
        sa.Column("signed_by_tenant", sa.Text(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("cancellation_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "contract_id", "version", name=op.f("pk_contract_version")),
    )
    op.create_index(
        "uq_contract_version_one_a_day",
        "contract_version",
        ["tenant_id", "contract_id", "effective_on"],
        unique=True,
        postgresql_where=sa.text("cancelled_at IS NULL"),
    )
    op.create_table(
        "contract_agreement",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("agreement_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ends_on_before", sa.DATE(), nullable=True),
        sa.Column("ends_on", sa.DATE(), nullable=False),
        sa.Column("ground", sa.Text(), nullable=True),
        sa.Column("noticed_on", sa.DATE(), nullable=True),
        sa.Column("notice_waiver", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signed_by_operator", sa.Text(), nullable=False),
        sa.Column("signed_by_tenant", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("penalty_charge_id", sa.Text(), nullable=True),
        sa.Column("consent_id", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.Column("withdrawal_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "agreement_id", name=op.f("pk_contract_agreement")),
    )
    op.create_index(
        op.f("ix_contract_agreement_tenant_id_contract_agreement_contract_id"),
        "contract_agreement",
        ["tenant_id", "contract_id"],
        unique=False,
    )
    op.create_table(
        "consent",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("consent_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("effective_on", sa.DATE(), nullable=True),
        sa.Column("receiving_tenant_id", sa.Text(), nullable=True),
        sa.Column("remaining_until", sa.DATE(), nullable=True),
        sa.Column("receiving_contract_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "consent_id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_consent_id"), "consent", ["consent_id"], unique=False)
    op.create_index(
        op.f("ix_consent_tenant_id_consent_contract_id"), "consent", ["tenant_id", "contract_id"], unique=False
    )
    op.create_table(
        "contract_reminder",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Text(), nullable=False),
        sa.Column("ends_on", sa.DATE(), nullable=False),
        sa.Column("days_before", sa.Integer(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "contract_id", "ends_on", "days_before", name=op.f("pk_contract_reminder")
        ),
    )
    for table, tenant_may in PROTECTED.items():
        row_security.protect_tenant_table(
            op.get_bind(), table, platform_may="SELECT, INSERT, UPDATE", tenant_may=tenant_may
        )
