"""Writes tables for spreadsheet programs, XLSX and CSV, row by row into a temporary file, however long they are.

Texts are always texts: a name that begins like a formula is shown and never worked out (CWE-1236). In XLSX the cell's
type says so; CSV has no types, so such a text gets an apostrophe in front, which spreadsheet programs hide.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

Cell = str | int | Decimal | date | datetime | None
"""A moment is written as the local time that it carries."""
FileKind = Literal["xlsx", "csv"]

CSV_MEDIA_TYPE = "text/csv"
XLSX_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MEDIA_TYPES: dict[FileKind, str] = {"csv": CSV_MEDIA_TYPE, "xlsx": XLSX_MEDIA_TYPE}

CELL_LIMIT_CHARACTERS = 32_767
"""What a cell of XLSX holds."""

_FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Also in their full width, which spreadsheet programs in Chinese take for the same."""

_BYTE_ORDER_MARK = "\ufeff"
"""Without it spreadsheet programs take a CSV for text of the machine's own encoding."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, its width in characters and the decimal places of its amounts (None: not amounts)."""

    heading: str
    width: int = 14
    places: int | None = None


class Table(Protocol):
    """A table that is being written."""

    def heading(self, columns: Sequence[Column]) -> None:
        """The row of headings; it stays in sight where the program can do that."""
        ...

    def row(self, cells: Sequence[Cell], *, heavy: bool = False) -> None:
        """The next row; `heavy` for sums."""
        ...


class Book:
    """A file of one or more tables; leave the `with` block, then read `content`."""

    def __init__(self, kind: FileKind) -> None:
        self._kind: FileKind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="seatline-sheet-")
        self._path = Path(self._folder.name) / f"table.{kind}"
        self._workbook = None if kind == "csv" else _workbook(self._path)
        self._text = self._path.open("w", encoding="utf-8", newline="", errors="replace") if kind == "csv" else None
        self._tables = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()

    def table(self, name: str) -> Table:
        """The next table: a sheet called `name`, or, in CSV, what comes below an empty line. Write one at a time."""
        self._tables += 1
        if self._workbook is not None:
            return _Sheet(self._workbook, name)
        assert self._text is not None  # noqa: S101 - one of the two is there
        self._text.write(_BYTE_ORDER_MARK if self._tables == 1 else "\r\n")
        return _Text(csv.writer(self._text))

    def content(self) -> bytes:
        """Close the file and give its bytes; takes a second for 100,000 rows of XLSX: call it from a thread."""
        try:
            if self._workbook is not None:
                self._workbook.close()
            if self._text is not None:
                self._text.close()
            return self._path.read_bytes()
        finally:
            self._folder.cleanup()

    def discard(self) -> None:
        """Give the file up."""
        if self._text is not None:
            self._text.close()
        self._folder.cleanup()


def _workbook(path: Path) -> Workbook:
    return Workbook(
        str(path),
        {
            "constant_memory": True,
            "tmpdir": str(path.parent),
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )


class _Sheet:
    def __init__(self, workbook: Workbook, name: str) -> None:
        self._sheet: Worksheet = workbook.add_worksheet(name)
        self._heading = workbook.add_format({"bold": True, "bg_color": "#12506b", "font_color": "#ffffff"})
        self._workbook = workbook
        self._formats: dict[tuple[str, bool], Format] = {}
        self._places: list[int | None] = []
        self._next = 0

    def heading(self, columns: Sequence[Column]) -> None:
        for index, column in enumerate(columns):
            self._sheet.set_column(index, index, column.width)
            self._sheet.write_string(self._next, index, column.heading, self._heading)
        self._places = [column.places for column in columns]
        self._next += 1
        self._sheet.freeze_panes(self._next, 0)

    def row(self, cells: Sequence[Cell], *, heavy: bool = False) -> None:
        for index, cell in enumerate(cells):
            self._write(index, cell, heavy)
        self._next += 1

    def _write(self, index: int, cell: Cell, heavy: bool) -> None:
        match cell:
            case None:
                return
            case str():
                text = cell[:CELL_LIMIT_CHARACTERS].encode("utf-8", "replace").decode()
                self._sheet.write_string(self._next, index, text, self._format("@" if not heavy else "General", heavy))
            case datetime():
                moment = cell.replace(tzinfo=None)
                self._sheet.write_datetime(self._next, index, moment, self._format("yyyy-mm-dd hh:mm:ss", heavy))
            case date():
                day = datetime.combine(cell, time())
                self._sheet.write_datetime(self._next, index, day, self._format("yyyy-mm-dd", heavy))
            case int():
                self._sheet.write_number(self._next, index, cell, self._format("#,##0", heavy))
            case Decimal():
                places = self._places[index] if index < len(self._places) else None
                shown = "0.######" if places is None else f"#,##0.{'0' * places}"
                self._sheet.write_number(self._next, index, Fraction(cell), self._format(shown, heavy))

    def _format(self, shown: str, heavy: bool) -> Format:
        key = (shown, heavy)
        if key not in self._formats:
            facts = {"num_format": shown} | ({"bold": True, "top": 1} if heavy else {})
            self._formats[key] = self._workbook.add_format(facts)
        return self._formats[key]


class _Writer(Protocol):
    def writerow(self, row: Sequence[str], /) -> object: ...


class _Text:
    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self._places: list[int | None] = []

    def heading(self, columns: Sequence[Column]) -> None:
        self._places = [column.places for column in columns]
        self._writer.writerow([column.heading for column in columns])

    def row(self, cells: Sequence[Cell], *, heavy: bool = False) -> None:
        del heavy  # CSV has no looks
        self._writer.writerow([_csv_text(cell) for cell in cells])


def _csv_text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return f"'{cell}" if cell.startswith(_FORMULA_BEGINNINGS) else cell
        case datetime():
            return cell.replace(tzinfo=None).isoformat(sep=" ")
        case date():
            return cell.isoformat()
        case _:
            return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)
