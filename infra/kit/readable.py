"""What every request under /v1 must be before its values are looked at: text that can be read and stored.

PostgreSQL keeps no NUL character, JSON is UTF-8 (RFC 8259 section 8.1), and nesting has a limit. Such a request is
refused here, once for all routes, naming the place.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from infra.kit.problems import MalformedRequest

NUL = "\x00"
NESTING_LIMIT_LEVELS = 100
"""Far more than any body of ours has; the JSON reader itself gives up at some thousand."""

_OTHER_KINDS = ("multipart/", "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
"""Bodies that are no JSON: their handlers read them."""

_FILES = ("application/pdf", "image/", "application/octet-stream")
"""Bodies that are no JSON unless they look like it."""

_LIKE_JSON = re.compile(rb'\s*[\[{"]')


class UnreadableText(MalformedRequest):
    """A path, query or body holds what is no text, or is nested too deeply."""

    code = "unreadable_text"


def check_address(path: str, query: str) -> None:
    """Refuse a NUL character in a request's (decoded) path or (raw) query; raises `UnreadableText`."""
    if NUL in path:
        raise UnreadableText("The path holds the character NUL, which is no text.", field="path")
    if "%00" in query or NUL in query:
        for name, value in parse_qsl(query, keep_blank_values=True):
            if NUL in name or NUL in value:
                raise UnreadableText(f"{name!r} holds the character NUL, which is no text.", field=name)


def check_json(body: bytes, content_type: str | None) -> None:
    """Refuse a JSON body that is not UTF-8, holds a NUL character or is nested too deeply; raises `UnreadableText`.

    A body that is no JSON at all passes: whoever reads it says what is wrong with it.
    """
    kind = (content_type or "").strip().lower()
    if kind.startswith(_OTHER_KINDS) or (kind.startswith(_FILES) and _LIKE_JSON.match(body) is None):
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise UnreadableText(f"The body is not UTF-8 at byte {error.start}.", field="body") from None
    may_be_deep = body.count(b"[") + body.count(b"{") > NESTING_LIMIT_LEVELS
    if not may_be_deep and b"\\u0000" not in body:
        return
    try:
        document: Any = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.MsgspecError:
        return
    place = _place_of_nul(document)
    if place is not None:
        raise UnreadableText(f"{place} holds the character NUL, which is no text.", field=place)


def _too_deep() -> UnreadableText:
    return UnreadableText(f"The body is nested more than {NESTING_LIMIT_LEVELS} levels deep.", field="body")


def _place_of_nul(document: Any) -> str | None:
    """Where the first NUL character stands, such as `terms.items[2]`; raises `UnreadableText` below the limit."""
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    while waiting:
        place, value, level = waiting.pop()
        if level > NESTING_LIMIT_LEVELS:
            raise _too_deep()
        if isinstance(value, str) and NUL in value:
            return place or "body"
        if isinstance(value, dict):
            for name, item in value.items():
                if NUL in name:
                    return place or "body"
                waiting.append((f"{place}.{name}" if place else name, item, level + 1))
        elif isinstance(value, list):
            waiting.extend((f"{place}[{index}]", item, level + 1) for index, item in enumerate(value))
    return None
