"""What is wrong at the start is one clear line and exit code 2; a worker outlives a database that goes away."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from procrastinate.exceptions import ConnectorException

from infra.app import cli, server, worker
from infra.kit import jobs, logs
from infra.kit.database import Scope
from infra.kit.settings import SettingRefused, load
from tests.api import Api

NOBODY_THERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture(autouse=True)
def keep_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sends the logs to its own standard error, which here ends with the test."""
    monkeypatch.setattr(logs, "configure", lambda _: None)


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEATLINE_DATABASE_URL", "postgresql://["),
        ("SEATLINE_DATABASE_URL", "postgresql://a:secret/b@host/x"),
        ("SEATLINE_PUBLIC_URL", "http://host:port"),
        ("SEATLINE_DATA_DIRECTORY", "/dev/null/x"),
        ("SEATLINE_DATABASE_POOL_SIZE", "nan"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingRefused) as refused:
        load({"SEATLINE_DATA_DIRECTORY": str(tmp_path), name: value})
    assert str(refused.value).startswith(f"{name}: ")
    assert "secret" not in str(refused.value).removeprefix(name)


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)})
    assert load({"SEATLINE_DATA_DIRECTORY": str(tmp_path)}).secret_key == first.secret_key
    assert [(file.name, file.stat().st_mode & 0o777) for file in tmp_path.iterdir()] == [("secret.key", 0o600)]


@pytest.mark.parametrize("command", [["migrate"], ["worker"], ["client-create", "--name", "a", "--role", "finance"]])
def test_a_database_that_is_away_at_the_start_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEATLINE_DATABASE_URL", NOBODY_THERE)
    monkeypatch.setenv("SEATLINE_DATA_DIRECTORY", str(tmp_path))
    assert cli.main(command) == cli.USAGE_ERROR
    complaint = capfd.readouterr().err
    assert complaint.startswith("The database does not answer")
    assert complaint.count("\n") == 1


def test_a_clock_file_that_is_none_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEATLINE_DATA_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SEATLINE_CLOCK_FILE", str(tmp_path))
    monkeypatch.setenv("SEATLINE_DATABASE_URL", NOBODY_THERE)
    assert cli.main(["migrate"]) == cli.USAGE_ERROR
    assert capfd.readouterr().err.startswith("SEATLINE_CLOCK_FILE: ")


def test_two_servers_do_not_share_a_port(free_port: int) -> None:
    server.check_address("127.0.0.1", free_port)
    listener = socket.create_server(("127.0.0.1", free_port), reuse_port=True)
    with listener, pytest.raises(SettingRefused, match="SEATLINE_HTTP_PORT"):
        server.check_address("127.0.0.1", free_port)


@pytest.mark.parametrize("host", ["999.1.1.1", "seatline.example.com", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_named(host: str, free_port: int) -> None:
    with pytest.raises(SettingRefused, match="SEATLINE_HTTP_"):
        server.check_address(host, free_port)


@pytest.mark.parametrize("workers", ["0", "-1", "many", "9999999"])
def test_a_server_has_at_least_one_process(workers: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", f"--workers={workers}"])
    assert ended.value.code == cli.USAGE_ERROR


def test_a_node_without_a_configuration_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", str(tmp_path)]) == cli.USAGE_ERROR
    assert capfd.readouterr().err.count("\n") == 1


async def test_a_worker_whose_database_goes_away_begins_anew() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ConnectorException

    await worker.keep_working(work, pause_seconds=0)
    assert begun == 3


async def test_a_running_worker_finds_the_jobs_of_one_that_died(api: Api) -> None:
    async with api.database.transaction(Scope.platform()) as session:
        await jobs.defer(session, "infra.keep_house", lock="house")
    async with api.database.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE procrastinate_jobs SET status = 'doing', worker_id = NULL")
    assert api.settings.database_url is not None
    async with worker.worker_app(api.settings.database_url).open_async() as app:
        stop = asyncio.Event()
        rescuing = asyncio.create_task(worker.keep_rescuing(app, stop, every_seconds=0.05))
        async with asyncio.timeout(10):
            while await _status(api) != "todo":
                continue
        stop.set()
        await rescuing


async def _status(api: Api) -> str:
    async with api.database.engine.begin() as connection:
        return (await connection.exec_driver_sql("SELECT status::text FROM procrastinate_jobs")).scalar_one()
