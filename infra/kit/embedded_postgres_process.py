"""The processes of an embedded PostgreSQL: with which settings it starts, whether it runs, how it ends.

PostgreSQL's own pg_ctl starts it through a shell command line put together from paths; here every path stays
an argument, so that a checkout may have any name.
"""

from __future__ import annotations

import os
import pwd
import time  # waits are measured on the monotonic clock, which nobody travels on
from dataclasses import dataclass
from pathlib import Path

from infra.kit.embedded_postgres_home import (
    PROBE_TIMEOUT_SECONDS,
    Account,
    EmbeddedPostgresError,
    Home,
    programs_for,
    socket_directory,
)

PORT = 5432
START_TIMEOUT_SECONDS = 90.0
RELEASE_TIMEOUT_SECONDS = 15.0
STOP_TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 2_000
SMALL_SHARED_MEMORY_BYTES = 512 * 1024 * 1024
"""Containers often have a /dev/shm of 64 MB, which one parallel query can fill."""

STILL_HELD = ("pre-existing shared memory block", 'lock file "')
"""How PostgreSQL says that a server before it has not gone yet (src/backend/utils/init/miscinit.c)."""

_PROCESSES = Path("/proc")


class ServerDidNotStart(EmbeddedPostgresError):
    """The server ended or was not ready in time; the text ends with its own last words."""


class ServerDidNotStop(EmbeddedPostgresError):
    """The server still runs although it was told to stop."""


@dataclass(frozen=True)
class Postmaster:
    """What `postmaster.pid` says (PostgreSQL source: src/include/utils/pidfile.h)."""

    pid: int
    socket_directory: str
    ready: bool


def launch(account: Account, home: Home, programs: Path, *, durable: bool, max_connections: int) -> Postmaster:
    """Start the server and wait until it accepts connections. Errors: `ServerDidNotStart`, `HomeUnusable`."""
    sockets = socket_directory(home, account)
    _write_access_files(account, home)
    quoted_sockets = str(sockets).replace('"', '""')
    lz4 = _has_lz4(account, programs)
    command = [str(programs / "postgres"), "-D", str(home.cluster)]
    for setting in (
        f"config_file={home.settings / 'postgresql.conf'}",
        f"hba_file={home.settings / 'pg_hba.conf'}",
        f"ident_file={home.settings / 'pg_ident.conf'}",
        f'unix_socket_directories="{quoted_sockets}"',
        f"max_connections={max_connections}",
        *settings(durable=durable, shared_memory_bytes=_shared_memory_bytes(), lz4=lz4),
    ):
        command += ["-c", setting]
    began = time.monotonic()
    while True:
        _discard_misleading_pid_file(account, home, sockets)
        ready = wait_until_ready(home, _spawn(account, home, command), began + START_TIMEOUT_SECONDS)
        if ready is not None:
            return ready
        last_words = _tail(home.log)
        # After kill -9 a server and its children take a moment to go, and PostgreSQL waits for nobody.
        held = any(words in last_words for words in STILL_HELD)
        if not held or time.monotonic() >= began + RELEASE_TIMEOUT_SECONDS:
            raise ServerDidNotStart(
                f"PostgreSQL in {home.path} ended or was not ready within {START_TIMEOUT_SECONDS:.0f} s. "
                f"See what its log says and try again. {home.log} ends:\n{last_words}"
            )
        time.sleep(POLL_SECONDS)


def wait_until_ready(home: Home, pid: int, deadline: float) -> Postmaster | None:
    """The server with this process id once it is ready; None when it ends or at the (monotonic) deadline."""
    while alive(pid) and time.monotonic() < deadline:
        running = find_postmaster(home)
        if running is not None and running.pid == pid and running.ready:
            return running
        time.sleep(POLL_SECONDS)
    return None


def find_postmaster(home: Home) -> Postmaster | None:
    """The server that runs on these data, ready or not; None when none does, whatever an old file says."""
    try:
        lines = (home.cluster / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 5 or not lines[0].strip().isdigit():  # the socket's line comes a little after the first
        return None
    pid = int(lines[0])
    if not alive(pid) or not _serves(pid, home):
        return None
    ready = len(lines) >= 8 and lines[7].strip() == "ready"
    return Postmaster(pid, lines[4].strip(), ready)


def stop(account: Account, home: Home) -> None:
    """Stop the server if it runs, its sessions first, then by force. Errors: `ServerDidNotStop`."""
    running = find_postmaster(home)
    if running is None:
        return
    program = str(programs_for(account) / "pg_ctl")
    said = ""
    for mode in ("fast", "immediate"):
        arguments = ["stop", "-D", str(home.cluster), "-m", mode, "-w", "-t", str(STOP_TIMEOUT_SECONDS)]
        result = account.run([program, *arguments], timeout_seconds=2 * STOP_TIMEOUT_SECONDS)
        said = f"{result.stdout}{result.stderr}".strip()
        if find_postmaster(home) is None:
            return
    raise ServerDidNotStop(
        f"PostgreSQL (process {running.pid}) in {home.path} did not stop within "
        f"{2 * STOP_TIMEOUT_SECONDS} s. See what holds it and end it by its process id. pg_ctl said: {said}"
    )


def settings(*, durable: bool, shared_memory_bytes: int, lz4: bool) -> list[str]:
    """Server settings as `name=value`; the sizes suit a laptop and a small build machine.

    `shared_memory_bytes` is the size of /dev/shm, `lz4` whether the programs were built with it.
    """
    chosen = [
        "listen_addresses=",
        f"port={PORT}",
        "timezone=UTC",
        "log_timezone=UTC",
        "shared_buffers=256MB",
        "work_mem=16MB",
        "maintenance_work_mem=128MB",
        "max_wal_size=2GB",
        "random_page_cost=1.1",
        "max_locks_per_transaction=256",  # tables partitioned by month lock many partitions at once
        "logging_collector=off",
        "log_checkpoints=off",
        "log_line_prefix=%m [%p] %q%u@%d ",
    ]
    if shared_memory_bytes < SMALL_SHARED_MEMORY_BYTES:
        chosen.append("dynamic_shared_memory_type=mmap")
    if lz4:
        chosen.append("default_toast_compression=lz4")
    if not durable:
        chosen += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        chosen += ["wal_level=minimal", "max_wal_senders=0"]
    return chosen


def _write_access_files(account: Account, home: Home) -> None:
    """Say who may connect: the kernel knows them, so there is no password to guess or to leave in a file."""
    names = {pwd.getpwuid(os.geteuid()).pw_name, account.name, pwd.getpwuid(0).pw_name}
    files = {
        "postgresql.conf": "",  # every setting stands on the command line, but the file has to exist
        "pg_hba.conf": "local all all peer map=seatline\n",
        "pg_ident.conf": "".join(f'seatline "{name}" all\n' for name in sorted(names)),
    }
    for name, text in files.items():
        path = home.settings / name
        path.write_text(text)
        path.chmod(0o644)


def _spawn(account: Account, home: Home, command: list[str]) -> int:
    """Start the server; its process id. In a session of its own, so that Ctrl-C in a terminal spares it."""
    script = """
        log=$1; shift
        [ ! -f "$log" ] || mv -f "$log" "$log.previous"
        "$@" </dev/null >"$log" 2>&1 &
        echo $!
    """
    arguments = ["/bin/sh", "-c", script, "sh", str(home.log), *command]
    spawned = account.run(arguments, timeout_seconds=START_TIMEOUT_SECONDS, new_session=True)
    if spawned.returncode != 0:
        raise ServerDidNotStart(f"PostgreSQL in {home.path} could not be started: {spawned.stderr.strip()}")
    return int(spawned.stdout)


def alive(pid: int) -> bool:
    """Whether this process exists and has not ended."""
    if not _exists(pid):
        return False
    if not _has_process_files():
        return True
    try:
        status = (_PROCESSES / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # "Z": it has ended, but nobody has waited for it yet (containers without an init process).
    return not status.rpartition(")")[2].lstrip().startswith("Z")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, home: Home) -> bool:
    """Whether this process is a server on these data, not one that was given an old server's process id."""
    if not _has_process_files():
        return True  # macOS: PostgreSQL's own check at start has to do
    try:
        words = (_PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(home.cluster) in words


def _discard_misleading_pid_file(account: Account, home: Home, sockets: Path) -> None:
    """Remove `postmaster.pid` of a server that was killed and whose process id still means something.

    Another program may have it now, or nobody has waited for the dead one; PostgreSQL would take it for itself
    and refuse to start. Its guard against two servers on the same data stays whole: the files go only when no
    process of the account works in the data directory.
    """
    path = home.cluster / "postmaster.pid"
    first_line = path.read_text(errors="replace").partition("\n")[0].strip() if path.exists() else ""
    if not first_line.isdigit() or not _exists(int(first_line)) or not _has_process_files():
        return
    # As the account, because root in a container may not look into other users' processes.
    script = 'for process in /proc/[0-9]*; do readlink "$process/cwd"; done 2>/dev/null; true'
    listed = account.run(["/bin/sh", "-c", script], timeout_seconds=PROBE_TIMEOUT_SECONDS)
    if str(home.cluster.resolve()) not in listed.stdout.splitlines():
        path.unlink(missing_ok=True)
        (sockets / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)


def _has_process_files() -> bool:
    return (_PROCESSES / "self" / "stat").exists()


def _has_lz4(account: Account, programs: Path) -> bool:
    """Whether this build compresses with lz4: a server told to use what it has not would refuse to start."""
    told = account.run([str(programs / "pg_config"), "--configure"], timeout_seconds=PROBE_TIMEOUT_SECONDS)
    return "--with-lz4" in told.stdout


def _shared_memory_bytes() -> int:
    """Size of /dev/shm; 0 where there is none for PostgreSQL to use."""
    try:
        system = os.statvfs("/dev/shm")  # noqa: S108  (asked for its size only)
    except OSError:
        return 0
    return system.f_frsize * system.f_blocks


def _tail(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"(the log cannot be read: {error.strerror})"
    return data[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
