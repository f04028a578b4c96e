"""Killing any process at any step of an order leaves, after restart, exactly the ordered seats open, charged once."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from litestar import Litestar
from procrastinate import PsycopgConnector
from psycopg.rows import dict_row
from sqlalchemy import text
from sqlalchemy.engine import make_url

from infra.app import asgi
from infra.kit import clock, jobs
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.settings import Settings
from tests.billing.calls import Calls
from tests.live.processes import ProcessOfTest
from tests.live.waiting import until
from tests.mortal import IMMORTAL, Killed, MortalDatabase, copy_of
from tests.provisioning.world import TODAY, World

SEATS = 200
PRICE = "706666.67"
"""Of 200 seats that open on the 8th of a month of thirty days: 23 days of rent, and the deposit."""

MADE = {
    "seats": "SELECT state, count(*) FROM seat GROUP BY 1",
    "extensions": "SELECT count(DISTINCT extension), min(extension), max(extension) FROM seat",
    "orders": "SELECT kind, quantity, state, jsonb_array_length(seat_ids) FROM seat_order",
    "accounts": "SELECT kind, is_open, count(*) FROM sip_account GROUP BY 1, 2 ORDER BY 1",
    "tunnels": "SELECT count(*), count(DISTINCT address) FROM tunnel_account",
    "holdings": "SELECT opened_on, lapsed, deposit_asked, count(*) FROM holding GROUP BY 1, 2, 3",
    "rent": "SELECT month, days, unit_price, count(*) FROM rent_charge GROUP BY 1, 2, 3",
    "invoices": "SELECT number, reason, total, paid, paid_on, voided_at FROM invoice ORDER BY 1",
    "payments": "SELECT amount, value_on, reversed_at FROM payment",
    "allocations": "SELECT amount, undone_at FROM allocation",
    "ledger": "SELECT account, sum(amount) FROM posting GROUP BY 1 ORDER BY 1",
    "contracts": "SELECT state FROM contract",
    "placements": "SELECT count(*) FROM placement",
    "calls": "SELECT prefix, billed_seconds, amount FROM charge",
    "told": "SELECT action, count(*) FROM audit_entry WHERE action LIKE 'seat%' OR action LIKE '%paid' GROUP BY 1 "
    "ORDER BY 1",
    "unfinished": "SELECT task_name, status::text FROM procrastinate_jobs WHERE status::text <> 'succeeded' "
    "AND (scheduled_at IS NULL OR scheduled_at <= now())",
}
"""All that an order brings about, but for ids and moments."""


@dataclass
class Plan:
    """Who orders what: prepared before the first process starts."""

    tenant_id: str
    contract_id: str
    operator: dict[str, str]
    finance: dict[str, str]
    """Headers of the callers."""


@pytest.fixture
async def plan(world: World) -> Plan:
    """A tenant with a contract that opens today, and prices of calls."""
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    await Calls(world.api.database).deck()
    finance = await world.api.client("finance")
    return Plan(tenant_id, contract_id, world.operator.headers, finance.headers)


@dataclass
class House:
    """Seatline over one database, until it is killed."""

    plan: Plan
    database: Database
    http: httpx.AsyncClient

    async def lives(self) -> None:
        """What comes from outside comes again until it was answered, and jobs are done: the life of one order."""
        order = {"kind": "add", "quantity": SEATS, "effective_on": TODAY.isoformat()}
        await self.asks("/v1/seat-orders", self.plan.operator, "order", **order, contract_id=self.plan.contract_id)
        await self.works()
        payment = {"amount": PRICE, "value_on": TODAY.isoformat(), "channel": "bank_transfer"}
        await self.asks("/v1/payments", self.plan.finance, "payment", **payment)
        await self.works()
        await self.hears_of_a_call()
        for task in ("billing.rate_calls", "provisioning.advance_all_orders"):
            async with self.database.transaction(Scope.platform()) as session:
                await jobs.defer(session, task)
        await self.works()

    async def asks(self, path: str, caller: dict[str, str], key: str, **body: Any) -> None:
        headers = caller | {"idempotency-key": key}
        answer = await self.http.post(path, json={"tenant_id": self.plan.tenant_id} | body, headers=headers)
        assert answer.status_code == 201, answer.text

    async def works(self) -> None:
        """A worker does one job after another; what it was at when it was killed stays `doing`."""
        async with await psycopg.AsyncConnection.connect(conninfo(self.database.url), autocommit=True) as queue:
            while (job := await _next_job(queue)) is not None:
                await jobs.app.tasks[job["task_name"]].func(**job["args"])
                await queue.execute("UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = %s", (job["id"],))

    async def hears_of_a_call(self) -> None:
        """The record of a call is there once, however often its node has sent it."""
        outside = Database(self.database.url, pool_size=1)
        try:
            async with outside.transaction(Scope.platform()) as session:
                known = await session.scalar(text("SELECT count(*) FROM call_record"))
            if not known:
                await Calls(outside).call(self.plan.tenant_id, answered=f"{TODAY} 08:30", leg_id="leg-of-order")
        finally:
            await outside.close()


async def _next_job(queue: psycopg.AsyncConnection[Any]) -> dict[str, Any] | None:
    async with queue.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = (SELECT id FROM procrastinate_jobs "
            "WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) ORDER BY id LIMIT 1) "
            "RETURNING id, task_name, args"
        )
        return await cursor.fetchone()


def conninfo(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def rescue(url: str) -> None:
    """What a worker does first: the jobs of dead ones are to be done again."""
    app = jobs.app.with_connector(PsycopgConnector(conninfo=conninfo(url), min_size=1, max_size=1))
    async with app.open_async():
        await jobs.rescue_stalled(app)


async def made(url: str) -> dict[str, list[tuple[Any, ...]]]:
    async with await psycopg.AsyncConnection.connect(conninfo(url)) as connection:
        return {name: await (await connection.execute(query.encode())).fetchall() for name, query in MADE.items()}


@dataclass
class Street:
    """Where houses are built, each over a copy of the same database."""

    plan: Plan
    settings: Settings
    parts: asgi.Parts
    routes: Litestar

    @asynccontextmanager
    async def house(self, database: Database) -> AsyncGenerator[House]:
        self.parts.database = database
        jobs.install(Runtime(database, self.settings))
        transport = httpx.ASGITransport(app=asgi.around(self.routes, self.parts), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test") as http:
            try:
                yield House(self.plan, database, http)
            finally:
                await database.close()

    async def whole_life(self, url: str, dies_with: int, *, after: bool = False) -> tuple[dict[str, Any], int]:
        """One that is killed is started again and goes on: what there is in the end, and how many transactions."""
        first = MortalDatabase(url, dies_with, after=after)
        try:
            async with self.house(first) as house:
                await house.lives()
        except Killed:
            await rescue(url)
            async with self.house(MortalDatabase(url)) as house:
                await house.lives()
        return await made(url), first.begun


async def test_killed_at_any_step_the_ordered_seats_are_open_and_charged_once(
    world: World, plan: Plan, settings: Settings
) -> None:
    base = world.database_url
    parts = asgi.Parts.over(settings, world.api.database)
    street = Street(plan, settings, parts, asgi.routed(parts))
    await world.api.database.engine.dispose()
    with copy_of(base) as url:
        undisturbed, transactions = await street.whole_life(url, IMMORTAL)
    assert undisturbed["seats"] == [("open", SEATS)]
    assert undisturbed["unfinished"] == []
    assert transactions > 10
    for number, after in [*((each, False) for each in range(1, transactions + 1)), (transactions, True)]:
        with copy_of(base) as url:  # behind a commit is as before the next one's
            left, _ = await street.whole_life(url, number, after=after)
        assert left == undisturbed, f"killed {'behind' if after else 'before'} commit {number}"
    jobs.install(Runtime(world.api.database, settings))


WORKER_LIMIT_SECONDS = 60.0
"""Until a worker that was started is where the test waits for it; the machine may be busy."""


@dataclass
class Workers:
    """Real worker processes over a test's database, one after another, and the locks that hold them up."""

    url: str
    directory: Path
    settings: Settings

    def worker(self) -> ProcessOfTest:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
        environment = inherited | {
            "SEATLINE_DATABASE_URL": self.url,
            "SEATLINE_DATA_DIRECTORY": str(self.directory),
            "SEATLINE_SECRET_KEY": self.settings.secret_key,
            "SEATLINE_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "infra.app.cli", "worker"]
        return ProcessOfTest("worker", command, environment, self.directory / "worker.log")

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(conninfo(self.url))

    async def sees(self, worker: ProcessOfTest, query: str) -> None:
        """Wait until a query of one truth is true, while the worker runs."""

        async def look() -> bool:
            worker.check()
            with self.connect() as connection:
                row = connection.execute(query.encode()).fetchone()
            return row is not None and bool(row[0])

        await until(look, query, limit_seconds=WORKER_LIMIT_SECONDS)

    def kill(self, worker: ProcessOfTest) -> None:
        """SIGKILL; then a minute passes without a sign of life."""
        worker.kill()
        with self.connect() as connection:
            connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '61 seconds'")


SOMEBODY_WAITS = (
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
ALL_OPEN = f"SELECT count(*) = {SEATS} FROM seat WHERE state = 'open'"  # noqa: S608 - a number of ours
ALL_DONE = "SELECT count(*) = 0 FROM procrastinate_jobs WHERE task_name = 'provisioning.advance_orders'"


async def test_workers_that_are_really_killed_leave_the_same(world: World, settings: Settings, tmp_path: Path) -> None:
    clock.set_offset_seconds(0)
    today = clock.today()
    workers = Workers(world.database_url, tmp_path, settings)
    operator, finance = await world.api.client("platform_operator"), await world.api.client("finance")
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id, opens_on=today)
    await world.placed(tenant_id, contract_id, caller=operator, quantity=SEATS, effective_on=today)
    owed = (await finance.get(f"/v1/tenants/{tenant_id}/balance")).json()["owed"]
    await world.pay(tenant_id, owed, value_on=today)
    worker = workers.worker()
    try:
        with workers.connect() as held:  # it is about to take the tenant
            held.execute("SELECT 1 FROM tenant WHERE tenant_id = %s FOR UPDATE", (tenant_id,))
            worker.start()
            await workers.sees(worker, SOMEBODY_WAITS)
            workers.kill(worker)
        with workers.connect() as held:  # the seats are marked open, their accounts are next
            held.execute("LOCK TABLE sip_account IN EXCLUSIVE MODE")
            worker.start()
            await workers.sees(worker, SOMEBODY_WAITS)
            workers.kill(worker)
        assert {seat.state for seat in await world.seats(tenant_id)} == {"ordered"}
        with workers.connect() as at_its_job, workers.connect() as at_accounts:  # all is done, but for saying so
            at_accounts.execute("LOCK TABLE sip_account IN EXCLUSIVE MODE")
            worker.start()
            await workers.sees(worker, SOMEBODY_WAITS)
            at_its_job.execute("SELECT 1 FROM procrastinate_jobs WHERE status = 'doing' FOR UPDATE")
            at_accounts.rollback()
            await workers.sees(worker, ALL_OPEN)
            await workers.sees(worker, SOMEBODY_WAITS)
            workers.kill(worker)
        worker.start()
        await workers.sees(worker, ALL_DONE)
    finally:
        worker.stop()
    left = await made(world.database_url)
    assert (left["seats"], left["orders"]) == ([("open", SEATS)], [("opening", SEATS, "done", SEATS)])
    assert left["accounts"] == [("canary", True, 1), ("seat", True, SEATS)]
    assert [row[-1] for row in left["holdings"]] == [SEATS] == [row[-1] for row in left["rent"]]
    assert [(row[1], str(row[2]), row[2] == row[3]) for row in left["invoices"]] == [("opening", owed, True)]
    assert left["told"] == [("seat_order.done", 1), ("seat_order.placed", 1), ("seats.opened", 1)]
