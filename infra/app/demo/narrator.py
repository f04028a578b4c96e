"""How the demo speaks: steps with their time, facts, and a table at the end."""

from __future__ import annotations

import time  # real elapsed time is what a spectator sees; the story's own clock travels
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.kit import clock


class ExpectationFailed(Exception):
    """The system did not do what the story says it does."""


class Narrator:
    """Tells what happens, and keeps what the summary needs."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._facts: list[tuple[str, str]] = []
        self._files: list[tuple[str, Path]] = []

    @property
    def elapsed_seconds(self) -> float:
        """Real seconds since the demo began."""
        return time.monotonic() - self._began

    def step(self, text: str) -> None:
        """A new chapter, with real seconds so far and the date in the story."""
        day = clock.now().astimezone(clock.LOCAL_ZONE)
        self._console.print(f"[bold cyan]{self.elapsed_seconds:5.1f} s  {day:%Y-%m-%d %H:%M}  {text}[/]")

    def tell(self, text: str) -> None:
        """One line within a chapter."""
        self._console.print("         " + text, markup=False)

    def fact(self, name: str, value: str) -> None:
        """A figure for the summary."""
        self._facts.append((name, value))

    def file(self, name: str, path: Path) -> None:
        """Something that was made and can be looked at."""
        self._files.append((name, path))

    def summary(self) -> None:
        """The closing table."""
        table = Table(title="What happened", show_header=False, title_justify="left")
        for name, value in self._facts:
            table.add_row(name, value)
        table.add_row("real time", f"{self.elapsed_seconds:.1f} s")
        self._console.print(table)
        for name, path in self._files:
            self._console.print(f"{name}: {path}", markup=False)

    def expect(self, condition: bool, what: str) -> None:
        """Tell what was found, or stop the story where it is not so."""
        if not condition:
            raise ExpectationFailed(f"expected: {what}")
        self.tell(f"✓ {what}")


async def until(
    found: Callable[[], Awaitable[bool]], *, what: str, timeout_seconds: float, pause: Callable[[], Awaitable[None]]
) -> float:
    """Look until it is so; returns the seconds it took, raises `ExpectationFailed` after the limit."""
    began = time.monotonic()
    while not await found():
        if time.monotonic() - began > timeout_seconds:
            raise ExpectationFailed(f"waited {timeout_seconds:.0f} s in vain for: {what}")
        await pause()
    return time.monotonic() - began
