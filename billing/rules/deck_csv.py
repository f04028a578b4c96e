"""Reads a rate deck from CSV; one bad row refuses the whole file, named by line and column (`quote.md`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.rules.csv_text import CsvText, decoded
from billing.rules.errors import DeckRefused, shown
from billing.rules.prefixes import DAY_SECONDS, Band, Deck, DeckRow
from billing.rules.reading import Reader

REQUIRED_COLUMNS = ("prefix", "name", "rate_per_minute", "first_increment", "next_increment")
OPTIONAL_COLUMNS = ("connect_fee", "valid_from", "valid_to", "days", "from_time", "to_time")

MAXIMUM_DECK_BYTES = 64 * 1024 * 1024
MAXIMUM_DECK_ROWS = 1_000_000
MAXIMUM_PREFIX_DIGITS = 15
MAXIMUM_NAME_CHARACTERS = 200
MAXIMUM_INCREMENT_SECONDS = 86_400
PRICE_PLACES = 8

_PREFIX = re.compile(rf"\d{{1,{MAXIMUM_PREFIX_DIGITS}}}", re.ASCII)
_WHOLE = re.compile(r"\d{1,6}", re.ASCII)
_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_DAYS = re.compile(r"([1-7])(?:-([1-7]))?", re.ASCII)

_READER = Reader(DeckRefused)


def read_deck(content: str | bytes) -> Deck:
    """A deck from CSV text, or from bytes in UTF-8 (with or without byte order mark) or GBK.

    Raises `DeckRefused`; its `field` names line and column.
    """
    return Deck.from_rows(read_rows(content))


def read_rows(content: str | bytes) -> list[DeckRow]:
    """The rows of a deck in the order of the file, each checked by itself."""
    if len(content) > MAXIMUM_DECK_BYTES:
        raise DeckRefused("the file", f"{len(content)} bytes", f"at most {MAXIMUM_DECK_BYTES}")
    table = CsvText(decoded(content, DeckRefused), DeckRefused)
    table.require_columns(REQUIRED_COLUMNS, OPTIONAL_COLUMNS)
    days: dict[str, frozenset[int]] = {}
    rows: list[DeckRow] = []
    for line, cells in table.rows(maximum_count=MAXIMUM_DECK_ROWS):
        rows.append(_row(_Cells(line, cells), days))
    if not rows:
        raise DeckRefused("the file", "there is no row", "at least one row below the header")
    return rows


@dataclass(frozen=True, slots=True)
class _Cells:
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def place(self, column: str) -> str:
        return f"line {self.line}, column {column}"

    def refuse(self, column: str, expected: str) -> DeckRefused:
        return DeckRefused(self.place(column), f"{shown(self[column])} is not acceptable", expected)


def _row(cells: _Cells, known_days: dict[str, frozenset[int]]) -> DeckRow:
    if not _PREFIX.fullmatch(cells["prefix"]):
        raise cells.refuse("prefix", f"1 to {MAXIMUM_PREFIX_DIGITS} digits without +")
    if len(cells["name"]) > MAXIMUM_NAME_CHARACTERS:
        raise cells.refuse("name", f"at most {MAXIMUM_NAME_CHARACTERS} characters")
    valid_from, valid_to = _day(cells, "valid_from"), _day(cells, "valid_to")
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        raise cells.refuse("valid_to", "a date on or after valid_from")
    return DeckRow(
        prefix=cells["prefix"],
        name=cells["name"],
        connect_fee=_price(cells, "connect_fee") if cells["connect_fee"] else Decimal(0),
        rate_per_minute=_price(cells, "rate_per_minute"),
        first_increment=_seconds(cells, "first_increment", minimum=0),
        next_increment=_seconds(cells, "next_increment", minimum=1),
        valid_from=valid_from,
        valid_to=valid_to,
        band=_band(cells, known_days),
        line=cells.line,
    )


def _price(cells: _Cells, column: str) -> Decimal:
    return _READER.decimal(cells[column], cells.place(column), places=PRICE_PLACES)


def _seconds(cells: _Cells, column: str, *, minimum: int) -> int:
    text = cells[column]
    seconds = int(text) if _WHOLE.fullmatch(text) else -1
    if not minimum <= seconds <= MAXIMUM_INCREMENT_SECONDS:
        raise cells.refuse(column, f"whole seconds from {minimum} to {MAXIMUM_INCREMENT_SECONDS}")
    return seconds


def _day(cells: _Cells, column: str) -> date | None:
    return _READER.day(cells[column], cells.place(column)) if cells[column] else None


def _band(cells: _Cells, known_days: dict[str, frozenset[int]]) -> Band | None:
    days, begins, ends = cells["days"], cells["from_time"], cells["to_time"]
    if not (days or begins or ends):
        return None
    if days not in known_days:
        known_days[days] = frozenset(_weekdays(cells) if days else range(1, 8))
    from_second = _time(cells, "from_time") if begins else 0
    to_second = _time(cells, "to_time") if ends else DAY_SECONDS
    if from_second == DAY_SECONDS:
        raise cells.refuse("from_time", "a time before midnight")
    if begins and ends and from_second == to_second and from_second != 0:
        raise cells.refuse("to_time", "a time other than from_time; leave both empty for the whole day")
    # Midnight as an end is the end of the day on which the band begins.
    return Band(known_days[days], from_second, to_second or DAY_SECONDS)


def _weekdays(cells: _Cells) -> Iterator[int]:
    match = _DAYS.fullmatch(cells["days"])
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise cells.refuse("days", 'ISO weekdays such as "1-5" or "6"')
    return iter(range(int(match[1]), int(match[2] or match[1]) + 1))


def _time(cells: _Cells, column: str) -> int:
    match = _TIME.fullmatch(cells[column])
    parts = [int(part or 0) for part in match.groups()] if match else [99, 99, 99]
    second = parts[0] * 3600 + parts[1] * 60 + parts[2]
    if parts[1] > 59 or parts[2] > 59 or second > DAY_SECONDS:
        raise cells.refuse(column, "a time of day as HH:MM")
    return second


def columns() -> Sequence[str]:
    """The header of a deck file in its usual order."""
    return ("prefix", "name", "connect_fee", *REQUIRED_COLUMNS[2:], *OPTIONAL_COLUMNS[1:])
