"""The calls of an invoiced month priced again and the difference settled, against copying as many rows."""

from __future__ import annotations

import time  # durations are measured on the monotonic clock
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

import billing.jobs
from billing import ledger_check, rate_decks
from billing.corrections import re_ratings
from infra.kit.database import Scope
from tests.bench import month_close
from tests.bench.figures import Figure
from tests.bench.leases import CALLS_A_TENANT, RATES, USAGE_MONTH, Leases, deck_csv
from tests.bench.load import LoadBroken

CALLS = 500_000
CHEAPER_THOUSANDTHS = 7
GOAL_RATIO = 0.08
GOAL_RATIO_OF_MANY = 0.05
"""Each contract has a request, a settlement and a credit note of its own."""

_NEW_PRICES = """
SELECT tenant_id, round(sum(amount), 2) - round(sum(cheaper), 2) FROM charge,
    LATERAL (SELECT
        round((%(least)s + prefix::int %% %(rates)s) * 0.001 * billed_seconds / 60, 4) AS cheaper) AS priced
WHERE billing_month = %(month)s AND tenant_id = ANY (%(tenant_ids)s) GROUP BY tenant_id
"""
"""What each tenant is to be credited, by arithmetic of the database's own."""


@dataclass(frozen=True, slots=True)
class ReRated:
    """How long pricing and settling took, and how long copying the rows that they wrote."""

    calls: int
    computed_seconds: float
    settled_seconds: float
    copied_seconds: float

    @property
    def per_second(self) -> float:
        """Calls priced again and settled."""
        return self.calls / (self.computed_seconds + self.settled_seconds)


async def measure(leases: Leases, calls: int = CALLS) -> list[Figure]:
    """So many calls: of as many contracts as it takes, whose month is closed already, then of a single one."""
    contracts = calls // CALLS_A_TENANT
    many = await _re_rate(leases, contracts, calls)
    leases.fill(1, calls=calls)
    await month_close.run_month(leases, 1)
    one = await _re_rate(leases, 1, calls)
    return [
        *_figures(many, f"{contracts} contracts", GOAL_RATIO_OF_MANY),
        *_figures(one, "one contract", GOAL_RATIO),
    ]


def _figures(done: ReRated, whose: str, goal: float) -> list[Figure]:
    copied = "COPY of the rows that it writes into tables with the same indexes"
    return [
        Figure(
            name=f"re-rating {done.calls:,} calls of {whose}, settled by credit notes",
            value=done.computed_seconds + done.settled_seconds,
            unit="s",
            limit=done.copied_seconds,
            limit_is=copied,
            goal=None,
            better="lower",
        ),
        Figure(
            name=f"re-rating {done.calls:,} calls of {whose}: calls",
            value=done.per_second,
            unit="1/s",
            limit=done.calls / done.copied_seconds,
            limit_is=copied,
            goal=goal,
            better="higher",
        ),
    ]


async def _re_rate(leases: Leases, contracts: int, calls: int) -> ReRated:
    with leases.connection() as connection:
        connection.execute("VACUUM (ANALYZE) charge, call_record")
        found = connection.execute("SELECT tenant_id, contract_id FROM contract ORDER BY 1 LIMIT %s", (contracts,))
        pairs = [(str(tenant_id), str(contract_id)) for tenant_id, contract_id in found]
        expected = _credits(connection, [tenant_id for tenant_id, _ in pairs])
    async with leases.database.transaction(Scope.platform()) as session:
        deck = await rate_decks.upload(session, name="cheaper", content=deck_csv(CHEAPER_THOUSANDTHS), is_default=False)
    began = time.monotonic()
    asked = [await _compute(leases, *pair, deck.deck_id) for pair in pairs]
    computed = time.monotonic()
    for tenant_id, re_rating_id in asked:
        async with leases.database.transaction(Scope.platform()) as session:
            await re_ratings.settle(session, tenant_id=tenant_id, re_rating_id=re_rating_id)
    settled = time.monotonic()
    await _check(leases, expected)
    with leases.connection() as connection:
        return ReRated(calls, computed - began, settled - computed, _copied_seconds(connection))


async def _compute(leases: Leases, tenant_id: str, contract_id: str, deck_id: str) -> tuple[str, str]:
    """Ask for it as finance does, and do the job that this defers; returns tenant and re-rating."""
    async with leases.database.transaction(Scope.platform()) as session:
        asked = await re_ratings.request(
            session,
            tenant_id=tenant_id,
            contract_id=contract_id,
            month=USAGE_MONTH,
            deck_id=deck_id,
            reason="the deck was wrong",
        )
    await billing.jobs.compute_re_rating(leases.runtime, tenant_id=tenant_id, re_rating_id=asked.re_rating_id)
    return tenant_id, asked.re_rating_id


def _credits(connection: psycopg.Connection[Any], tenant_ids: list[str]) -> dict[str, Decimal]:
    rows = connection.execute(
        _NEW_PRICES,
        {"least": CHEAPER_THOUSANDTHS, "rates": RATES, "month": USAGE_MONTH.first, "tenant_ids": tenant_ids},
    )
    return {tenant_id: amount for tenant_id, amount in rows if amount}


async def _check(leases: Leases, expected: dict[str, Decimal]) -> None:
    """Every tenant has the credit note worked out here by hand, and the ledger agrees with all documents."""
    with leases.connection() as connection:
        rows = connection.execute("SELECT tenant_id, -sum(total) FROM invoice WHERE reason = 'credit_note' GROUP BY 1")
        credited = dict(rows.fetchall())
    if credited != expected:
        raise LoadBroken(f"{len(credited)} credit notes do not come to what was expected of {len(expected)}.")
    async with leases.database.transaction(Scope.platform()) as session:
        if found := await ledger_check.findings(session):
            raise LoadBroken(f"The ledger differs from the documents: {found[:3]}")


def _copied_seconds(connection: psycopg.Connection[Any]) -> float:
    """Write the priced calls and the revised charges again, into tables like theirs."""
    written = {
        "re_rated_call": _rows(connection, "SELECT * FROM re_rated_call"),
        "charge": _rows(connection, "SELECT * FROM charge WHERE revised_amount IS NOT NULL"),
    }
    connection.execute("DROP SCHEMA IF EXISTS bare CASCADE")
    connection.execute("CREATE SCHEMA bare")
    for table in written:
        connection.execute(f"CREATE TABLE bare.{table} (LIKE public.{table} INCLUDING ALL)".encode())
    began = time.monotonic()
    with connection.transaction(), connection.cursor() as cursor:
        for table, rows in written.items():
            with cursor.copy(f"COPY bare.{table} FROM STDIN".encode()) as copy:
                copy.write(rows)
    return time.monotonic() - began


def _rows(connection: psycopg.Connection[Any], query: str) -> bytes:
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as copy:
        return b"".join(bytes(part) for part in copy)
