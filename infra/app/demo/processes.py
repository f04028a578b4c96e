"""The processes of a demo: started apart from us, found again by id and start time, ended one by one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

STOP_TIMEOUT_SECONDS = 25.0
LOOK_EVERY_SECONDS = 0.05
LOG_TAIL_BYTES = 1500


class ProcessEnded(Exception):
    """A process of the demo ended although it should run; the end of its log says why."""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A process as the register remembers it; the start time tells it from a later one with the same id."""

    name: str
    pid: int
    started_ticks: str
    log: str


def start_ticks(pid: int) -> str | None:
    """What the kernel says of a process's start; None when there is no such process any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _start_by_ps(pid)
    return None if fields[0] == "Z" else fields[19]


def _start_by_ps(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    answer = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


@dataclass(slots=True)
class Register:
    """The processes of one demo directory, on file, so that `seatline down` finds them."""

    directory: Path

    @property
    def _path(self) -> Path:
        return self.directory / "processes.json"

    def all(self) -> list[Started]:
        """Everything that was started and not yet ended."""
        if not self._path.exists():
            return []
        return msgspec.json.decode(self._path.read_bytes(), type=list[Started])

    def _write(self, entries: list[Started]) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(entries))
        temporary.replace(self._path)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> Started:
        """Start a process in a session of its own; its output goes to `logs/NAME.log`."""
        log = self.directory / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
                umask=0o077,
            )
        started = Started(name=name, pid=process.pid, started_ticks=start_ticks(process.pid) or "", log=str(log))
        self._write([entry for entry in self.all() if entry.name != name] + [started])
        return started

    def is_running(self, entry: Started) -> bool:
        """Whether this very process still runs."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(entry.pid, os.WNOHANG)
        return start_ticks(entry.pid) == entry.started_ticks

    def check(self, entry: Started) -> None:
        """Raise `ProcessEnded` when it does not run any more."""
        if not self.is_running(entry):
            with Path(entry.log).open("rb") as log:
                log.seek(max(0, Path(entry.log).stat().st_size - LOG_TAIL_BYTES))
                tail = log.read().decode(errors="replace")
            raise ProcessEnded(f"{entry.name} has ended. Its log, {entry.log}, ends:\n{tail}")

    def kill(self, entry: Started) -> None:
        """End it at once, as a power failure would."""
        if self.is_running(entry):
            os.kill(entry.pid, signal.SIGKILL)
        self._write([each for each in self.all() if each.name != entry.name])

    async def stop(self, entry: Started) -> None:
        """Ask it to end, wait, and insist where that does not help."""
        if self.is_running(entry):
            os.kill(entry.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                    while self.is_running(entry):
                        await asyncio.sleep(LOOK_EVERY_SECONDS)
            except TimeoutError:
                os.kill(entry.pid, signal.SIGKILL)
        self._write([each for each in self.all() if each.name != entry.name])

    async def stop_all(self) -> list[str]:
        """End everything, the last started first; returns the names."""
        names: list[str] = []
        for entry in reversed(self.all()):
            await self.stop(entry)
            names.append(entry.name)
        return names
