"""Background work in tests: every job that is due runs in this process, over the test's own database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from procrastinate import PsycopgConnector
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.engine import make_url

import infra.app.rooms
from infra.kit import jobs

TASK_MODULES = infra.app.rooms.TASK_MODULES
"""Imported for their registrations."""

CONCURRENCY = 4
MAX_ROUNDS = 50

Pool = AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]]
_pools: dict[str, Pool] = {}
"""By the database's URL: a new connection costs more than most jobs."""


@dataclass(frozen=True)
class JobCount:
    """How many jobs of one task are in one state."""

    task: str
    status: str
    count: int


async def run_jobs(database_url: str) -> None:
    """Run what is due, and what that defers, until nothing is left; a job that failed waits for its later retry.

    The `database` fixture has given the tasks their runtime, and closes the connections.
    """
    pool = await _pool(database_url)
    await pool.check()
    app = jobs.app.with_connector(PsycopgConnector())
    async with app.open_async(pool):
        for _ in range(MAX_ROUNDS):  # a worker ends while its last jobs run, and does not see what those defer
            await app.run_worker_async(
                wait=False,
                listen_notify=False,
                install_signal_handlers=False,
                concurrency=CONCURRENCY,
                delete_jobs="never",
            )
            if not await _count_due(database_url):
                return
    raise AssertionError(f"After {MAX_ROUNDS} rounds there is still work to do: {await job_counts(database_url)}")


async def close_connections() -> None:
    """At the end of a test: close what `run_jobs` has opened."""
    while _pools:
        await _pools.popitem()[1].close()


async def _pool(database_url: str) -> Pool:
    if database_url not in _pools:
        conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        autocommit = {"autocommit": True}  # each of the worker's statements is a transaction
        pool: Pool = AsyncConnectionPool(conninfo, min_size=1, max_size=CONCURRENCY, kwargs=autocommit, open=False)
        _pools[database_url] = pool
        await pool.open(wait=True)
    return _pools[database_url]


async def _rows(database_url: str, query: LiteralString) -> list[TupleRow]:
    async with (await _pool(database_url)).connection() as connection:
        return await (await connection.execute(query)).fetchall()


async def _count_due(database_url: str) -> int:
    query = (
        "SELECT count(*) FROM procrastinate_jobs "
        "WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())"
    )
    return int((await _rows(database_url, query))[0][0])


async def job_counts(database_url: str) -> list[JobCount]:
    """What became of the jobs: by task and state (`todo` with attempts behind it is one that failed)."""
    query = "SELECT task_name, status::text, count(*) FROM procrastinate_jobs GROUP BY 1, 2 ORDER BY 1, 2"
    return [JobCount(*row) for row in await _rows(database_url, query)]


async def failed_tasks(database_url: str) -> list[str]:
    """The tasks of jobs that have failed at least once, whether they are tried again or not."""
    query = (
        "SELECT DISTINCT task_name FROM procrastinate_jobs "
        "WHERE status = 'failed' OR (status = 'todo' AND attempts > 0) ORDER BY 1"
    )
    return [str(row[0]) for row in await _rows(database_url, query)]
