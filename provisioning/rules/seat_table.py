"""One line of a table of seats: which seat, what is to happen to it, and what is written on it. Pure.

A column that is missing, and a cell that is empty, change nothing; a dash takes away what stands there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

from infra.kit.problems import InvalidInput

Action = Literal["update", "add", "return", "cancel", "suspend", "resume", "reissue"]
ACTIONS: tuple[Action, ...] = get_args(Action)

NOTHING = "-"
"""A cell that takes away what stands there."""

TEXTS = ("name", "group", "person_name", "person_mail", "person_number")
"""What can be written on a seat."""

COLUMNS: Mapping[str, str] = {
    "seat_id": "坐席编号",
    "extension": "分机号",
    "action": "操作",
    "name": "名称",
    "group": "分组",
    "person_name": "姓名",
    "person_mail": "邮箱",
    "person_number": "工号",
    "effective_on": "生效日期",
    "contract_id": "合同编号",
    "reason": "原因",
}
"""The columns and their Chinese headings; either may be used."""

ACTION_WORDS: Mapping[str, Action] = {
    "修改": "update",
    "新增": "add",
    "退回": "return",
    "取消": "cancel",
    "停用": "suspend",
    "恢复": "resume",
    "重新签发": "reissue",
}

_BY_HEADING = {chinese: column for column, chinese in COLUMNS.items()}
_FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Also in their full width, which spreadsheet programs in Chinese take for the same."""

_DAY = re.compile(r"([0-9]{4})(?:([-/])([0-9]{1,2})\2|年([0-9]{1,2})月)([0-9]{1,2})日?|([0-9]{4})([0-9]{2})([0-9]{2})")


class HeaderRefused(InvalidInput):
    """The first line of the table names a column that is not known, or one twice, or none that says which seat."""

    code = "seat_table_header_refused"


class LineRefused(InvalidInput):
    """A line cannot be carried out as it stands; `field` names the column."""

    code = "seat_table_line_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatLine:
    """A line that can be read. `texts` holds what is to be written, None where something is taken away."""

    line: int
    action: Action
    seat_id: str | None
    extension: str | None
    texts: Mapping[str, str | None]
    effective_on: date | None
    contract_id: str | None
    reason: str | None


def checked_text(text: str | None, *, limit_characters: int, field: str) -> str | None:
    """What may be written on a seat, without blanks around it; None where there is none.

    One line that a table can carry: not the dash by which a table takes away. Raises `InvalidInput`.
    """
    if text is None:
        return None
    stripped = text.strip()
    if not 1 <= len(stripped) <= limit_characters or not _is_one_line(stripped):
        raise InvalidInput(f"`{field}` has 1 to {limit_characters} printable characters, in one line.", field=field)
    if stripped == NOTHING:
        raise InvalidInput(f"`{field}` cannot be a dash alone, which takes away in tables of seats.", field=field)
    return stripped


def columns_of(header: list[str]) -> list[str]:
    """The columns under their own names, in the order of the table. Raises `HeaderRefused` naming the heading."""
    columns: list[str] = []
    for heading in header:
        column = _BY_HEADING.get(heading, heading)
        if column not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise HeaderRefused(f"The column {heading[:60]!r} is not known; known are {known}.", field=heading[:60])
        if column in columns:
            raise HeaderRefused(f"The column {heading} stands there twice.", field=column)
        columns.append(column)
    if not {"seat_id", "extension", "action"} & set(columns):
        raise HeaderRefused("A column must say which seat: `extension` or `seat_id`.", field="extension")
    return columns


def read_line(line: int, cells: Mapping[str, str]) -> SeatLine:
    """A line from its cells by column. Raises `LineRefused` naming the column."""
    for column, text in cells.items():
        if not _is_one_line(text.strip()):
            raise LineRefused("The cell holds a line break or another character that cannot be shown.", field=column)
    given = {column: _unescaped(text.strip()) for column, text in cells.items() if text.strip()}
    action = _action(given.get("action", "update"))
    read = SeatLine(
        line=line,
        action=action,
        seat_id=given.get("seat_id"),
        extension=given.get("extension"),
        texts={column: None if given[column] == NOTHING else given[column] for column in TEXTS if column in given},
        effective_on=_day(given.get("effective_on")),
        contract_id=given.get("contract_id"),
        reason=given.get("reason"),
    )
    _check(read)
    return read


def _check(read: SeatLine) -> None:
    names_a_seat = read.seat_id is not None or read.extension is not None
    if read.action == "add" and names_a_seat:
        column = "seat_id" if read.seat_id is not None else "extension"
        raise LineRefused("A seat that is added has no number yet; leave it empty.", field=column)
    if read.action != "add" and not names_a_seat:
        raise LineRefused("The line does not say which seat: give its extension or seat_id.", field="extension")
    if read.action in ("add", "return") and read.effective_on is None:
        raise LineRefused(f"Say from which day the seat is to {_does(read.action)}.", field="effective_on")
    if read.action not in ("add", "return") and read.effective_on is not None:
        raise LineRefused(f"{read.action} takes effect at once; leave the day empty.", field="effective_on")
    if read.action == "suspend" and read.reason is None:
        raise LineRefused("Say why the seat is suspended.", field="reason")


def _does(action: Action) -> str:
    return "open" if action == "add" else "close"


def _action(text: str) -> Action:
    action = ACTION_WORDS.get(text, text.lower())
    if action not in ACTIONS:
        raise LineRefused(f"{text[:40]!r} is not one of {', '.join(ACTIONS)}.", field="action")
    return action


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return _read_day(text)
    except ValueError:
        raise LineRefused(f"{text[:40]!r} is not a day such as 2026-06-20.", field="effective_on") from None


def _read_day(text: str) -> date:
    """2026-06-20 as spreadsheet programs write it, also in Chinese and without zeros. Raises `ValueError`."""
    found = _DAY.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day = (int(part) for part in found.groups() if part is not None and part.isdigit())
    return date(year, month, day)


def _is_one_line(text: str) -> bool:
    """Whether this is text that can be shown, with blanks of any width (`王　芳`) but no line break."""
    return all(each.isprintable() or unicodedata.category(each) == "Zs" for each in text)


def _unescaped(text: str) -> str:
    """A cell without the apostrophe by which our own tables keep spreadsheet programs from reading a formula."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA_BEGINNINGS) else text
