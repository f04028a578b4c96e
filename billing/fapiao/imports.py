"""A file of fapiao numbers comes back: every row is recorded or refused by itself, and each says what became of it.

It is the export with its last columns filled in, or any table with these columns. Rows of one invoice with one number
are one fapiao (it shows several rates), so their amounts are added up. The same file sent twice records nothing twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.fapiao import records
from billing.fapiao.errors import FapiaoFileRefused
from billing.fapiao.records import NewFapiao
from billing.models import Invoice
from billing.rules.errors import shown
from billing.rules.fapiao import FapiaoRefused
from billing.rules.reading import MAXIMUM_WHOLE_DIGITS, Reader
from billing.statements.errors import StatementRefused
from billing.statements.sheets import CONTENT_LIMIT_BYTES, Cell, Kind, Row, is_blank, read_rows
from infra.kit import money
from infra.kit.problems import Refusal, TooLarge

ROWS_LIMIT = 2_000
"""Rows with a number in one file; each takes some milliseconds."""

EXACT_DIGITS = 15
"""Digits that a number in a spreadsheet keeps; a fapiao number must be text."""

Outcome = Literal["recorded", "already_recorded", "refused", "skipped"]

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "invoice_id": ("账单标识", "invoice_id"),
    "number": ("发票号码", "fapiao_number", "number"),
    "code": ("发票代码", "fapiao_code", "code"),
    "issued_on": ("开票日期", "fapiao_date", "issued_on"),
    "amount": ("价税合计", "amount"),
}
_OPTIONAL = frozenset({"code"})
_DAY = re.compile(r"(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{2})(\d{2}))(?: [\d:]+)?", re.ASCII)
_LEAST_AMOUNT = Decimal(-(10**MAXIMUM_WHOLE_DIGITS) + 1)
_READER = Reader(FapiaoRefused)


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of a row: `line` as in the file; where it was refused, the code and the sentence."""

    line: int
    invoice_id: str
    number: str
    outcome: Outcome
    code: str | None = None
    detail: str | None = None
    fapiao_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    line: int
    invoice_id: str
    new: NewFapiao
    total: Decimal


async def import_numbers(session: AsyncSession, content: bytes, kind: Kind) -> list[RowOutcome]:
    """Record the numbers of a file; the outcomes stand in the order of its rows.

    Raises `FapiaoFileRefused` where it is no such table, `TooLarge`; a row that is refused stops no other row.
    """
    if len(content) > CONTENT_LIMIT_BYTES:
        raise TooLarge(f"The file has {len(content)} bytes; at most {CONTENT_LIMIT_BYTES} are taken.", field="body")
    rows, places = await asyncio.to_thread(_table, content, kind)
    outcomes: list[RowOutcome] = []
    groups: dict[tuple[str, str], list[_Read]] = {}
    for row in rows:
        cells = {name: row.cells[place] if place < len(row.cells) else None for name, place in places.items()}
        if is_blank(cells["number"]):
            outcomes.append(RowOutcome(row.line, _shown(cells["invoice_id"]), "", "skipped"))
            continue
        try:
            read = _read(row.line, cells)
        except FapiaoRefused as refusal:
            outcomes.append(_refused(row.line, _shown(cells["invoice_id"]), _shown(cells["number"]), refusal))
        else:
            groups.setdefault((read.invoice_id, read.new.full_number), []).append(read)
    tenants = await _tenants(session, {invoice_id for invoice_id, _ in groups})
    # By tenant, because recording locks it: two files at once wait for each other instead of locking up.
    for (invoice_id, _), group in sorted(groups.items(), key=lambda item: (tenants.get(item[0][0], ""), item[0])):
        outcomes += await _record(session, tenants.get(invoice_id), group)
    return sorted(outcomes, key=lambda outcome: outcome.line)


def _table(content: bytes, kind: Kind) -> tuple[list[Row], dict[str, int]]:
    try:
        rows = read_rows(content, kind)
    except StatementRefused as refusal:
        raise FapiaoFileRefused(refusal.field or "the file", refusal.problem, refusal.expected) from refusal
    if not rows:
        raise FapiaoFileRefused("the file", "it is empty", "a table with a header")
    header = [_shown(cell).strip() for cell in rows[0].cells]
    places: dict[str, int] = {}
    for name, headings in _COLUMNS.items():
        found = [index for index, heading in enumerate(header) if heading in headings]
        if len(found) > 1:
            raise FapiaoFileRefused(f"column {headings[0]}", "it stands there twice", "each column once")
        if found:
            places[name] = found[0]
        elif name not in _OPTIONAL:
            expected = f"a column called {' or '.join(headings)}, as in the export"
            raise FapiaoFileRefused(f"line {rows[0].line}, column {headings[0]}", "the column is missing", expected)
    number = places["number"]
    count = sum(len(row.cells) > number and not is_blank(row.cells[number]) for row in rows[1:])
    if count > ROWS_LIMIT:
        raise FapiaoFileRefused("the file", f"{count} rows have a number", f"at most {ROWS_LIMIT} in one file")
    return rows[1:], places


def _read(line: int, cells: Mapping[str, Cell]) -> _Read:
    invoice_id = _shown(cells["invoice_id"]).strip()
    if not invoice_id:
        raise FapiaoRefused("invoice_id", "it is empty", "the invoice_id of the export")
    amount = _amount(cells["amount"])
    code = _digits("code", cells.get("code"))
    new = NewFapiao(
        number=_digits("number", cells["number"]) or "",
        code=code,
        issued_on=_day(cells["issued_on"]),
        amount=money.amount_text(amount),
    )
    return _Read(line, invoice_id, new, amount)


def _digits(field: str, cell: Cell) -> str | None:
    """A number or code as text; one that a spreadsheet has rounded as a number is not guessed at."""
    if is_blank(cell):
        return None
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        if cell != int(cell) or abs(cell) >= 10**EXACT_DIGITS:
            expected = "the column formatted as text, since a spreadsheet keeps 15 digits of a number"
            raise FapiaoRefused(field, f"{shown(cell)} has lost its end", expected)
        cell = int(cell)
    return "".join(str(cell).lstrip("'").split())


def _amount(cell: Cell) -> Decimal:
    if isinstance(cell, str):
        cell = cell.strip().lstrip("'¥￥").replace(",", "")
    return _READER.decimal(cell, "amount", places=money.FEN, minimum=_LEAST_AMOUNT)


def _day(cell: Cell) -> date:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    found = _DAY.fullmatch(_shown(cell).strip())
    if found is None:
        raise FapiaoRefused("issued_on", f"{shown(_shown(cell))} is no date", "a date such as 2026-07-31")
    year, month, day = filter(None, found.groups())
    return _READER.day(f"{year}-{int(month):02d}-{int(day):02d}", "issued_on")


def _shown(cell: Cell) -> str:
    return "" if cell is None else str(cell)


async def _tenants(session: AsyncSession, invoice_ids: Iterable[str]) -> dict[str, str]:
    query = select(Invoice.invoice_id, Invoice.tenant_id).where(Invoice.invoice_id.in_(list(invoice_ids)))
    return {row.invoice_id: row.tenant_id for row in await session.execute(query)}


async def _record(session: AsyncSession, tenant_id: str | None, group: Sequence[_Read]) -> list[RowOutcome]:
    """Record one fapiao, which may have several rows; a refusal undoes it alone."""
    first = group[0]
    new = replace(first.new, amount=money.amount_text(sum((each.total for each in group), money.ZERO)))
    try:
        if tenant_id is None:
            raise FapiaoRefused("invoice_id", f"there is no invoice {shown(first.invoice_id)}", "one of the export")
        if any(each.new.issued_on != first.new.issued_on for each in group):
            raise FapiaoRefused("issued_on", "one fapiao has two days in the file", "the same day in all its rows")
        known = next(
            (each for each in await records.live_of(session, tenant_id, first.invoice_id)
             if records.full_number(each) == new.full_number),
            None,
        )  # fmt: skip
        if known is not None and (money.amount_text(known.amount), known.issued_on) == (new.amount, new.issued_on):
            return _all(group, "already_recorded", known.fapiao_id)
        async with session.begin_nested():
            fapiao = await records.record(session, tenant_id, first.invoice_id, new)
    except Refusal as refusal:
        return [_refused(each.line, each.invoice_id, each.new.number, refusal) for each in group]
    return _all(group, "recorded", fapiao.fapiao_id)


def _all(group: Iterable[_Read], outcome: Outcome, fapiao_id: str) -> list[RowOutcome]:
    return [RowOutcome(each.line, each.invoice_id, each.new.number, outcome, fapiao_id=fapiao_id) for each in group]


def _refused(line: int, invoice_id: str, number: str, refusal: Refusal) -> RowOutcome:
    return RowOutcome(line, invoice_id, number, "refused", refusal.code, refusal.detail)
