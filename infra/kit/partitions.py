"""Monthly partitions of the tables that only ever grow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.engine import Connection

PARTITIONED_TABLES = ("audit_entry", "call_record", "charge", "posting")
MONTHS_AHEAD = 3


def month_after(month: date, count: int = 1) -> date:
    """The first day of the month `count` months later (earlier, when negative)."""
    year, index = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(year, index + 1, 1)


def create_default_partitions(connection: Connection, tables: Sequence[str]) -> None:
    """A place for rows of any month that has no partition yet: a record is never lost for want of one."""
    for table in tables:
        connection.execute(text(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT"))


def ensure_partitions(connection: Connection, today: date, tables: Sequence[str] = PARTITIONED_TABLES) -> list[str]:
    """Create the partitions of this and the following months; returns the new ones.

    A month of which rows already lie in the default partition keeps them there. A new partition locks the default one
    of its table until the transaction ends: beside other work, give each table a transaction of its own, or the
    monthly run, which uses them all, and this would wait for each other.
    """
    created: list[str] = []
    for table in tables:
        for ahead in range(MONTHS_AHEAD + 1):
            first = month_after(today.replace(day=1), ahead)
            name = f"{table}_{first:%Y_%m}"
            if connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is not None:
                continue
            if connection.scalar(  # the table names are the constants above
                text(f"SELECT EXISTS (SELECT FROM {table}_default WHERE month = :month)"),  # noqa: S608
                {"month": first},
            ):
                continue
            connection.execute(
                text(
                    f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{first}') TO ('{month_after(first)}')"
                )
            )
            created.append(name)
    return created
