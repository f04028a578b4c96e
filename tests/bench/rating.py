"""Calls rated and charged a second with a 60,000-prefix deck, against COPY of as many rows into such a table."""

from __future__ import annotations

import os
import random
import time  # durations are measured on the monotonic clock
import uuid
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

import billing.jobs
from billing import rate_decks
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.partitions import month_after
from tests.bench.figures import Figure
from tests.bench.load import LoadBroken
from tests.bench.system import NODE, System

PREFIXES = 60_000
CALLS_A_ROUND = 30_000
ROUNDS = 3
BODY_BYTES = 2_500
"""A record of some 9 kB, deflated."""

SEED = 3
GOAL_RATIO = 0.15
TWIN = "bench_charge"
RECORD_COLUMNS = (
    "tenant_id, month, leg_id, node, leg, direction, other_leg_id, seat_id, caller, destination, gateway, started_at, "
    "answered_at, ended_at, billable_milliseconds, hangup_cause, refusal, received_at, body"
)


async def measure(system: System, tenant_id: str) -> list[Figure]:
    """Charge the calls of a tenant whose contract is open, and copy as many charges, in turns."""
    numbers = random.Random(SEED)  # noqa: S311 - the same deck and calls in every run
    prefixes = _prefixes(numbers)
    async with system.database.transaction(Scope.platform()) as session:
        deck = await rate_decks.upload(session, name="bench", content=_deck(numbers, prefixes), is_default=True)
    runtime = Runtime(system.database, system.settings)
    rated: list[float] = []
    copied: list[float] = []
    with system.driver_connection() as connection:
        _make_twin(connection)
        for _ in range(1 + ROUNDS):
            legs = _fill(connection, numbers, tenant_id, prefixes)
            rows = _charge_rows(connection, tenant_id, deck.deck_id, legs)
            began = time.monotonic()
            await billing.jobs.rate_calls(runtime, tenant_id=tenant_id)
            rated.append(len(legs) / (time.monotonic() - began))
            began = time.monotonic()
            _copy(connection, rows)
            copied.append(len(legs) / (time.monotonic() - began))
        charged = connection.execute("SELECT count(*) FROM charge").fetchone()
        if charged is None or charged[0] != (1 + ROUNDS) * CALLS_A_ROUND:
            raise LoadBroken(f"{(1 + ROUNDS) * CALLS_A_ROUND} calls were rated, but there are {charged} charges.")
    return [
        Figure(
            name=f"calls rated and charged, {PREFIXES:,} prefixes",
            value=median(rated[1:]),
            unit="1/s",
            limit=median(copied[1:]),
            limit_is="COPY of as many rows into a table with the same indexes",
            goal=GOAL_RATIO,
            better="higher",
        )
    ]


def _prefixes(numbers: random.Random) -> list[str]:
    made: set[str] = set()
    while len(made) < PREFIXES:
        made.add(str(numbers.randrange(10, 10 ** numbers.randint(2, 7))))
    return sorted(made)


def _deck(numbers: random.Random, prefixes: list[str]) -> bytes:
    lines = ["prefix,name,connect_fee,rate_per_minute,first_increment,next_increment"]
    lines += [f"{prefix},area {prefix},0.1,{numbers.randrange(1, 999) / 1000},60,6" for prefix in prefixes]
    return "\n".join([*lines, ""]).encode()


def _make_twin(connection: psycopg.Connection[Any]) -> None:
    """A table like `charge`, with its indexes and the partition of this month."""
    first = clock.today().replace(day=1)
    connection.execute(f"CREATE TABLE {TWIN} (LIKE charge INCLUDING ALL) PARTITION BY RANGE (month)".encode())
    connection.execute(
        sql.SQL("CREATE TABLE bench_charge_now PARTITION OF bench_charge FOR VALUES FROM ({}) TO ({})").format(
            sql.Literal(first), sql.Literal(month_after(first))
        )
    )
    connection.commit()


def _fill(
    connection: psycopg.Connection[Any], numbers: random.Random, tenant_id: str, prefixes: list[str]
) -> list[tuple[str, str]]:
    """Records of calls that bill, as the switch room would have stored them; leg id and prefix of each."""
    now = clock.now()
    month = clock.today().replace(day=1)
    body = os.urandom(BODY_BYTES)
    legs = [(str(uuid.uuid4()), numbers.choice(prefixes)) for _ in range(CALLS_A_ROUND)]
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY call_record ({RECORD_COLUMNS}) FROM STDIN".encode()) as copy:
            for leg_id, prefix in legs:
                milliseconds = numbers.randrange(1, 300_000)
                who = (tenant_id, month, leg_id, NODE, "gateway", "outbound", None, None)
                what = ("02112345678", f"{prefix}{numbers.randrange(10**7, 10**8)}", "carrier", now, now, now)
                copy.write_row((*who, *what, milliseconds, "NORMAL_CLEARING", None, now, body))
        with cursor.copy("COPY new_call (tenant_id, month, leg_id) FROM STDIN") as copy:
            for leg_id, _ in legs:
                copy.write_row((tenant_id, month, leg_id))
    connection.commit()
    return legs


def _charge_rows(connection: psycopg.Connection[Any], tenant_id: str, deck_id: str, legs: list[tuple[str, str]]) -> str:
    """The text of a COPY of charges for these legs, as wide as the real ones."""
    found = connection.execute("SELECT contract_id FROM contract WHERE tenant_id = %s", (tenant_id,)).fetchone()
    if found is None:
        raise LoadBroken(f"The tenant {tenant_id} has no contract.")
    connection.commit()
    month, now = clock.today().replace(day=1), clock.now()
    same = f"{found[0]}\t{month}\t{deck_id}"
    return "".join(f"{tenant_id}\t{month}\t{leg_id}\t{same}\t{prefix}\t66\t1.2345\t{now}\n" for leg_id, prefix in legs)


def _copy(connection: psycopg.Connection[Any], rows: str) -> None:
    columns = "tenant_id, month, leg_id, contract_id, billing_month, deck_id, prefix, billed_seconds, amount, rated_at"
    with connection.cursor() as cursor, cursor.copy(f"COPY {TWIN} ({columns}) FROM STDIN".encode()) as copy:
        copy.write(rows)
    connection.commit()
