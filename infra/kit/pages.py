"""Cursor pages: `?limit=&after=` → `{"items": [...], "next": …}`, newest first, with a hard limit."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from infra.kit.problems import InvalidInput

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

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
        raise InvalidInput("`after` is not a cursor: pass the `next` of the page before.", field="after")
    return values


def check_limit(limit: int) -> int:
    """The page size, refused outside 1 to MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"`limit` is between 1 and {MAX_LIMIT}.", field="limit")
    return limit


async def fetch_page(
    session: AsyncSession,
    query: Select[Any],
    *,
    keys: tuple[InstrumentedAttribute[Any], ...],
    limit: int,
    after: str | None,
) -> tuple[list[Any], str | None]:
    """Rows of a query in falling order of `keys` (text columns that together are unique), and the next cursor.

    The key columns must be attributes of the selected entity.
    """
    check_limit(limit)
    if after is not None:
        query = query.where(tuple_(*keys) < tuple_(*decode_cursor(after, len(keys))))
    query = query.order_by(*(key.desc() for key in keys)).limit(limit + 1)
    rows = list((await session.execute(query)).scalars())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor(tuple(str(getattr(last, key.key)) for key in keys))
