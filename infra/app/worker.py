"""The worker process: runs background jobs and the schedule. Several workers on several machines are the same code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from psycopg_pool import PoolTimeout
from sqlalchemy import delete
from sqlalchemy.engine import make_url

import infra.app.rooms
from infra.app import schedule
from infra.app.installation import Installation
from infra.kit import clock, jobs, logs, partitions
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.models import IdempotencyRecord
from tenancy.models import AccessToken
from tenancy.webhooks import sender

log = logs.get(__name__)
GRACEFUL_STOP_SECONDS = 20
PAUSE_SECONDS = 2.0
"""Between two attempts to reach a database that is away."""

RESCUE_EVERY_SECONDS = jobs.STALLED_AFTER_SECONDS / 2

POLL_SECONDS = 0.5
"""A job that waits for another with the same lock is found by the next poll, not by a notification."""
TASK_MODULES = infra.app.rooms.TASK_MODULES
"""Imported for their registrations."""


def worker_app(database_url: str) -> App:
    """The task application with a connector over this database."""
    conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    return jobs.app.with_connector(PsycopgConnector(conninfo=conninfo, min_size=1, max_size=8))


@jobs.task("infra.keep_house")
async def keep_house(runtime: jobs.Runtime) -> None:
    """Remove what nobody may use any more, and make next month's partitions."""
    now = clock.now()
    oldest = now - timedelta(hours=runtime.settings.idempotency_retention_hours)
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.created_at < oldest))
        await session.execute(delete(AccessToken).where(AccessToken.expires_at < now - timedelta(days=1)))

    def make_partitions() -> list[str]:
        engine = blocking_engine(runtime.database.url)
        made: list[str] = []
        try:
            for table in partitions.PARTITIONED_TABLES:
                with engine.begin() as connection:
                    made += partitions.ensure_partitions(connection, clock.today(), (table,))
        finally:
            engine.dispose()
        return made

    created = await asyncio.to_thread(make_partitions)
    if created:
        log.info("partitions.created", names=created)


async def run(installation: Installation) -> None:
    """Work until SIGTERM or SIGINT; running jobs may end first.

    Raises `Unavailable` when the database is away at the start. When it goes away later, the worker waits for it.
    """
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()):
            pass
        jobs.install(jobs.Runtime(database, installation.settings))
        await keep_working(lambda: _work(installation, database))
    finally:
        await database.close()


async def keep_working(work: Callable[[], Awaitable[None]], *, pause_seconds: float = PAUSE_SECONDS) -> None:
    """Do the work, and begin it anew after a pause whenever it ended because the database was away."""
    while True:
        try:
            await work()
            return
        except (ConnectorException, PoolTimeout) as error:
            log.warning("worker.database_away", reason=type(error.__cause__ or error).__name__)
        await asyncio.sleep(pause_seconds)


async def keep_rescuing(app: App, stop: asyncio.Event, *, every_seconds: float = RESCUE_EVERY_SECONDS) -> None:
    """Look for jobs of dead workers until `stop`: a worker that came back at once finds its own only later, and a job
    that seems to run holds back every other with its lock.
    """
    while not stop.is_set():
        try:
            await jobs.rescue_stalled(app)
        except ConnectorException:
            log.warning("worker.rescue_failed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_seconds):
                await stop.wait()


async def _work(installation: Installation, database: Database) -> None:
    app = worker_app(installation.database_url)
    stop = asyncio.Event()
    async with app.open_async():
        rescued = await jobs.rescue_stalled(app)
        log.info("worker.started", rescued=rescued)
        ticking = asyncio.create_task(schedule.run_schedule(database, stop))
        rescuing = asyncio.create_task(keep_rescuing(app, stop))
        sending = asyncio.create_task(sender.run_sender(database, installation.settings, stop))
        try:
            await app.run_worker_async(
                concurrency=installation.settings.worker_concurrency,
                fetch_job_polling_interval=POLL_SECONDS,
                shutdown_graceful_timeout=GRACEFUL_STOP_SECONDS,
                delete_jobs="successful",
            )
        finally:
            stop.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(ticking, rescuing, sending)
