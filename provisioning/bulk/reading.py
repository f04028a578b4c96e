"""From a file to the lines of a table of seats: CSV in UTF-8 or GBK, or the one sheet of an XLSX workbook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from billing.statements.errors import StatementRefused
from billing.statements.sheets import Cell, Kind, Row, is_blank, read_rows
from infra.kit.problems import InvalidInput
from provisioning.bulk.errors import SeatTableUnreadable
from provisioning.rules import seat_table
from provisioning.rules.seat_table import LineRefused, SeatLine

ROWS_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Unread:
    """A line that cannot be read, and why."""

    line: int
    refusal: InvalidInput


def read_table(content: bytes, kind: Kind) -> list[SeatLine | Unread]:
    """Every line below the header, in the order of the file, with those that cannot be read.

    Raises `SeatTableUnreadable` where the file as such is wrong, `HeaderRefused` for its first line.
    """
    try:
        rows = read_rows(content, kind)
    except StatementRefused as refusal:
        place = str(refusal.field)
        raise SeatTableUnreadable(f"{place}: {refusal.problem}; expected {refusal.expected}", field=place) from refusal
    if not rows:
        raise SeatTableUnreadable("the file: it is empty; expected headings and the seats below", field="the file")
    columns = seat_table.columns_of([_text(cell).strip() for cell in _without_blank_end(rows[0])])
    below = rows[1:]
    if not 1 <= len(below) <= ROWS_LIMIT:
        raise SeatTableUnreadable(
            f"the file: it has {len(below)} lines below the headings; expected 1 to {ROWS_LIMIT}", field="the file"
        )
    return [_line(row, columns) for row in below]


def _line(row: Row, columns: list[str]) -> SeatLine | Unread:
    cells = _without_blank_end(row)
    if len(cells) > len(columns):
        place = f"column {len(columns) + 1}"
        return Unread(row.line, LineRefused("There is a cell beyond the last heading.", field=place))
    try:
        texts = {column: _text(cell) for column, cell in zip(columns, cells, strict=False)}
        return seat_table.read_line(row.line, texts)
    except LineRefused as refusal:
        return Unread(row.line, refusal)


def _without_blank_end(row: Row) -> tuple[Cell, ...]:
    end = len(row.cells)
    while end and is_blank(row.cells[end - 1]):
        end -= 1
    return row.cells[:end]


def _text(cell: Cell) -> str:
    """A cell as somebody would type it: an extension that a spreadsheet keeps as a number, a day as 2026-06-20."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    return cell.isoformat() if isinstance(cell, date) else str(cell)
