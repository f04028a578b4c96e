"""The two languages that people are written to in."""

from __future__ import annotations

from typing import Literal, get_args

from infra.kit.problems import InvalidInput

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


def checked(text: str, *, field: str = "language") -> Language:
    """One of `LANGUAGES`; raises `InvalidInput`."""
    for language in LANGUAGES:
        if text == language:
            return language
    raise InvalidInput(f"`{field}` is {' or '.join(LANGUAGES)}.", field=field)
