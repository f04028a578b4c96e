"""What every test may use: a real PostgreSQL, a fresh database copied from a template, and a clock."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from billing import ledger_check
from infra.app import asgi, schema
from infra.kit import clock, jobs, logs
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.embedded_postgres import EmbeddedPostgres
from infra.kit.settings import Settings, load
from tests.api import Api

TEMPLATE = "seatline_template"
LIVE_TESTS = "tests/live/"
logs.configure("warning")


class Scheduling(LoadScopeScheduling):
    """Hands out tests one by one, but all of tests/live to one worker: they share a running system."""

    def _split_scope(self, nodeid: str) -> str:
        return LIVE_TESTS if nodeid.startswith(LIVE_TESTS) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Our own way where no other is asked for (`--dist`)."""
    return Scheduling(config, log) if config.getoption("dist", default=None) == "load" else None


def _admin(url: str) -> psycopg.Connection[tuple[object, ...]]:
    parts = make_url(url).set(drivername="postgresql", database="postgres")
    return psycopg.connect(parts.render_as_string(hide_password=False), autocommit=True)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A throw-away PostgreSQL of this test process, its template database migrated up from nothing."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False, database=TEMPLATE) as server:
        url = server.start()
        engine = blocking_engine(url)
        schema.upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Generator[str]:
    """A fresh database with the whole schema, for one test."""
    name = f"test_{uuid.uuid4().hex}"
    with _admin(postgres_url) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"'.encode())
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with _admin(postgres_url) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


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
    async with database.transaction(Scope.platform()) as session:
        assert await ledger_check.findings(session) == []
    jobs.install(None)
    await database.close()


@pytest.fixture(autouse=True)
def present() -> Generator[None]:
    """Every test begins and ends in the present."""
    clock.set_offset_seconds(0)
    yield
    clock.set_offset_seconds(0)


@pytest.fixture
async def api(database: Database, settings: Settings) -> AsyncGenerator[Api]:
    """The whole application over the fresh database, called through HTTP semantics."""
    application = asgi.build(settings, database)
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test") as http:
        yield Api(http, database, settings)
