"""From the rows of a bank's file to lines of money received; one row that cannot be read refuses the whole file."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.rules.errors import shown
from billing.rules.reading import MAXIMUM_WHOLE_DIGITS, Reader
from billing.statements.errors import CurrencyRefused, MappingRefused, StatementRefused
from billing.statements.sheets import Cell, Kind, Row, is_blank, read_rows
from infra.kit import money

COLUMN_LIMIT_CHARACTERS = 100
REFERENCE_LIMIT_CHARACTERS = 200
"""The same as a payment's reference and payer have (billing/payments.py)."""
REMITTANCE_LIMIT_CHARACTERS = 1000
HEADER_LINE_LIMIT = 100
FOOTER_ROWS_LIMIT = 100
EXACT_DIGITS = 15
"""Digits that a number in a spreadsheet keeps; a longer one has lost its end."""

CURRENCY_WORDS = frozenset({money.CURRENCY, "RMB", "人民币", "156"})
"""CNY as banks write it; 156 is its number in ISO 4217."""

_TIME = r"(?:[ T]?\d{1,2}:?\d{2}(?::?\d{2}(?:\.\d+)?)?)?"
_YEAR, _MONTH, _DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
DATE_FORMS: Mapping[str, re.Pattern[str]] = {
    "YYYY-MM-DD": re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}(?![0-9]){_TIME}", re.ASCII),
    "YYYY/MM/DD": re.compile(rf"{_YEAR}/{_MONTH}/{_DAY}(?![0-9]){_TIME}", re.ASCII),
    "YYYY年MM月DD日": re.compile(rf"{_YEAR}年{_MONTH}月{_DAY}日{_TIME}", re.ASCII),
    "YYYYMMDD": re.compile(rf"{_YEAR}(?P<month>\d{{2}})(?P<day>\d{{2}}){_TIME}", re.ASCII),
    "DD/MM/YYYY": re.compile(rf"{_DAY}/{_MONTH}/{_YEAR}(?![0-9]){_TIME}", re.ASCII),
}
"""How a bank may write its dates; a time of day after it is passed over."""

_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_LEAST_AMOUNT = Decimal(-(10**MAXIMUM_WHOLE_DIGITS) + 1)
_READER = Reader(StatementRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which column of a bank's file says what, by the words of its header.

    Money received is a positive `amount`. Where the bank writes money paid out into a column of its own, `debit` names
    it; where a word tells the two apart, `direction` names its column and the two words.
    """

    value_on: str
    amount: str
    bank_reference: str
    remittance: tuple[str, ...]
    payer: str | None = None
    currency: str | None = None
    debit: str | None = None
    direction: str | None = None
    incoming_word: str | None = None
    outgoing_word: str | None = None
    date_form: str = "YYYY-MM-DD"
    header_line: int = 1
    footer_rows: int = 0
    sheet: str | None = None

    def columns(self) -> tuple[str, ...]:
        """Every column of the file that is read."""
        optional = (self.payer, self.currency, self.debit, self.direction)
        named = (self.value_on, self.amount, self.bank_reference, *self.remittance, *optional)
        return tuple(column for column in named if column is not None)


@dataclass(frozen=True, slots=True)
class StatementLine:
    """Money received: CNY, the day it counts from, the bank's own reference, who paid and what was written."""

    line_number: int
    value_on: date
    amount: Decimal
    bank_reference: str
    payer: str | None
    remittance: str


@dataclass(frozen=True, slots=True)
class StatementFile:
    """The lines of money received, in the order of the file, and how many rows were money paid out."""

    lines: tuple[StatementLine, ...]
    outgoing_count: int


def check_layout(layout: Layout) -> None:
    """Refuse a mapping that could not be read with; raises `MappingRefused` naming the part."""
    for column in (*layout.columns(), layout.incoming_word, layout.outgoing_word, layout.sheet):
        if column is not None and (column != column.strip() or not 1 <= len(column) <= COLUMN_LIMIT_CHARACTERS):
            expected = f"1 to {COLUMN_LIMIT_CHARACTERS} characters without blanks around them"
            raise MappingRefused("columns", f"{shown(column)} is not acceptable", expected)
    if not layout.remittance:
        raise MappingRefused("columns.remittance", "no column is named", "at least one column")
    columns = layout.columns()
    for column in columns:
        if columns.count(column) > 1:
            raise MappingRefused("columns", f"{shown(column)} stands there twice", "each column once")
    words = (layout.incoming_word, layout.outgoing_word)
    if (layout.direction is None) != (words == (None, None)) or (layout.direction is not None and None in words):
        expected = "`columns.direction` with `incoming_word` and `outgoing_word`, or none of the three"
        raise MappingRefused("columns.direction", "the words of its column are missing or alone", expected)
    if layout.direction is not None and words[0] == words[1]:
        raise MappingRefused("incoming_word", "it is also the word for money paid out", "two different words")
    reader = Reader(MappingRefused)
    reader.choice(layout.date_form, "date_form", DATE_FORMS)
    reader.whole(layout.header_line, "header_line", minimum=1, maximum=HEADER_LINE_LIMIT)
    reader.whole(layout.footer_rows, "footer_rows", minimum=0, maximum=FOOTER_ROWS_LIMIT)


def read_statement(content: bytes, kind: Kind, layout: Layout, *, today: date) -> StatementFile:
    """Read a whole file. Raises `StatementRefused` naming line and column, `CurrencyRefused` for other money."""
    rows = read_rows(content, kind, sheet=layout.sheet)
    header = next((row for row in rows if row.line == layout.header_line), None)
    if header is None:
        raise StatementRefused(f"line {layout.header_line}", "there is no header", "the names of the columns")
    places = _places(header, layout)
    below = [row for row in rows if row.line > layout.header_line]
    if not below:
        raise StatementRefused("the file", "there is no row", "at least one row below the header")
    if layout.footer_rows:
        below = below[: -layout.footer_rows]
    lines: list[StatementLine] = []
    for row in below:
        if kind == "csv":
            _check_width(row, header)
        line = _Line(row, places, layout, today).read()
        if line is not None:
            lines.append(line)
    return StatementFile(tuple(lines), len(below) - len(lines))


def _places(header: Row, layout: Layout) -> dict[str, int]:
    names = [str(cell).strip() if cell is not None else "" for cell in header.cells]
    for column in layout.columns():
        place = f"line {header.line}, column {column}"
        if column not in names:
            raise StatementRefused(place, "the column is missing", "the header that the mapping was made for")
        if names.count(column) > 1:
            raise StatementRefused(place, "the column stands there twice", "each mapped column once")
    return {column: names.index(column) for column in layout.columns()}


def _check_width(row: Row, header: Row) -> None:
    """A row cut short or with a stray comma is not guessed at; banks do end rows with one comma too many."""
    width = len(header.cells)
    if len(row.cells) < width or any(not is_blank(cell) for cell in row.cells[width:]):
        raise StatementRefused(f"line {row.line}", f"{len(row.cells)} cells", f"{width} cells as in the header")


class _Line:
    def __init__(self, row: Row, places: Mapping[str, int], layout: Layout, today: date) -> None:
        self._row = row
        self._places = places
        self._layout = layout
        self._today = today

    def read(self) -> StatementLine | None:
        """The line, or None where it is money paid out."""
        layout = self._layout
        value_on = self._day(layout.value_on)
        if layout.currency is not None:
            self._check_currency(layout.currency)
        amount = self._received()
        if amount is None:
            return None
        payer = self._text(layout.payer, REFERENCE_LIMIT_CHARACTERS) if layout.payer is not None else ""
        parts = (self._text(column, REMITTANCE_LIMIT_CHARACTERS) for column in layout.remittance)
        return StatementLine(
            line_number=self._row.line,
            value_on=value_on,
            amount=amount,
            bank_reference=self._required(layout.bank_reference, "the bank's reference of the transfer"),
            payer=payer or None,
            remittance=" ".join(part for part in parts if part),
        )

    def _received(self) -> Decimal | None:
        layout = self._layout
        incoming = True
        if layout.direction is not None:
            word = self._required(layout.direction, f"{layout.incoming_word} or {layout.outgoing_word}")
            if word not in (layout.incoming_word, layout.outgoing_word):
                raise self._refuse(layout.direction, f"{layout.incoming_word} or {layout.outgoing_word}")
            incoming = word == layout.incoming_word
        debit = self._amount(layout.debit) if layout.debit is not None else None
        amount = self._amount(layout.amount)
        if debit:
            if amount:
                raise self._refuse(layout.amount, "an amount received or one paid out, not both")
            return None
        if not amount:
            raise self._refuse(layout.amount, "an amount that is not zero")
        return amount if incoming and amount > 0 else None

    def _amount(self, column: str) -> Decimal | None:
        """An amount; None for an empty cell."""
        cell = self._cell(column)
        if is_blank(cell):
            return None
        if isinstance(cell, str):
            text = cell.strip().removeprefix("+")
            cell = text.replace(",", "") if _GROUPED.fullmatch(text) else text
        return _READER.decimal(cell, self._place(column), places=money.FEN, minimum=_LEAST_AMOUNT)

    def _day(self, column: str) -> date:
        cell = self._cell(column)
        if isinstance(cell, datetime):
            cell = cell.date().isoformat()
            form = "YYYY-MM-DD"
        elif isinstance(cell, date):
            cell, form = cell.isoformat(), "YYYY-MM-DD"
        else:
            cell, form = self._text(column, REFERENCE_LIMIT_CHARACTERS), self._layout.date_form
        found = DATE_FORMS[form].fullmatch(cell)
        if found is None:
            raise self._refuse(column, f"a date as {form}")
        text = f"{found['year']}-{int(found['month']):02d}-{int(found['day']):02d}"
        day = _READER.day(text, self._place(column))
        if day > self._today:
            raise self._refuse(column, f"a day up to today, {self._today}")
        return day

    def _check_currency(self, column: str) -> None:
        word = self._required(column, money.CURRENCY)
        if word.upper() not in CURRENCY_WORDS:
            raise CurrencyRefused(self._place(column), f"{shown(word)} is not taken", f"{money.CURRENCY} (C25)")

    def _required(self, column: str, expected: str) -> str:
        text = self._text(column, REFERENCE_LIMIT_CHARACTERS)
        if not text:
            raise self._refuse(column, expected)
        return text

    def _text(self, column: str, limit_characters: int) -> str:
        """A cell as one line of text, empty where the cell is."""
        cell = self._cell(column)
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            if not math.isfinite(cell) or abs(cell) >= 10**EXACT_DIGITS:
                expected = f"at most {EXACT_DIGITS} digits, or the column formatted as text"
                raise self._refuse(column, expected)
            cell = str(int(cell)) if cell == int(cell) else str(cell)
        if isinstance(cell, str):
            if any(unicodedata.category(each) == "Cc" and not each.isspace() for each in cell):
                raise self._refuse(column, "text without control characters")
            text = " ".join(cell.split())
            if len(text) > limit_characters:
                raise self._refuse(column, f"at most {limit_characters} characters")
            return text
        if cell is None:
            return ""
        raise self._refuse(column, "text")

    def _cell(self, column: str) -> Cell:
        place = self._places[column]
        return self._row.cells[place] if place < len(self._row.cells) else None

    def _place(self, column: str) -> str:
        return f"line {self._row.line}, column {column}"

    def _refuse(self, column: str, expected: str) -> StatementRefused:
        return StatementRefused(self._place(column), f"{shown(self._cell(column))} is not acceptable", expected)
