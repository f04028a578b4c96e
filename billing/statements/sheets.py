"""Files of banks as rows of cells: CSV in UTF-8 or GBK, or the one sheet of an XLSX workbook.

A workbook is somebody else's file: its unpacked size, tags, rows and columns are limited, and it may declare no
document type (ECMA-376 part 2 forbids it, and entities could grow without end).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal, cast

from openpyxl import load_workbook

from billing.rules.csv_text import decoded
from billing.rules.errors import shown
from billing.statements.errors import StatementRefused

Kind = Literal["csv", "xlsx"]
Cell = str | int | float | Decimal | bool | datetime | date | time | timedelta | None

CONTENT_LIMIT_BYTES = 5_000_000
UNPACKED_LIMIT_BYTES = 60_000_000
TABLE_TAGS_LIMIT = 4_000_000
BOOK_TAGS_LIMIT = 200_000
"""Tags of the sheets with their texts, and of everything else in a workbook. They count, not the bytes: one of four
bytes takes hundreds in memory, in a list of styles a thousand."""

ROW_CELLS_LIMIT = 16_384
"""What a row of a workbook holds; the reader takes a row whole."""

ROWS_LIMIT = 20_000
COLUMNS_LIMIT = 200

_ZIP_MAGIC = b"PK\x03\x04"
_OLD_OFFICE_MAGIC = b"\xd0\xcf\x11\xe0"
_DOCUMENT_TYPE = b"<!DOCTYPE"
_TABLE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?[^>]*>\s*)?<(?:[\w.-]+:)?(?:worksheet|sst)[\s>]")
_ROW = re.compile(rb"<(?:[\w.-]+:)?row[\s/>]")
_CELL = re.compile(rb"<(?:[\w.-]+:)?c[\s/>]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is not blank, with its line number as a person sees it in the file."""

    line: int
    cells: tuple[Cell, ...]


def read_rows(content: bytes, kind: Kind, *, sheet: str | None = None) -> list[Row]:
    """The rows of a file that are not blank. Raises `StatementRefused` where it is no such file or beyond a limit.

    `sheet` names the sheet of a workbook; without it the workbook must have exactly one.
    """
    if content.startswith(_OLD_OFFICE_MAGIC):
        raise StatementRefused("the file", "it is an old Excel file (.xls)", "the same table saved as XLSX or CSV")
    if content.startswith(_ZIP_MAGIC) != (kind == "xlsx"):
        sent = "an XLSX workbook" if kind == "xlsx" else "CSV text"
        raise StatementRefused("the file", f"it is not {sent}", f"{sent}, as its Content-Type says")
    found = _csv_rows(content) if kind == "csv" else _xlsx_rows(content, sheet)
    rows: list[Row] = []
    for count, row in enumerate(found, start=1):
        if count > ROWS_LIMIT:
            raise StatementRefused(f"line {row.line}", "too many rows", f"at most {ROWS_LIMIT} rows a file")
        if len(row.cells) > COLUMNS_LIMIT:
            raise StatementRefused(f"line {row.line}", "too many columns", f"at most {COLUMNS_LIMIT} columns")
        if any(not is_blank(cell) for cell in row.cells):
            rows.append(row)
    return rows


def is_blank(cell: Cell) -> bool:
    """Whether a cell says nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _csv_rows(content: bytes) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(decoded(content, StatementRefused), newline=""), strict=True)
    try:
        for cells in reader:
            yield Row(reader.line_num, tuple(cells))
    except csv.Error as error:
        raise StatementRefused(f"line {reader.line_num}", str(error), "well-formed CSV") from error


def _xlsx_rows(content: bytes, wanted: str | None) -> Iterator[Row]:
    try:
        _check_package(content)
        workbook = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        names: list[str] = [each.title for each in workbook.worksheets]
        name = wanted if wanted is not None else names[0] if len(names) == 1 else None
        if name is None or name not in names:
            expected = "one sheet, or a mapping that names one" if wanted is None else f"a sheet called {shown(wanted)}"
            raise StatementRefused("the file", f"its sheets are {shown(names)}", expected)
        table = workbook[name]
        table.reset_dimensions()  # what a file says about its own size may be wrong
        for line, cells in enumerate(table.iter_rows(values_only=True), start=1):
            yield Row(line, _without_blank_end(cast("tuple[Cell, ...]", cells)))
    except StatementRefused:
        raise
    except Exception as error:  # a damaged package fails in any way: its zip, its XML, its references, its numbers
        problem = f"the workbook cannot be read ({type(error).__name__})"
        raise StatementRefused("the file", problem, "an XLSX workbook that opens in a spreadsheet program") from error


def _without_blank_end(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    end = len(cells)
    while end and is_blank(cells[end - 1]):
        end -= 1
    return cells[:end]


def _check_package(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        unpacked_bytes = sum(part.file_size for part in package.infolist())
        if unpacked_bytes > UNPACKED_LIMIT_BYTES:
            expected = f"at most {UNPACKED_LIMIT_BYTES}"
            raise StatementRefused("the file", f"it unpacks to {unpacked_bytes} bytes", expected)
        tags = {True: 0, False: 0}
        for part in package.infolist():
            if not part.filename.endswith((".xml", ".rels")):
                continue
            text = package.read(part)
            if _DOCUMENT_TYPE in text or b"\0" in text:  # NUL: UTF-16, in which a document type would look otherwise
                problem = f"{shown(part.filename)} declares a document type, or is not UTF-8"
                raise StatementRefused("the file", problem, "plain XML")
            tags[_TABLE.match(text) is not None] += text.count(b"<")
            if tags[True] > TABLE_TAGS_LIMIT or tags[False] > BOOK_TAGS_LIMIT:
                raise StatementRefused("the file", "it has too many cells or styles", "a table without empty cells")
            if any(sum(1 for _ in _CELL.finditer(row)) > ROW_CELLS_LIMIT for row in _ROW.split(text)):
                raise StatementRefused("the file", "a row has too many cells", f"at most {ROW_CELLS_LIMIT} cells a row")
