"""Background work in tests: every job that is due runs in this process, over the test's own database."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from procrastinate import PsycopgConnector
from sqlalchemy.engine import make_url

import infra.app.rooms
from infra.kit import jobs

TASK_MODULES = infra.app.rooms.TASK_MODULES
"""Imported for their registrations."""

CONCURRENCY = 4
MAX_ROUNDS = 50


@dataclass(frozen=True)
class JobCount:
    """How many jobs of one task are in one state."""

    task: str
    status: str
    count: int


def _conninfo(database_url: str) -> str:
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


async def run_jobs(database_url: str) -> None:
    """Run what is due, and what that defers, until nothing is left; a job that failed waits for its later retry.

    The `database` fixture has given the tasks their runtime.
    """
    connector = PsycopgConnector(conninfo=_conninfo(database_url), min_size=1, max_size=CONCURRENCY)
    app = jobs.app.with_connector(connector)
    async with app.open_async():
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


async def _count_due(database_url: str) -> int:
    query = (
        "SELECT count(*) FROM procrastinate_jobs "
        "WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())"
    )
    async with await psycopg.AsyncConnection.connect(_conninfo(database_url)) as connection:
        row = await (await connection.execute(query)).fetchone()
    return int(row[0]) if row is not None else 0


async def job_counts(database_url: str) -> list[JobCount]:
    """What became of the jobs: by task and state (`todo` with attempts behind it is one that failed)."""
    query = "SELECT task_name, status::text, count(*) FROM procrastinate_jobs GROUP BY 1, 2 ORDER BY 1, 2"
    async with await psycopg.AsyncConnection.connect(_conninfo(database_url)) as connection:
        rows = await (await connection.execute(query)).fetchall()
    return [JobCount(*row) for row in rows]


async def failed_tasks(database_url: str) -> list[str]:
    """The tasks of jobs that have failed at least once, whether they are tried again or not."""
    query = (
        "SELECT DISTINCT task_name FROM procrastinate_jobs "
        "WHERE status = 'failed' OR (status = 'todo' AND attempts > 0) ORDER BY 1"
    )
    async with await psycopg.AsyncConnection.connect(_conninfo(database_url)) as connection:
        rows = await (await connection.execute(query)).fetchall()
    return [str(row[0]) for row in rows]
