"""Databases for tests: copied from a migrated template, and emptied for the next test instead of copied again.

A copy takes ten times as long as emptying one. One that a test has left otherwise than empty of its rows (another
schema, somebody still connected) is dropped.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import psycopg
from sqlalchemy.engine import make_url

MAXIMUM_USES = 40
"""Dead rows gather in a database that is used again and again."""

_SHAPE = """
SELECT count(*), coalesce(sum(hashtext(relname::text || relkind::text || coalesce(relacl::text, ''))::bigint), 0)
FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# A table without a page has never had a row.
_EMPTY = """
DO $$
DECLARE kept regclass;
BEGIN
  FOR kept IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
              AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0 LOOP
    EXECUTE 'DELETE FROM ' || kept;
  END LOOP;
END $$
"""
_TABLES = """
SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
AND relname <> 'alembic_version'
"""


@dataclass
class Databases:
    """The databases of one test process on its server; `server_url` names the template."""

    server_url: str
    _free: list[str] = field(default_factory=list[str])
    _uses: dict[str, int] = field(default_factory=dict[str, int])
    _shape: tuple[object, ...] | None = None

    def take(self) -> str:
        """The URL of a database with the whole schema and no rows."""
        if self._shape is None:
            with self._connect(self._template) as connection:
                for (table,) in connection.execute(_TABLES).fetchall():
                    row = connection.execute(f"SELECT FROM {table} LIMIT 1".encode()).fetchone()
                    assert row is None, f"the migrations leave rows in {table}: emptying would lose them"
                self._shape = connection.execute(_SHAPE).fetchone()
        if self._free:
            name = self._free.pop()
        else:
            name = f"test_{uuid.uuid4().hex}"
            with self._connect("postgres") as connection:
                copy = f'CREATE DATABASE "{name}" TEMPLATE "{self._template}" STRATEGY file_copy'  # half the work here
                connection.execute(copy.encode())
        self._uses[name] = self._uses.get(name, 0) + 1
        return make_url(self.server_url).set(database=name).render_as_string(hide_password=False)

    def give_back(self, url: str) -> None:
        """Empty a database for the next test, or drop it."""
        name = make_url(url).database
        assert name is not None
        if self._uses[name] < MAXIMUM_USES and self._is_emptied(name):
            self._free.append(name)
            return
        with self._connect("postgres") as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    def _is_emptied(self, name: str) -> bool:
        with self._connect(name) as connection:
            if connection.execute(_OTHERS).fetchone() != (0,) or connection.execute(_SHAPE).fetchone() != self._shape:
                return False
            connection.execute("SET session_replication_role = replica")  # neither foreign keys nor notifications
            connection.execute(_EMPTY)
            return True

    @property
    def _template(self) -> str:
        name = make_url(self.server_url).database
        assert name is not None
        return name

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        parts = make_url(self.server_url).set(drivername="postgresql", database=database)
        return psycopg.connect(parts.render_as_string(hide_password=False), autocommit=True)
