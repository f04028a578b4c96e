"""The ledger: postings of double entry, append-only, partitioned by month; what happened before is posted after it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from infra.kit import clock, partitions, row_security

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TAX_RATES_OF_LINES = """
UPDATE invoice_line AS line SET tax_rate = coalesce(
    (contract.terms -> 'tax_rates' ->> CASE
        WHEN line.kind IN ('rent', 'return_credit', 'fault_credit') THEN 'rent'
        WHEN line.kind IN ('deposit', 'deposit_return') THEN 'deposit'
        ELSE line.kind END)::numeric,
    (contract.terms -> 'tax_rates' ->> 'other')::numeric,
    0)
FROM invoice JOIN contract USING (tenant_id, contract_id)
WHERE invoice.tenant_id = line.tenant_id AND invoice.invoice_id = line.invoice_id
"""

REPLAY = """
INSERT INTO posting (tenant_id, month, source_id, event, posting_number, account, detail, subject_id, amount, due_on,
                     value_on, posted_on, recorded_at)
WITH line AS (
    SELECT tenant_id, invoice_id, kind, sum(amount) AS gross FROM invoice_line GROUP BY tenant_id, invoice_id, kind
), alive AS (
    SELECT * FROM invoice WHERE voided_at IS NULL
), side AS (
    SELECT tenant_id, invoice_id AS source_id, 'issued' AS event,
           CASE WHEN total > 0 THEN 'receivable' ELSE 'credit' END AS account,
           '' AS detail, invoice_id AS subject_id, total AS amount,
           CASE WHEN total > 0 THEN due_on END AS due_on, issued_on AS value_on, created_at AS recorded_at
    FROM alive
  UNION ALL
    SELECT alive.tenant_id, invoice_id, 'issued', CASE kind WHEN 'deposit' THEN 'deposit_due' WHEN 'deposit_return'
           THEN 'deposit_held' ELSE 'revenue' END,
           CASE WHEN kind IN ('deposit', 'deposit_return') THEN '' ELSE kind END,
           invoice_id, -gross, NULL, issued_on, created_at
    FROM alive JOIN line USING (tenant_id, invoice_id)
  UNION ALL
    SELECT tenant_id, invoice_id, 'issued', 'tax', 'before_ledger', invoice_id, -tax, NULL, issued_on, created_at
    FROM alive
  UNION ALL
    SELECT tenant_id, invoice_id, 'issued', 'revenue', 'tax_before_ledger', invoice_id, tax, NULL, issued_on, created_at
    FROM alive
  UNION ALL
    SELECT tenant_id, payment_id, 'recorded', account, CASE account WHEN 'cash' THEN channel ELSE '' END, payment_id,
           CASE account WHEN 'cash' THEN amount ELSE -amount END, NULL, value_on, recorded_at
    FROM payment, unnest(ARRAY['cash', 'credit']) AS account WHERE reversed_at IS NULL
  UNION ALL
    SELECT tenant_id, allocation_id, CASE account WHEN 'cash' THEN 'paid_out' ELSE 'allocated' END, account,
           CASE account WHEN 'cash' THEN 'bank_transfer' ELSE '' END, invoice_id, -amount, NULL, allocated_on,
           to_timestamp(0)
    FROM allocation, LATERAL (SELECT CASE WHEN EXISTS (
             SELECT FROM refund WHERE refund.tenant_id = allocation.tenant_id
             AND refund.refund_id = allocation.invoice_id) THEN 'cash' ELSE 'receivable' END AS account) AS target
    WHERE undone_at IS NULL
  UNION ALL
    SELECT tenant_id, allocation_id, CASE WHEN EXISTS (
             SELECT FROM refund WHERE refund.tenant_id = allocation.tenant_id
             AND refund.refund_id = allocation.invoice_id) THEN 'paid_out' ELSE 'allocated' END, 'credit', '',
           source_id, amount, NULL, allocated_on, to_timestamp(0)
    FROM allocation WHERE undone_at IS NULL
  UNION ALL
    SELECT alive.tenant_id, last.allocation_id, 'deposit_held', account, '', alive.invoice_id,
           CASE account WHEN 'deposit_due' THEN gross ELSE -gross END, NULL, last.allocated_on, to_timestamp(0)
    FROM alive JOIN line ON line.tenant_id = alive.tenant_id AND line.invoice_id = alive.invoice_id
         AND line.kind = 'deposit',
         LATERAL (SELECT allocation_id, allocated_on FROM allocation WHERE allocation.tenant_id = alive.tenant_id
                  AND allocation.invoice_id = alive.invoice_id AND undone_at IS NULL
                  ORDER BY allocated_on DESC, allocation_id DESC LIMIT 1) AS last,
         unnest(ARRAY['deposit_due', 'deposit_held']) AS account
    WHERE alive.paid >= alive.total
)
SELECT tenant_id, date_trunc('month', value_on)::date, source_id, event,
       row_number() OVER (PARTITION BY tenant_id, source_id, event ORDER BY account, detail), account, detail,
       subject_id, amount, due_on, value_on, value_on, recorded_at
FROM side WHERE amount <> 0
"""
"""What invoices, payments, allocations and refunds in force tell, as postings; by kind with tax in one sum, which only
the documents of that time can split further."""


def upgrade() -> None:
    connection = op.get_bind()
    op.add_column("invoice_line", sa.Column("tax_rate", sa.Numeric(7, 6), nullable=True))
    op.execute(TAX_RATES_OF_LINES)
    op.alter_column("invoice_line", "tax_rate", nullable=False)
    op.add_column("refund", sa.Column("channel", sa.Text(), nullable=True))
    op.execute("UPDATE refund SET channel = 'bank_transfer'")
    op.alter_column("refund", "channel", nullable=False)
    op.create_table(
        "write_off",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("write_off_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("reversed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reversal_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "write_off_id", name=op.f("pk_write_off")),
    )
    op.create_index(op.f("ix_write_off_write_off_id"), "write_off", ["write_off_id"], unique=False)
    op.create_table(
        "posting",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("month", sa.DATE(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("posting_number", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=2), nullable=False),
        sa.Column("due_on", sa.DATE(), nullable=True),
        sa.Column("value_on", sa.DATE(), nullable=False),
        sa.Column("posted_on", sa.DATE(), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "month", "source_id", "event", "posting_number", name=op.f("pk_posting")),
        postgresql_partition_by="RANGE (month)",
    )
    op.create_index(
        op.f("ix_posting_tenant_id_posting_account_posting_subject_id"),
        "posting",
        ["tenant_id", "account", "subject_id"],
        unique=False,
    )
    op.create_index(op.f("ix_posting_account_posting_posted_on"), "posting", ["account", "posted_on"], unique=False)
    partitions.create_default_partitions(connection, ("posting",))
    replay(connection)
    partitions.ensure_partitions(connection, clock.today(), ("posting",))
    row_security.protect_tenant_table(connection, "posting", platform_may="SELECT, INSERT", tenant_may="SELECT")
    row_security.protect_tenant_table(
        connection, "write_off", platform_may="SELECT, INSERT, UPDATE", tenant_may="SELECT"
    )


def replay(connection: Connection) -> None:
    """Post what happened before there was a ledger; the sums by document are those of the documents."""
    connection.execute(sa.text(REPLAY))
