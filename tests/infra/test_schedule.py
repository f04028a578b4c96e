"""The schedule starts what is due: each job once, however many workers look at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import text

from infra.app import schedule
from infra.kit import clock
from infra.kit.database import Database, Scope
from tests.jobs import TASK_MODULES

EVERYTHING = {entry.task for entry in schedule.SCHEDULE}
assert TASK_MODULES


async def started(database: Database, *, later: timedelta = timedelta()) -> list[str]:
    """What one worker starts when it looks."""
    async with database.transaction(Scope.platform()) as session:
        return await schedule.start_due(session, clock.now() + later)


async def queued(database: Database) -> Counter[tuple[str, str]]:
    """How often each task waits, with its lock."""
    async with database.transaction(Scope.platform()) as session:
        rows = await session.execute(text("SELECT task_name, lock FROM procrastinate_jobs WHERE status = 'todo'"))
        return Counter((row.task_name, row.lock) for row in rows)


async def test_everything_starts_at_first_and_then_when_its_time_is_over(database: Database) -> None:
    assert set(await started(database)) == EVERYTHING
    assert await started(database) == []
    soon = set(await started(database, later=timedelta(seconds=5, milliseconds=500)))
    short = {entry.task for entry in schedule.SCHEDULE if entry.every <= timedelta(seconds=5)}
    assert short <= soon
    assert {task for task, _ in await queued(database)} == EVERYTHING


async def test_workers_that_look_at_the_same_time_start_each_job_once(database: Database) -> None:
    for later in (timedelta(), timedelta(days=1)):
        each = await asyncio.gather(*(started(database, later=later) for _ in range(5)))
        assert Counter(name for names in each for name in names) == Counter(EVERYTHING)
    assert await queued(database) == Counter({(name, name): 2 for name in EVERYTHING})


async def test_a_start_that_was_rolled_back_is_made_up_for(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(Scope.platform()) as session:
            await schedule.start_due(session, clock.now())
            raise ZeroDivisionError
    assert await queued(database) == Counter()
    assert set(await started(database)) == EVERYTHING


async def test_a_worker_whose_clock_is_behind_does_not_start_again_what_another_has_just_started(
    database: Database,
) -> None:
    await started(database)
    async with database.transaction(Scope.platform()) as ahead:
        assert set(await schedule.start_due(ahead, clock.now() + timedelta(days=2))) == EVERYTHING
        behind = asyncio.create_task(started(database, later=timedelta(days=1)))
        await _waits_for_a_lock(database)
    assert await behind == []


async def _waits_for_a_lock(database: Database) -> None:
    """Until somebody in the database waits for a row that another has locked."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while True:
            async with database.engine.connect() as connection:
                if await connection.scalar(query):
                    return
