"""What every test may use: a real PostgreSQL, a fresh database copied from a template, and a clock."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from billing import ledger_check
from infra.app import asgi, schema
from infra.kit import clock, jobs, logs
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.embedded_postgres import EmbeddedPostgres
from infra.kit.settings import Settings, load
from tests.api import Api
from tests.databases import Databases
from tests.jobs import close_connections

TEMPLATE = "seatline_template"
LIVE_TESTS = "tests/live/"
ANY_MONEY = "SELECT EXISTS (SELECT FROM posting) OR EXISTS (SELECT FROM invoice)"
"""Whether the check of the ledger, which compares these two, can find anything: asking costs a tenth of it."""
logs.configure("warning")


class Scheduling(LoadScopeScheduling):
    """Hands out tests one by one, but all of tests/live to one worker: they share a running system."""

    def _split_scope(self, nodeid: str) -> str:
        return LIVE_TESTS if nodeid.startswith(LIVE_TESTS) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Our own way where no other is asked for (`--dist`)."""
    return Scheduling(config, log) if config.getoption("dist", default=None) == "load" else None


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A throw-away PostgreSQL of this test process, its template database migrated up from nothing."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False, database=TEMPLATE) as server:
        url = server.start()
        engine = blocking_engine(url)
        schema.upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Databases:
    """The databases of this test process."""
    return Databases(postgres_url)


@pytest.fixture
def database_url(databases: Databases) -> Generator[str]:
    """A database with the whole schema and no rows, for one test."""
    url = databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of a throw-away installation over the fresh database."""
    return load({"SEATLINE_DATA_DIRECTORY": str(tmp_path / "data"), "SEATLINE_DATABASE_URL": database_url})


@pytest.fixture
async def database(settings: Settings) -> AsyncGenerator[Database]:
    """The connection pool over the fresh database; also the tasks' runtime. At the end the ledger must be whole."""
    assert settings.database_url is not None
    database = Database(settings.database_url, pool_size=5, timeout_seconds=10)
    jobs.install(jobs.Runtime(database, settings))
    yield database
    await close_connections()
    async with database.transaction(Scope.platform()) as session:
        if await session.scalar(text(ANY_MONEY)):
            assert await ledger_check.findings(session) == []
    jobs.install(None)
    await database.close()


@pytest.fixture(autouse=True)
def present() -> Generator[None]:
    """Every test begins and ends in the present."""
    clock.set_offset_seconds(0)
    yield
    clock.set_offset_seconds(0)


_ROUTED: dict[int, tuple[asgi.Parts, Litestar]] = {}
"""The routes, made once for each limit of a body: making them takes longer than most tests."""


def _routed(parts: asgi.Parts) -> Litestar:
    """The routes over the parts of this test."""
    limit = parts.settings.body_limit_bytes
    if limit not in _ROUTED:
        own = dataclasses.replace(parts)
        _ROUTED[limit] = own, asgi.routed(own)
    shared, application = _ROUTED[limit]
    for part in dataclasses.fields(parts):
        setattr(shared, part.name, getattr(parts, part.name))
    return application


@pytest.fixture
async def api(database: Database, settings: Settings) -> AsyncGenerator[Api]:
    """The whole application over the fresh database, called through HTTP semantics."""
    parts = asgi.Parts.over(settings, database)
    application = asgi.around(_routed(parts), parts)
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test") as http:
        yield Api(http, database, settings)
