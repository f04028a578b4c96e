"""A database of many tenants that rent: copies of one that has lived through the real services, with calls of a month.

The first tenant signs, orders, pays and is invoiced by the product itself on a travelled clock; the others are copies
of its rows, made by SQL under names of their own. So each of them is as whole as a real one, and a thousand take
seconds instead of an hour.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from billing import one_off_charges, rate_decks
from billing.rules.months import Month
from infra.app import schema
from infra.kit import clock
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.jobs import Runtime
from infra.kit.settings import load
from tests.bench.load import LoadBroken
from tests.billing.lease_world import LeaseWorld, morning

DATABASE = "leases"
RUN_TABLES = ("invoice_run",)
"""What runs write that belongs to no tenant."""

SEATS_A_TENANT = 100
CALLS_A_TENANT = 1_000
SIGNED_ON = date(2026, 4, 11)
USAGE_MONTH = Month(2026, 6)
CLOSED_ON = date(2026, 7, 1)
RENT = Decimal(2000)
SEATS_RETURNED = 2
RECRUITMENT = Decimal(800)
PAID_IN_ADVANCE = Decimal(5000)

FIRST_PREFIX = 100_000
PREFIXES = 60_000
"""All of six digits, so that each number has one price; decks of mixed lengths are measured under rating."""

LEAST_RATE_THOUSANDTHS = 10
RATES = 997
LONGEST_CALL_SECONDS = 300

_COPY_CALLS = """
INSERT INTO call_record (tenant_id, month, leg_id, node, leg, direction, other_leg_id, seat_id, caller, destination,
    gateway, started_at, answered_at, ended_at, billable_milliseconds, hangup_cause, refusal, received_at, body)
SELECT tenant_id, %(month)s, md5(tenant_id || call)::uuid::text, 'bench-node', 'gateway', 'outbound', NULL, NULL,
    '02112345678', prefix || lpad(call::text, 8, '5'), 'carrier', answered, answered,
    answered + seconds * interval '1 second', seconds * 1000, 'NORMAL_CLEARING', NULL, answered, '\\x00'
FROM (SELECT tenant_id, row_number() OVER (ORDER BY tenant_id) AS place FROM tenant) AS tenant,
    generate_series(1, %(calls)s) AS call,
    LATERAL (SELECT %(first)s + (place * 7919 + call::bigint * 104729) %% %(prefixes)s AS prefix,
                    1 + (place * 31 + call * 17) %% %(longest)s AS seconds,
                    %(begins)s::timestamptz + call %% 1000 * interval '40 minutes' AS answered) AS made
"""
_CHARGE_CALLS = """
INSERT INTO charge (tenant_id, month, leg_id, contract_id, billing_month, deck_id, prefix, billed_seconds, amount,
    rated_at)
SELECT tenant_id, month, leg_id, contract_id, month, %(deck_id)s, prefix, billed,
    round((%(least)s + prefix::int %% %(rates)s) * 0.001 * billed / 60, 4), ended_at
FROM call_record JOIN contract USING (tenant_id),
    LATERAL (SELECT left(destination, 6) AS prefix, (billable_milliseconds / 1000 + 5) / 6 * 6 AS billed) AS rated
"""
"""What the deck of `deck_csv` says for every call, by arithmetic of the database's own."""


def deck_csv(least_thousandths: int = LEAST_RATE_THOUSANDTHS) -> bytes:
    """A deck by started six seconds; a minute costs 0.001 CNY × (`least_thousandths` + prefix modulo `RATES`)."""
    lines = ["prefix,name,connect_fee,rate_per_minute,first_increment,next_increment"]
    lines += [
        f"{prefix},area {prefix},,{(least_thousandths + prefix % RATES) / 1000:.3f},6,6"
        for prefix in range(FIRST_PREFIX, FIRST_PREFIX + PREFIXES)
    ]
    return "\n".join([*lines, ""]).encode()


@dataclass(slots=True)
class Leases:
    """The database; `fill` sets it anew with as many tenants as are wanted."""

    url: str
    database: Database
    runtime: Runtime
    deck_id: str
    contract_id: str
    """Of the first tenant; each copy's has the copy's ending."""

    def connection(self) -> psycopg.Connection[Any]:
        """A connection as the server's superuser, whom row security does not bind; each statement by itself."""
        return psycopg.connect(_driver_url(self.url), autocommit=True)

    def fill(self, tenants: int, *, calls: int = CALLS_A_TENANT) -> None:
        """Exactly `tenants` copies with `calls` rated calls each, as on the morning of the run."""
        with self.connection() as connection:
            models = _tables(connection, "model")
            emptied = [*_tables(connection, "public"), *RUN_TABLES]
            connection.execute(sql.SQL("TRUNCATE {}").format(_joined(emptied)))
            for table in models:
                _copy_model(connection, table, tenants)
            connection.execute(
                _COPY_CALLS,
                {
                    "month": USAGE_MONTH.first,
                    "first": FIRST_PREFIX,
                    "prefixes": PREFIXES,
                    "calls": calls,
                    "longest": LONGEST_CALL_SECONDS,
                    "begins": clock.local_midnight(USAGE_MONTH.first),
                },
            )
            connection.execute(
                _CHARGE_CALLS, {"deck_id": self.deck_id, "least": LEAST_RATE_THOUSANDTHS, "rates": RATES}
            )
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")  # of the filling: it is not to fall into what is measured
        clock.travel_to(morning(CLOSED_ON))


@asynccontextmanager
async def furnished(server_url: str) -> AsyncGenerator[Leases]:
    """A database of its own on a running server; afterwards it is gone and the clock back in the present."""
    with psycopg.connect(_driver_url(server_url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    url = make_url(server_url).set(database=DATABASE).render_as_string(hide_password=False)
    settings = load({"SEATLINE_DATABASE_URL": url})
    database = Database(url, pool_size=settings.database_pool_size, timeout_seconds=settings.database_timeout_seconds)
    clock.travel_to(morning(SIGNED_ON))
    try:
        engine = blocking_engine(url)
        schema.upgrade(engine)
        engine.dispose()
        world = LeaseWorld(database, settings)
        await _live(world)
        async with database.transaction(Scope.platform()) as session:
            deck = await rate_decks.upload(session, name="bench", content=deck_csv(), is_default=True)
        leases = Leases(url, database, Runtime(database, settings), deck.deck_id, world.contract_id)
        with leases.connection() as connection:
            _keep_models(connection)
        yield leases
    finally:
        clock.set_offset_seconds(0)
        await database.close()
        with psycopg.connect(_driver_url(server_url), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(DATABASE)))


async def _live(world: LeaseWorld) -> None:
    """Two paid months, then one with a return, a charge and money in advance, up to the eve of its invoice."""
    await world.sign("hosted", "2026-05-01", {"rent_per_seat": f"{RENT:.2f}"}, on=SIGNED_ON.isoformat())
    await world.order(SEATS_A_TENANT, "2026-05-01")
    await world.begin(date(2026, 4, 30))
    await world.pay()
    await world.begin(date(2026, 5, 1))
    await world.begin(date(2026, 6, 1))
    await world.pay()
    clock.travel_to(morning(date(2026, 6, 8)))
    await world.give_back(range(SEATS_A_TENANT - SEATS_RETURNED + 1, SEATS_A_TENANT + 1), "2026-06-16")
    async with world.database.transaction(Scope.platform()) as session:
        await one_off_charges.create(
            session,
            tenant_id=world.tenant_id,
            contract_id=world.contract_id,
            kind="recruitment",
            amount=f"{RECRUITMENT:.2f}",
            on=date(2026, 6, 9),
            note="agents of June",
        )
    await world.pay(f"{PAID_IN_ADVANCE:.2f}")


def _keep_models(connection: psycopg.Connection[Any]) -> None:
    """Put what the first tenant has into tables beside, from which the copies are made."""
    connection.execute("CREATE SCHEMA model")
    for table in _tables(connection, "public"):
        name = sql.Identifier(table)
        counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        if counted is not None and counted[0]:
            connection.execute(sql.SQL("CREATE TABLE model.{} AS TABLE {}").format(name, name))


def _tables(connection: psycopg.Connection[Any], schema_name: str) -> list[str]:
    """The tables of a schema whose rows belong to tenants."""
    query = """
        SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND attname = 'tenant_id' AND relname NOT IN ('client', 'access_token')
        ORDER BY relname
    """
    return [row[0] for row in connection.execute(query, (schema_name,))]


def _copy_model(connection: psycopg.Connection[Any], table: str, copies: int) -> None:
    """Every id with the copy's number behind it, every domain with it in front; all else as it is."""
    columns = [
        row[0]
        for row in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
            " ORDER BY ordinal_position",
            (table,),
        )
    ]
    statement = sql.SQL("INSERT INTO {table} ({columns}) SELECT {values} FROM model.{table} AS first, {copies}").format(
        table=sql.Identifier(table),
        columns=_joined(columns),
        values=sql.SQL(", ").join(map(_copied, columns)),
        copies=sql.SQL("generate_series(1, {}) AS copy (place)").format(sql.Literal(copies)),
    )
    if connection.execute(statement).rowcount < copies:
        raise LoadBroken(f"The table {table} has fewer rows than there are tenants.")


def _copied(column: str) -> sql.Composable:
    name = sql.Identifier("first", column)
    if column.endswith("_id"):
        return sql.SQL("{} || '_' || lpad(copy.place::text, 5, '0')").format(name)
    if column.endswith("domain"):
        return sql.SQL("copy.place || '.' || {}").format(name)
    return name


def _joined(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _driver_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
