"""The embedded PostgreSQL: it starts anywhere, survives being killed, opens nobody's folders."""

from __future__ import annotations

import os
import pwd
import select
import signal
import stat
import subprocess
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infra.kit import embedded_postgres_home as homes
from infra.kit import embedded_postgres_process as process
from infra.kit.embedded_postgres import EmbeddedPostgres, OtherMajorVersion, main
from infra.kit.embedded_postgres_home import Account, Home, HomeUnusable, NoServerAccount
from infra.kit.embedded_postgres_process import ServerDidNotStart

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
WAIT_SECONDS = 30


@pytest.fixture
def server(tmp_path: Path) -> Generator[EmbeddedPostgres]:
    """A server that has not been started; whatever a test does to it, it is removed afterwards."""
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    yield server
    server.remove()


def ask(url: str, query: str) -> object:
    """The first column of the first row; None when the statement returns no rows."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def account_and_home(directory: Path) -> tuple[Account, Home]:
    account = homes.account_for(directory, None)
    return account, homes.home_for(directory, account)


def postmaster_pid(directory: Path) -> int:
    running = process.find_postmaster(account_and_home(directory)[1])
    assert running is not None
    return running.pid


def test_a_first_start_makes_a_database_that_keeps_utc_and_sorts_alike_everywhere(
    server: EmbeddedPostgres,
) -> None:
    url = server.start()
    assert ask(url, "SHOW timezone") == "UTC"
    assert ask(url, "SHOW max_connections") == "200"
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SELECT current_database()") == "seatline"
    assert ask(url, "SELECT datcollate || datlocale FROM pg_database WHERE datname = 'seatline'") == "CC.UTF-8"


def test_starting_again_finds_the_running_server_and_stopping_twice_does_no_harm(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = server.start()
    first = postmaster_pid(tmp_path / "postgres")
    assert EmbeddedPostgres(tmp_path / "postgres").start() == url
    assert postmaster_pid(tmp_path / "postgres") == first
    server.stop()
    server.stop()
    assert not server.is_running()


def test_what_was_committed_survives_a_stop(server: EmbeddedPostgres) -> None:
    ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert ask(server.start(), "SELECT answer FROM kept") == 42


def kill_and_see_it_end(pid: int) -> None:
    """A killed process takes connections until the kernel gets to it."""
    watched = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        ended, _, _ = select.select([watched], [], [], WAIT_SECONDS)
        assert ended, f"{pid} outlived its kill"
    finally:
        os.close(watched)


def test_the_server_comes_back_after_kill_9(server: EmbeddedPostgres, tmp_path: Path) -> None:
    ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    ask(server.start(), "CHECKPOINT")
    kill_and_see_it_end(postmaster_pid(tmp_path / "postgres"))
    assert ask(server.start(), "SELECT answer FROM kept") == 42


def test_a_pid_file_that_names_another_program_does_not_keep_the_server_from_starting(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    server.start()
    account, home = account_and_home(tmp_path / "postgres")
    old = (home.cluster / "postmaster.pid").read_text().splitlines()
    server.stop()
    owner = account.uid if account.switch else None
    with subprocess.Popen(["/bin/sleep", str(WAIT_SECONDS)], user=owner) as other:  # noqa: S603
        (home.cluster / "postmaster.pid").write_text("\n".join([str(other.pid), *old[1:]]) + "\n")
        assert not server.is_running()
        assert ask(server.start(), "SELECT 1") == 1
        assert other.poll() is None
        other.kill()


def test_two_checkouts_run_their_servers_side_by_side(tmp_path: Path) -> None:
    first, second = (EmbeddedPostgres(tmp_path / name, durable=False) for name in ("first", "second"))
    try:
        ask(first.start(), "CREATE TABLE only_in_first ()")
        assert ask(second.start(), "SELECT to_regclass('only_in_first')") is None
        first.stop()
        assert second.is_running()
    finally:
        first.remove()
        second.remove()


def test_processes_that_start_it_at_once_get_the_same_server(server: EmbeddedPostgres, tmp_path: Path) -> None:
    others = [EmbeddedPostgres(tmp_path / "postgres", durable=False) for _ in range(4)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        urls = set(pool.map(EmbeddedPostgres.start, others))
    assert urls == {server.start()}


def test_leaving_the_context_stops_only_what_it_started(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False):
        assert server.is_running()
    assert not server.is_running()
    server.ensure_running()
    with EmbeddedPostgres(tmp_path / "postgres"):
        pass
    with server:
        pass
    assert server.is_running()


@pytest.mark.parametrize("name", ['a\'b $HOME `id` "c", 坐席', "long" * 50])
def test_a_checkout_may_have_any_name(tmp_path: Path, name: str) -> None:
    server = EmbeddedPostgres(tmp_path / name / "postgres", durable=False)
    try:
        assert ask(server.start(), "SELECT 1") == 1
    finally:
        server.remove()
    assert not (tmp_path / name / "postgres").exists()


def test_data_of_another_major_version_are_refused_and_left_alone(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    server.stop()
    version_file = account_and_home(tmp_path / "postgres")[1].cluster / "PG_VERSION"
    version_file.write_text("17\n")
    with pytest.raises(OtherMajorVersion, match=r"made by PostgreSQL 17; the embedded one is 18"):
        server.start()
    assert version_file.read_text() == "17\n"


def test_a_data_directory_made_by_somebody_else_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("18\n")
    with pytest.raises(HomeUnusable, match="not made here"):
        EmbeddedPostgres(tmp_path).start()


def test_an_interrupted_initdb_is_begun_anew(server: EmbeddedPostgres, tmp_path: Path) -> None:
    home = account_and_home(tmp_path / "postgres")[1]
    (home.path / "cluster.unfinished").mkdir()
    (home.path / "cluster.unfinished" / "PG_VERSION").write_text("18\n")
    assert ask(server.start(), "SELECT 1") == 1


def test_a_server_that_will_not_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False, max_connections=0)
    with pytest.raises(ServerDidNotStart, match="0 is outside the valid range"):
        server.start()
    server.remove()


def test_everything_made_below_a_directory_can_be_removed_at_once(tmp_path: Path) -> None:
    servers = [EmbeddedPostgres(tmp_path / "var" / name, durable=False) for name in ("one", "two")]
    for server in servers:
        server.start()
    pids = [postmaster_pid(tmp_path / "var" / name) for name in ("one", "two")]
    assert main(["remove", str(tmp_path / "var")]) == 0
    assert list((tmp_path / "var").iterdir()) == []
    assert not any(map(process.alive, pids))


def test_settings_follow_what_the_machine_and_the_build_can_do() -> None:
    plenty = process.settings(durable=True, shared_memory_bytes=1 << 34, lz4=True)
    little = process.settings(durable=False, shared_memory_bytes=64 << 20, lz4=False)
    assert "default_toast_compression=lz4" in plenty
    assert not {"dynamic_shared_memory_type=mmap", "fsync=off"} & set(plenty)
    assert {"dynamic_shared_memory_type=mmap", "fsync=off", "full_page_writes=off"} <= set(little)
    assert "default_toast_compression=lz4" not in little


def test_a_server_with_little_shared_memory_runs_a_parallel_query(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SMALL_SHARED_MEMORY_BYTES", 1 << 62)
    url = server.start()
    assert ask(url, "SHOW dynamic_shared_memory_type") == "mmap"
    ask(url, "ALTER DATABASE seatline SET debug_parallel_query = on")
    assert ask(url, "SELECT count(*) FROM pg_class a, pg_class b") == ask(url, "SELECT count(*)^2 FROM pg_class")


def test_only_its_user_the_account_and_root_are_let_in(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    account, home = account_and_home(tmp_path / "postgres")
    sockets = homes.socket_directory(home, account)
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.cluster.stat().st_mode) == 0o700
    assert (home.settings / "pg_hba.conf").read_text() == "local all all peer map=seatline\n"
    allowed = {line.split()[1].strip('"') for line in (home.settings / "pg_ident.conf").read_text().splitlines()}
    assert allowed == {"root", account.name, pwd.getpwuid(os.geteuid()).pw_name}


@only_root
def test_a_closed_parent_stays_closed_and_the_data_go_where_the_account_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "postgres", durable=False)
    url = server.start()
    account, home = account_and_home(closed / "postgres")
    assert ask(url, "SELECT 1") == 1
    assert Path(f"/proc/{postmaster_pid(closed / 'postgres')}").stat().st_uid == account.uid != 0
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert home.path.parent.parent in homes.STORES
    server.remove()
    assert not home.path.exists()
    assert not (closed / "postgres").exists()


@only_root
def test_throw_away_data_go_after_their_directory_has_gone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    forgotten = EmbeddedPostgres(tmp_path / "forgotten", durable=False)
    forgotten.start()
    home = account_and_home(tmp_path / "forgotten")[1]
    pid = postmaster_pid(tmp_path / "forgotten")
    (tmp_path / "forgotten" / "moved-to").unlink()
    (tmp_path / "forgotten").rmdir()
    with EmbeddedPostgres(tmp_path / "next", durable=False) as following:
        assert not home.path.exists()
        assert not process.alive(pid)
        following.remove()


@only_root
def test_programs_the_account_cannot_reach_are_copied_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = homes.account_for(tmp_path, None)
    reachable = homes._executable  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(
        homes,
        "_executable",
        lambda programs, by: "site-packages" not in str(programs) and reachable(programs, by),
    )
    programs = homes.programs_for(account)
    assert account.run([str(programs / "initdb"), "--version"], timeout_seconds=WAIT_SECONDS).returncode == 0
    assert not (programs.stat().st_mode | (programs / "postgres").stat().st_mode) & 0o022
    assert programs.stat().st_uid == 0


@only_root
@pytest.mark.parametrize(("name", "complaint"), [("no-such-account", "does not exist"), ("root", "is root")])
def test_an_account_that_will_not_do_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(NoServerAccount, match=complaint):
        EmbeddedPostgres(tmp_path / "postgres", account=name).start()


@only_root
def test_root_goes_on_with_the_data_of_the_user_who_made_them(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False, account="daemon")
    server.start()
    server.stop()
    url = EmbeddedPostgres(tmp_path / "postgres", durable=False).start()
    try:
        assert ask(url, "SELECT 1") == 1
        owner = Path(f"/proc/{postmaster_pid(tmp_path / 'postgres')}").stat().st_uid
        assert owner == pwd.getpwnam("daemon").pw_uid
    finally:
        server.remove()
