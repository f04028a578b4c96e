"""The database itself keeps one tenant's rows from another, whatever a query forgets."""

from __future__ import annotations

import pytest
from sqlalchemy import Index, UniqueConstraint, func, select, text
from sqlalchemy.exc import ProgrammingError

from infra.app.schema import metadata
from infra.kit.database import PLATFORM_ROLE, TENANT_ROLE, Database, Scope
from infra.kit.models import AuditEntry
from infra.kit.partitions import PARTITIONED_TABLES
from tenancy import tenants
from tenancy.models import Tenant

GLOBAL_TABLES = {
    "sip_domain", "client", "access_token", "node", "gateway", "phone_number", "rate_deck", "set_aside_record",
    "idempotency_record", "schedule_entry", "bank_mapping", "bank_statement", "bank_statement_line",
    "stripe_event", "maintenance_window", "platform_call_policy", "node_drain", "live_node", "sip_edge", "node_boot",
    "tunnel_gateway", "tunnel_block", "tunnel_key", "started_hour", "seen_leg", "hour_sign_off", "invoice_run",
    "fapiao_number", "sign_in_attempts", "canary_watch", "window_node",
    "gateway_state", "pooled_number", "number_event", "stray_call", "examination",
}  # fmt: skip


async def _two_tenants(database: Database) -> tuple[str, str]:
    async with database.transaction(Scope.platform()) as session:
        ours = await tenants.create_tenant(session, name="ours", sip_domain="ours.example.com")
        theirs = await tenants.create_tenant(session, name="theirs", sip_domain="theirs.example.com")
        return ours.tenant_id, theirs.tenant_id


async def test_a_query_without_a_filter_sees_only_its_own_tenant(database: Database) -> None:
    ours, _ = await _two_tenants(database)
    async with database.transaction(Scope.tenant(ours)) as session:
        assert (await session.execute(select(Tenant.tenant_id))).scalars().all() == [ours]
        assert set((await session.execute(select(AuditEntry.tenant_id))).scalars()) == {ours}


async def test_a_tenant_cannot_write_into_another(database: Database) -> None:
    ours, theirs = await _two_tenants(database)
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.transaction(Scope.tenant(ours)) as session:
            await session.execute(
                text(
                    "INSERT INTO audit_entry (tenant_id, month, entry_id, occurred_at, actor, action, facts)"
                    " VALUES (:tenant_id, '2026-01-01', 'aud_x', now(), 'x', 'x', '{}')"
                ),
                {"tenant_id": theirs},
            )


async def test_without_a_tenant_the_tenant_role_sees_nothing(database: Database) -> None:
    await _two_tenants(database)
    async with database.transaction(Scope.tenant("")) as session:
        assert await session.scalar(select(func.count()).select_from(Tenant)) == 0


async def test_the_role_ends_with_its_transaction(database: Database) -> None:
    ours, theirs = await _two_tenants(database)
    async with database.transaction(Scope.tenant(ours)) as session:
        await session.execute(select(1))
    async with database.transaction(Scope.platform()) as session:
        assert set((await session.execute(select(Tenant.tenant_id))).scalars()) == {ours, theirs}


async def test_neither_role_can_bypass_row_security(database: Database) -> None:
    async with database.transaction(Scope.platform()) as session:
        rows = await session.execute(
            text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = ANY(:names)"),
            {"names": [PLATFORM_ROLE, TENANT_ROLE]},
        )
        assert sorted(tuple(row) for row in rows) == [(PLATFORM_ROLE, False, False), (TENANT_ROLE, False, False)]


async def test_nobody_rewrites_the_audit_trail(database: Database) -> None:
    await _two_tenants(database)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.transaction(Scope.platform()) as session:
            await session.execute(text("UPDATE audit_entry SET actor = 'nobody'"))


async def test_every_table_with_a_tenant_forces_row_security(database: Database) -> None:
    async with database.transaction(Scope.platform()) as session:
        forced = set(
            (await session.execute(text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")))
            .scalars()
            .all()
        )
    tenant_tables = {table.name for table in metadata.sorted_tables if "tenant_id" in table.columns}
    assert tenant_tables <= forced


async def test_partitions_are_reached_through_their_table_only(database: Database) -> None:
    async with database.transaction(Scope.platform()) as session:
        granted = await session.execute(
            text(
                "SELECT c.relname FROM pg_class c JOIN information_schema.role_table_grants g"
                " ON g.table_name = c.relname WHERE c.relispartition AND g.grantee = ANY(:roles)"
            ),
            {"roles": [PLATFORM_ROLE, TENANT_ROLE]},
        )
        assert granted.scalars().all() == []


def test_the_tenant_comes_first_in_every_key_of_a_tenant_table() -> None:
    """House decision 13: the tables can be spread over machines by tenant later."""
    for table in metadata.sorted_tables:
        if table.name in GLOBAL_TABLES:
            continue
        assert next(iter(table.primary_key.columns)).name == "tenant_id", table.name
        unique: list[UniqueConstraint | Index] = [each for each in table.indexes if each.unique]
        unique += [each for each in table.constraints if isinstance(each, UniqueConstraint)]
        for constraint in unique:
            assert "tenant_id" in {column.name for column in constraint.columns}, (table.name, constraint)


def test_tables_that_only_grow_are_partitioned_by_a_month_in_their_key() -> None:
    for name in PARTITIONED_TABLES:
        table = metadata.tables[name]
        assert table.dialect_kwargs["postgresql_partition_by"] == "RANGE (month)"
        assert "month" in table.primary_key.columns
