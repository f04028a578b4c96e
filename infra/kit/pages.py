"""Cursor pages: `?limit=&after=` → `{"items": [...], "next": …}`, newest first, with a hard limit."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, date, datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from infra.kit.problems import InvalidInput

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
NOT_OURS = "`after` is not a cursor: pass the `next` of the page before."

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], kw_only=True):
    """One page; `next` is the `after` of the following one, null on the last."""

    items: list[Item]
    next: str | None


def encode_cursor(values: tuple[str, ...]) -> str:
    """An opaque cursor from the last row's sort values."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def decode_cursor(cursor: str, parts: int) -> tuple[str, ...]:
    """The sort values of a cursor; refused when it is not one of ours."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = msgspec.json.decode(raw, type=tuple[str, ...])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        values = ()
    if len(values) != parts:
        raise InvalidInput(NOT_OURS, field="after")
    return values


def check_limit(limit: int) -> int:
    """The page size, refused outside 1 to MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"`limit` is between 1 and {MAX_LIMIT}.", field="limit")
    return limit


def _value(key: InstrumentedAttribute[Any], text: str) -> str | int | date | datetime:
    """A sort value of a cursor as its column has it."""
    try:
        if key.type.python_type is int:
            return int(text)
        if key.type.python_type is datetime:
            return datetime.fromisoformat(text).astimezone(UTC)
        return date.fromisoformat(text) if key.type.python_type is date else text
    except (ValueError, OverflowError):
        raise InvalidInput(NOT_OURS, field="after") from None


async def fetch_page(
    session: AsyncSession,
    query: Select[Any],
    *,
    keys: tuple[InstrumentedAttribute[Any], ...],
    limit: int,
    after: str | None,
) -> tuple[list[Any], str | None]:
    """Rows of a query in falling order of `keys`, and the next cursor.

    The keys are columns of text, whole numbers, days or moments that together are unique, attributes of the selected
    entity. Raises `InvalidInput` for the limit, and for a cursor that is not of these columns.
    """
    check_limit(limit)
    if after is not None:
        texts = decode_cursor(after, len(keys))
        query = query.where(tuple_(*keys) < tuple_(*(_value(key, text) for key, text in zip(keys, texts, strict=True))))
    query = query.order_by(*(key.desc() for key in keys)).limit(limit + 1)
    rows = list((await session.execute(query)).scalars())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor(tuple(str(getattr(last, key.key)) for key in keys))
