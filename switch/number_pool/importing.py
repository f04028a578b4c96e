"""Reads files of numbers, as carriers and colleagues send them, and says of every row what became of it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit
from infra.kit.database import PLATFORM
from infra.kit.problems import InvalidInput
from switch.number_pool import stock
from switch.number_pool.errors import ImportTooLarge
from switch.number_pool.models import PooledNumber
from switch.numbers import E164, HOME_REGION, NotDiallable, is_region, normalise

ROW_LIMIT = 10_000
FILE_LIMIT_BYTES = 2_000_000
LABEL_LIMIT_CHARACTERS = 100
SHOWN_CHARACTERS = 40

NUMBER, COUNTRY, LABEL = COLUMNS = ("number", "country", "label")


class RowOutcome(StrEnum):
    """What became of a row."""

    ADDED = "added"
    KNOWN = "known"
    """The pool has the number already, free or not; nothing was changed."""
    REPEATED = "repeated"
    """An earlier row of the file names the same number."""
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A row of the file: `given` as it stands there, `digits` of the number it names, `problem` where it names none."""

    line: int
    given: str
    outcome: RowOutcome
    digits: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    given: str
    label: str | None
    digits: str | None
    problem: str | None


async def import_numbers(session: AsyncSession, content: bytes, *, is_dry_run: bool) -> list[ImportedRow]:
    """Add the numbers of a CSV file (UTF-8 or GBK) to the pool; a dry run only says what would become of each row.

    Columns: `number` in any spelling, and where wanted `country` (ISO 3166, for a national spelling; by default CN)
    and `label`. A row that cannot be used stops no other. Raises `InvalidInput` for what is no such file,
    `ImportTooLarge`.
    """
    # In a thread: ten thousand numbers take half a second, and nodes wait for answers meanwhile.
    rows = await asyncio.to_thread(read_rows, content)
    numbers = {row.digits: row.label for row in reversed(rows) if row.digits is not None}
    if is_dry_run:
        query = select(PooledNumber.number).where(PooledNumber.number.in_(numbers))
        added = numbers.keys() - set((await session.execute(query)).scalars())
    else:
        added = await stock.add(session, numbers.items())
        await audit.record(session, PLATFORM, "number_pool.imported", rows=len(rows), added=len(added))
    return _outcomes(rows, added)


def _outcomes(rows: Sequence[_Row], added: set[str]) -> list[ImportedRow]:
    seen: set[str] = set()
    found: list[ImportedRow] = []
    for row in rows:
        if row.digits is None:
            outcome = RowOutcome.INVALID
        elif row.digits in seen:
            outcome = RowOutcome.REPEATED
        else:
            outcome = RowOutcome.ADDED if row.digits in added else RowOutcome.KNOWN
            seen.add(row.digits)
        found.append(ImportedRow(row.line, row.given[:SHOWN_CHARACTERS], outcome, row.digits, row.problem))
    return found


def read_rows(content: bytes) -> list[_Row]:
    """The rows of a file, each number normalised. Raises `InvalidInput`, `ImportTooLarge`."""
    if len(content) > FILE_LIMIT_BYTES:
        raise ImportTooLarge(f"A file of numbers has at most {FILE_LIMIT_BYTES:,} bytes; send it in parts.")
    reader = csv.reader(io.StringIO(_decoded(content), newline=""), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _check_header(header)
        rows: list[_Row] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) >= ROW_LIMIT:
                raise ImportTooLarge(f"A file of numbers has at most {ROW_LIMIT:,} rows; send it in parts.")
            rows.append(_read_row(reader.line_num, header, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num}: {error}; expected well-formed CSV.", field="body") from error
    return rows


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InvalidInput("The file is neither UTF-8 nor GBK text; save it as CSV in one of them.", field="body")


def _check_header(header: Sequence[str]) -> None:
    unknown = [column for column in header if column not in COLUMNS]
    if unknown or NUMBER not in header or len(set(header)) != len(header):
        found = ", ".join(header)[:200] or "nothing"
        words = f"line 1: expected the columns {NUMBER}, and where wanted {COUNTRY} and {LABEL}, each once"
        raise InvalidInput(f"{words}; found {found}.", field="body")


def _read_row(line: int, header: Sequence[str], cells: Sequence[str]) -> _Row:
    if len(cells) != len(header):
        return _Row(line, ",".join(cells), None, None, f"{len(cells)} cells where the header has {len(header)}")
    values = dict(zip(header, cells, strict=True))
    given, label, country = values[NUMBER], values.get(LABEL) or None, values.get(COUNTRY, "").upper() or HOME_REGION
    if not is_region(country):
        return _Row(line, given, None, None, f"{country[:8]!r} is no country; write its two letters, such as CN")
    if label is not None and (len(label) > LABEL_LIMIT_CHARACTERS or not label.isprintable()):
        return _Row(line, given, None, None, f"a label has at most {LABEL_LIMIT_CHARACTERS} printable characters")
    destination = normalise(given, country)
    if isinstance(destination, E164):
        return _Row(line, given, label, destination.digits, None)
    why = destination.why if isinstance(destination, NotDiallable) else "a short code or emergency number is nobody's"
    return _Row(line, given, None, None, why)
