"""The first schema: every table, its partitions, roles and row security, and the job queue."""

from __future__ import annotations

from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy import text

from infra.app.schema import metadata
from infra.kit import clock, partitions, row_security
from infra.kit.database import PLATFORM_ROLE, TENANT_ROLE

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = {"audit_entry"}
TENANT_READS = {
    "tenant",
    "call_record",
    "charge",
    "payment",
    "placement",
    "canary_check",
    "suspension",
    "new_call",
    "unrated_call",
    "phone_number",
    "one_off_charge",
}
NO_TENANT_ACCESS = {"sip_domain"}
READABLE_GLOBALS = {"node", "rate_deck"}


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    partitions.create_default_partitions(connection)
    partitions.ensure_partitions(connection, clock.today())
    row_security.create_roles(connection)
    everything = "SELECT, INSERT, UPDATE, DELETE"
    for table in metadata.sorted_tables:
        if "tenant_id" in table.columns:
            append = table.name in APPEND_ONLY
            row_security.protect_tenant_table(
                connection,
                table.name,
                platform_may="SELECT, INSERT" if append else everything,
                tenant_may="SELECT, INSERT" if append else "SELECT" if table.name in TENANT_READS else everything,
            )
        else:
            row_security.grant_global_table(
                connection, table.name, tenant_may="SELECT" if table.name in READABLE_GLOBALS else None
            )
    # Whoever changes money locks its tenant's row first, and PostgreSQL lets only those lock who may change a column.
    connection.execute(text(f"GRANT UPDATE (contact_email) ON tenant TO {TENANT_ROLE}"))
    connection.exec_driver_sql(SchemaManager.get_schema().replace("%", "%%"))
    connection.execute(text("ALTER TABLE call_record ALTER COLUMN body SET STORAGE EXTERNAL"))
    for role in (PLATFORM_ROLE, TENANT_ROLE):
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE ON procrastinate_jobs TO {role}"))
        connection.execute(
            text(f"GRANT SELECT, INSERT ON procrastinate_events, procrastinate_periodic_defers TO {role}")
        )
        connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"))
