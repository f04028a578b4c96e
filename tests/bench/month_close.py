"""The close of a month for 100, 300 and 1,000 tenants, against writing the same rows with nothing to work out."""

from __future__ import annotations

import itertools
import time  # durations are measured on the monotonic clock
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from billing import ledger_check
from billing.rules.months import Month
from billing.runs import releases
from infra.kit.database import Scope
from tests.bench.figures import Figure
from tests.bench.leases import (
    CALLS_A_TENANT,
    CLOSED_ON,
    RECRUITMENT,
    RENT,
    SEATS_A_TENANT,
    SEATS_RETURNED,
    USAGE_MONTH,
    Leases,
)
from tests.bench.load import LoadBroken

TENANTS = (100, 300, 1_000)
SECONDS_GOAL = {100: 10.0, 300: 30.0, 1_000: 100.0}
RATIO_GOAL = 0.05
GROWTH_RATIO_GOAL = 0.8
"""Invoices a second with more tenants against those with fewer: 1 is growth in step with the tenants. Held against the
same of the bare loop, which tells how much slower the machine itself has become meanwhile."""

WARM_UP_TENANTS = 10
BARE_TENANTS = 100
WRITTEN = {
    "invoice": "issued_on = %(day)s",
    "invoice_line": (
        "invoice_id IN (SELECT invoice_id FROM invoice WHERE tenant_id = %(tenant)s AND issued_on = %(day)s)"
    ),
    "rent_charge": "month = %(day)s",
    "allocation": "allocated_on = %(day)s",
    "posting": "posted_on = %(day)s",
    "audit_entry": "month = %(day)s",
}
"""What a run adds, by table."""

RETURN_CREDIT_PART = Decimal("0.3")


@dataclass(frozen=True, slots=True)
class Closed:
    """One run: how long it took, and how long the bare loop would take for as many tenants."""

    tenants: int
    seconds: float
    bare_seconds: float

    @property
    def seconds_an_invoice(self) -> float:
        """Of the run."""
        return self.seconds / self.tenants

    @property
    def bare_seconds_an_invoice(self) -> float:
        """Of the bare loop."""
        return self.bare_seconds / self.tenants


async def measure(leases: Leases, sizes: Sequence[int] = TENANTS) -> list[Figure]:
    """Fill, close, check and write the same again, for each number of tenants; a few before, to warm up."""
    leases.fill(WARM_UP_TENANTS)
    await run_month(leases, WARM_UP_TENANTS)
    closed = [await _close(leases, tenants) for tenants in sizes]
    return [figure for each in closed for figure in _figures(each)] + [
        Figure(
            name=f"month close, {fewer.tenants:,} → {more.tenants:,} tenants: invoices a second, new to old",
            value=fewer.seconds_an_invoice / more.seconds_an_invoice,
            unit="x",
            limit=fewer.bare_seconds_an_invoice / more.bare_seconds_an_invoice,
            limit_is="the same of writing the rows by COPY; 1 is growth in step with the tenants",
            goal=GROWTH_RATIO_GOAL,
            better="higher",
        )
        for fewer, more in itertools.pairwise(closed)
    ]


def _figures(closed: Closed) -> list[Figure]:
    bare = f"the same rows by COPY, a transaction a tenant (as fast as for {BARE_TENANTS})"
    return [
        Figure(
            name=f"month close, {closed.tenants:,} tenants of {SEATS_A_TENANT} seats and {CALLS_A_TENANT:,} calls",
            value=closed.seconds,
            unit="s",
            limit=closed.bare_seconds,
            limit_is=bare,
            goal=SECONDS_GOAL.get(closed.tenants),
            better="lower",
        ),
        Figure(
            name=f"month close, {closed.tenants:,} tenants: invoices",
            value=closed.tenants / closed.seconds,
            unit="1/s",
            limit=closed.tenants / closed.bare_seconds,
            limit_is=bare,
            goal=RATIO_GOAL,
            better="higher",
        ),
    ]


async def _close(leases: Leases, tenants: int) -> Closed:
    leases.fill(tenants)
    seconds = await run_month(leases, tenants)
    await _check(leases, tenants)
    with leases.connection() as connection:
        return Closed(tenants, seconds, _bare_seconds_a_tenant(connection) * tenants)


async def run_month(leases: Leases, tenants: int) -> float:
    """Release the month as finance does and carry the run out; returns the seconds of the run."""
    month = Month.of(CLOSED_ON)
    async with leases.database.transaction(Scope.platform()) as session:
        await releases.release(session, month)
    began = time.monotonic()
    run = await releases.carry_out(leases.runtime, month)
    seconds = time.monotonic() - began
    if run is None or run.issued != tenants or run.set_aside:
        raise LoadBroken(f"{tenants} invoices were expected, but the run says {run}.")
    return seconds


async def _check(leases: Leases, tenants: int) -> None:
    """Every invoice has the sums worked out here by hand, and the ledger agrees with all documents."""
    with leases.connection() as connection:
        kinds = dict(
            connection.execute(
                "SELECT kind, sum(invoice_line.amount) FROM invoice JOIN invoice_line USING (tenant_id, invoice_id)"
                " WHERE issued_on = %s GROUP BY kind",
                (CLOSED_ON,),
            ).fetchall()
        )
        calls = connection.execute(
            "SELECT sum(round(called, 2)) FROM (SELECT sum(amount) AS called FROM charge WHERE billing_month = %s"
            " GROUP BY tenant_id) AS a_tenant",
            (USAGE_MONTH.first,),
        ).fetchone()
    expected = {
        "rent": tenants * (SEATS_A_TENANT - SEATS_RETURNED) * RENT,
        "return_credit": -tenants * SEATS_RETURNED * RENT * RETURN_CREDIT_PART,
        "deposit_return": -tenants * SEATS_RETURNED * RENT,
        "recruitment": tenants * RECRUITMENT,
        "calls": None if calls is None else calls[0],
    }
    if kinds != expected:
        raise LoadBroken(f"The invoices come to {kinds}, expected {expected}.")
    async with leases.database.transaction(Scope.platform()) as session:
        if found := await ledger_check.findings(session):
            raise LoadBroken(f"The ledger differs from the documents: {found[:3]}")


def _bare_seconds_a_tenant(connection: psycopg.Connection[Any]) -> float:
    """Write what the run has written for some tenants into tables like its own, each tenant's in one transaction.

    The sum of the tenant's calls is read too: no invoice can do without it.
    """
    tenants = connection.execute("SELECT tenant_id, contract_id FROM contract ORDER BY 1 LIMIT %s", (BARE_TENANTS,))
    written = [(*who, {table: _written(connection, table, who[0]) for table in WRITTEN}) for who in tenants.fetchall()]
    connection.execute("DROP SCHEMA IF EXISTS bare CASCADE")
    connection.execute("CREATE SCHEMA bare")
    for table in WRITTEN:
        name = sql.Identifier(table)
        connection.execute(sql.SQL("CREATE TABLE bare.{} (LIKE public.{} INCLUDING ALL)").format(name, name))
    began = time.monotonic()
    for tenant_id, contract_id, tables in written:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT sum(amount), count(*) FROM charge"
                " WHERE tenant_id = %s AND contract_id = %s AND billing_month = %s",
                (tenant_id, contract_id, USAGE_MONTH.first),
            )
            for table, rows in tables.items():
                with cursor.copy(sql.SQL("COPY bare.{} FROM STDIN").format(sql.Identifier(table))) as copy:
                    copy.write(rows)
    return (time.monotonic() - began) / len(written)


def _written(connection: psycopg.Connection[Any], table: str, tenant_id: str) -> bytes:
    query = f"COPY (SELECT * FROM {table} WHERE tenant_id = %(tenant)s AND {WRITTEN[table]}) TO STDOUT".encode()  # noqa: S608 - a name of our own tables
    with connection.cursor() as cursor, cursor.copy(query, {"tenant": tenant_id, "day": CLOSED_ON}) as copy:
        rows = b"".join(bytes(part) for part in copy)
    if not rows:
        raise LoadBroken(f"The run has written nothing to {table} for {tenant_id}.")
    return rows
