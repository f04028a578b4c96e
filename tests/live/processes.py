"""Processes of the live suite: started apart, watched, and ended one by one, each by its own id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STOP_LIMIT_SECONDS = 12.0
"""A FreeSWITCH that was asked to end may take its time; after this it is killed."""

LOG_TAIL_BYTES = 3_000


class ProcessEnded(AssertionError):
    """A process ended although the test needs it; the end of its log says why."""


@dataclass(slots=True)
class ProcessOfTest:
    """One program in a session of its own; what it says goes to `log`."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; nothing happens when it runs."""
        if self.is_running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the commands are the suite's own
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.environment),
                start_new_session=True,
                umask=0o077,
            )

    @property
    def is_running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raise `ProcessEnded` when it does not run."""
        if not self.is_running:
            raise ProcessEnded(f"{self.name} has ended. Its log ends:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace")

    def pause(self) -> None:
        """Keep it from doing anything until `go_on`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End its pause."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_LIMIT_SECONDS)

    def stop(self) -> None:
        """Ask it to end and wait; kill it where that does not help."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        # Workers that a server started and left behind belong to its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
