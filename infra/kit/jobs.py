"""Background work on Procrastinate, enqueued in the same transaction as the change that needs it.

A room registers its tasks with `@task("room.verb_noun")`; anybody defers one by name, so a lower room can wake work of
an upper one without importing it. Tasks may run twice (a worker may die after its work and before saying so): each is
idempotent.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Concatenate, ParamSpec

from procrastinate import App, PsycopgConnector, RetryStrategy
from procrastinate.jobs import Status
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.database import Database
from infra.kit.objects import Objects
from infra.kit.sealing import Seal
from infra.kit.settings import Settings

P = ParamSpec("P")
log = logs.get(__name__)

RETRIES = 8
STALLED_AFTER_SECONDS = 60
"""A worker that has sent no heartbeat for this long is taken for dead and its jobs run again."""


class Runtime:
    """What a task may reach: the database, the settings, the seal and the object storage of this process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.seal = Seal(settings.secret_key)
        self.objects = Objects(settings)


class _Current:
    runtime: Runtime | None = None


app = App(connector=PsycopgConnector())
"""Holds the registered tasks; a worker gives it a connector of its own."""


def install(runtime: Runtime | None) -> None:
    """Give this process's tasks their database and settings."""
    _Current.runtime = runtime


Task = Callable[Concatenate[Runtime, P], Awaitable[None]]


def task(name: str) -> Callable[[Task[P]], Task[P]]:
    """Register a background task; it is retried with growing pauses and every failure is logged by Procrastinate."""

    def register(function: Task[P]) -> Task[P]:
        @functools.wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> None:
            if _Current.runtime is None:
                raise RuntimeError("jobs.install(runtime) was not called in this process.")
            await function(_Current.runtime, *args, **kwargs)

        app.task(name=name, retry=RetryStrategy(max_attempts=RETRIES, exponential_wait=2))(run)
        return function

    return register


async def defer(
    session: AsyncSession, name: str, *, lock: str | None = None, after_seconds: int = 0, **arguments: Any
) -> None:
    """Enqueue a task by name in the transaction of `session`, to start no earlier than `after_seconds` from now.

    Tasks with the same `lock` run one after another.
    """
    raw = await (await session.connection()).get_raw_connection()
    task = app.configure_task(
        name,
        allow_unknown=True,
        lock=lock,
        schedule_in={"seconds": after_seconds},
        connection=raw.driver_connection,
    )
    await task.defer_async(**arguments)


async def defer_each(session: AsyncSession, names: Iterable[str]) -> None:
    """Enqueue tasks without arguments in the transaction of `session`, in one statement; each is its own lock."""
    made = [app.configure_task(name, allow_unknown=True, lock=name).make_new_job() for name in names]
    if made:
        raw = await (await session.connection()).get_raw_connection()
        await app.job_manager.batch_defer_jobs_async(made, connection=raw.driver_connection)


async def rescue_stalled(worker_app: App) -> int:
    """Put the jobs of workers that died back into the queue; returns how many."""
    stalled = await worker_app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_SECONDS)
    count = 0
    for job in stalled:
        if job.status == Status.DOING.value:
            await worker_app.job_manager.retry_job(job)
            count += 1
            log.warning("job.rescued", job_id=job.id, task=job.task_name)
    return count
