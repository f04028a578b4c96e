"""One measured figure beside its own limit, and how all of them are written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

DIGITS_BELOW_ONE = 4
TABLE_WIDTH_COLUMNS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`value` of the product and `limit`, both in `unit`, measured in the same run; `limit_is` says what the limit is.

    `goal` None: none is set. Where more is better it is the smallest `ratio` (value to limit) to reach, where less
    is better the largest `value`.
    """

    name: str
    value: float
    unit: str
    limit: float
    limit_is: str
    goal: float | None
    better: Literal["higher", "lower"]

    @property
    def ratio(self) -> float:
        """How many times the limit the value is."""
        return self.value / self.limit if self.limit else 0.0

    @property
    def is_reached(self) -> bool:
        """Whether the goal is met; a figure without a goal has nothing to miss."""
        if self.goal is None:
            return True
        return self.ratio >= self.goal if self.better == "higher" else self.value <= self.goal

    def entry(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "limit": _rounded(self.limit),
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "better": self.better,
        }


def write(figures: Sequence[Figure], path: Path) -> None:
    """The figures as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [figure.entry() for figure in figures]
    path.write_text(json.dumps(entries, ensure_ascii=False, indent=2) + "\n")


def show(figures: Sequence[Figure]) -> None:
    """The same as a table on standard output."""
    table = Table(title="Seatline, each figure beside its own limit of the same run")
    for heading in ("figure", "value", "limit", "ratio", "goal", "", "the limit is"):
        table.add_column(heading, justify="right" if heading in {"value", "limit", "ratio", "goal"} else "left")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{_rounded(figure.value):,} {figure.unit}",
            f"{_rounded(figure.limit):,} {figure.unit}",
            f"{figure.ratio:.2f}",
            _goal_text(figure),
            "" if figure.goal is None else "reached" if figure.is_reached else "MISSED",
            figure.limit_is,
            style=None if figure.is_reached else "bold red",
        )
    console = Console()
    Console(width=max(console.width, TABLE_WIDTH_COLUMNS) if not console.is_terminal else None).print(table)


def _goal_text(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"ratio ≥ {figure.goal:g}" if figure.better == "higher" else f"≤ {figure.goal:g} {figure.unit}"


def _rounded(number: float) -> float:
    return round(number, DIGITS_BELOW_ONE) if number < 1 else round(number, 2) if number < 100 else round(number)
