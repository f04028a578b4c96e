"""One system for all live tests of a test process: on simulated nodes, or with `--switch freeswitch` on real ones."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Generator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from switch.sip.carrier import Carrier
from tests.conftest import TEMPLATE
from tests.live.customers import Office
from tests.live.system import LOOPBACK, LiveSystem, Switch

SWITCH_OPTION = "--switch"
REAL_SWITCH = "real_switch"
RUNNING = pytest.StashKey[LiveSystem]()
SWITCHES: tuple[Switch, ...] = ("simulator", "freeswitch")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which switch the nodes are."""
    parser.addoption(SWITCH_OPTION, choices=SWITCHES, default="simulator", help="which switch tests/live runs against")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of this folder."""
    config.addinivalue_line("markers", f"{REAL_SWITCH}: only a real FreeSWITCH can show it (make live)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what only a real FreeSWITCH can show."""
    if _chosen(config) == "freeswitch":
        return
    for item in items:
        if item.get_closest_marker(REAL_SWITCH) is not None:
            item.add_marker(pytest.mark.skip(reason="needs a real FreeSWITCH: make live"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """End the system after the last live test, so that it does not run beside all the others."""
    yield
    running = item.session.stash.get(RUNNING, None)
    if running is not None and (nextitem is None or nextitem.path.parent != item.path.parent):
        running.stop()


def _chosen(config: pytest.Config) -> Switch:
    """The option is unknown where pytest was not started for this folder; then it is the simulator."""
    return "freeswitch" if config.getoption(SWITCH_OPTION, default=SWITCHES[0]) == "freeswitch" else "simulator"


@pytest.fixture(scope="session")
def system(
    request: pytest.FixtureRequest, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[LiveSystem]:
    """The running product over a database of its own."""
    name = f"live_{uuid.uuid4().hex}"
    administration = make_url(postgres_url).set(drivername="postgresql", database="postgres")
    with psycopg.connect(administration.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"'.encode())
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    system = LiveSystem(tmp_path_factory.mktemp("live"), url, _chosen(request.config))
    request.session.stash[RUNNING] = system
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.fixture
async def carrier(system: LiveSystem) -> AsyncGenerator[Carrier]:
    """The carrier behind the gateway: it answers every call unless a test tells it otherwise."""
    async with Carrier(LOOPBACK, system.carrier_port) as carrier:
        yield carrier


@pytest.fixture
async def office(system: LiveSystem) -> AsyncGenerator[Office]:
    """The API as operator and finance use it; phones made through it are closed with the test."""
    async with Office.open(system) as office:
        yield office
