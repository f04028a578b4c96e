"""Row security: which tables a tenant's role may see and change, as statements that migrations run."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection

from infra.kit.database import ERASURE_ROLE, PLATFORM_ROLE, TENANT_ROLE

_CREATE_ROLE = """
DO $$ BEGIN
  CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  RAISE DEBUG 'role {role} is there';
END $$
"""
"""Roles belong to the whole server, so another database of it may have made them first."""


def create_roles(connection: Connection) -> None:
    """Make the two roles where they are missing and let the login role take them."""
    for role in (PLATFORM_ROLE, TENANT_ROLE):
        connection.execute(text(_CREATE_ROLE.format(role=role)))
        connection.execute(text(f"GRANT {role} TO CURRENT_USER"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))


def protect_tenant_table(connection: Connection, table: str, *, tenant_may: str, platform_may: str) -> None:
    """Force row security on a table with a `tenant_id` and grant what each role may do (`SELECT, INSERT`)."""
    for statement in (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY of_any_tenant ON {table} TO {PLATFORM_ROLE} USING (true) WITH CHECK (true)",
        f"CREATE POLICY of_one_tenant ON {table} TO {TENANT_ROLE} "
        "USING (tenant_id = current_setting('seatline.tenant_id', true)) "
        "WITH CHECK (tenant_id = current_setting('seatline.tenant_id', true))",
        f"GRANT {platform_may} ON {table} TO {PLATFORM_ROLE}",
        f"GRANT {tenant_may} ON {table} TO {TENANT_ROLE}",
    ):
        connection.execute(text(statement))


def grant_global_table(connection: Connection, table: str, *, tenant_may: str | None = None) -> None:
    """A table without a tenant: the platform's, readable by tenants only where said."""
    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {PLATFORM_ROLE}"))
    if tenant_may is not None:
        connection.execute(text(f"GRANT {tenant_may} ON {table} TO {TENANT_ROLE}"))


_NOT_YET_ERASABLE = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE c.relrowsecurity AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'of_the_erased_tenant')
ORDER BY c.relname
"""


def allow_erasure(connection: Connection) -> None:
    """Let the role that erases at a tenant's end (clause C26) reach every table with a tenant, for that tenant alone.

    Nobody else may delete from most of them, and this role reaches nothing without a tenant set. A migration that
    makes a table with a tenant calls this again at its end.
    """
    connection.execute(text(_CREATE_ROLE.format(role=ERASURE_ROLE)))
    connection.execute(text(f"GRANT {ERASURE_ROLE} TO CURRENT_USER"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {ERASURE_ROLE}"))
    for table in connection.execute(text(_NOT_YET_ERASABLE)).scalars().all():
        connection.execute(
            text(
                f"CREATE POLICY of_the_erased_tenant ON {table} TO {ERASURE_ROLE} "
                "USING (tenant_id = current_setting('seatline.tenant_id', true)) "
                "WITH CHECK (tenant_id = current_setting('seatline.tenant_id', true))"
            )
        )
        connection.execute(text(f"GRANT SELECT, UPDATE, DELETE ON {table} TO {ERASURE_ROLE}"))
