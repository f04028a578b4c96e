"""Who may touch what: the two roles, row security, and the job queue with its grants."""

from __future__ import annotations

from alembic import op
from procrastinate.schema import SchemaManager

from infra.kit import row_security
from infra.kit.database import PLATFORM_ROLE, TENANT_ROLE

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
APPEND_ONLY = "SELECT, INSERT"

TENANT_TABLES = (
    "allocation", "audit_entry", "call_record", "canary_check", "charge", "client", "contract", "holding", "invoice",
    "invoice_counter", "invoice_line", "new_call", "one_off_charge", "payment", "phone_number", "placement",
    "rent_charge", "seat", "seat_order", "sip_account", "sip_domain", "suspension", "tenant", "unrated_call",
)  # fmt: skip

TENANT_WRITES = {
    "audit_entry": APPEND_ONLY,
    "client": "SELECT, INSERT, UPDATE (revoked_at)",
    "seat": "SELECT, UPDATE",
    "sip_account": "SELECT, UPDATE",
}
"""What a tenant's own requests change under its role. Whatever touches money or placement takes the platform's role
after the caller's right to the tenant was checked, so no more is granted here."""

GLOBAL_TABLES = (
    "access_token", "gateway", "idempotency_record", "node", "rate_deck", "schedule_entry", "set_aside_record",
)  # fmt: skip
GLOBAL_TABLES_READ_BY_TENANTS = ("node", "rate_deck")


def upgrade() -> None:
    connection = op.get_bind()
    row_security.create_roles(connection)
    for table in TENANT_TABLES:
        row_security.protect_tenant_table(
            connection,
            table,
            platform_may=APPEND_ONLY if table == "audit_entry" else EVERYTHING,
            tenant_may=TENANT_WRITES.get(table, "SELECT"),
        )
    for table in GLOBAL_TABLES:
        row_security.grant_global_table(
            connection, table, tenant_may="SELECT" if table in GLOBAL_TABLES_READ_BY_TENANTS else None
        )
    # Whoever changes a tenant's things locks its row first; PostgreSQL lets only those lock who may change a column.
    op.execute(f"GRANT UPDATE (contact_email) ON tenant TO {TENANT_ROLE}")
    connection.exec_driver_sql(SchemaManager.get_schema().replace("%", "%%"))
    for role in (PLATFORM_ROLE, TENANT_ROLE):
        op.execute(f"GRANT SELECT, INSERT, UPDATE ON procrastinate_jobs TO {role}")
        op.execute(f"GRANT SELECT, INSERT ON procrastinate_events, procrastinate_periodic_defers TO {role}")
        op.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
