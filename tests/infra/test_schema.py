"""Migrations run up from nothing, twice without harm, and give exactly the schema of the models."""

from __future__ import annotations

from datetime import date

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from infra.app import schema
from infra.kit.database import blocking_engine
from infra.kit.partitions import ensure_partitions, month_after

FOREIGN_PREFIXES = ("procrastinate_",)


def _is_ours(name: str | None, partitions: set[str]) -> bool:
    return name is not None and not name.startswith(FOREIGN_PREFIXES) and name not in partitions


def test_the_migrations_give_the_schema_of_the_models(database_url: str) -> None:
    engine = blocking_engine(database_url)
    with engine.connect() as connection:
        partitions = {
            name
            for name in inspect(connection).get_table_names()
            if name.rpartition("_")[0] and name not in schema.metadata.tables
        }
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda thing, name, kind, *_: (
                    _is_ours(getattr(thing, "table", thing).name, partitions) if kind != "column" else True
                ),
            },
        )
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    engine = blocking_engine(database_url)
    schema.upgrade(engine)
    schema.upgrade(engine)
    engine.dispose()


def test_partitions_are_made_ahead_once(database_url: str) -> None:
    engine = blocking_engine(database_url)
    with engine.begin() as connection:
        created = ensure_partitions(connection, date(2031, 11, 5))
        assert "call_record_2031_11" in created
        assert "charge_2032_02" in created
        assert ensure_partitions(connection, date(2031, 11, 30)) == []
    engine.dispose()


def test_month_after_crosses_the_year() -> None:
    assert month_after(date(2026, 12, 1)) == date(2027, 1, 1)
    assert month_after(date(2026, 1, 1), -1) == date(2025, 12, 1)
