"""Prefixed, time-ordered identifiers such as `seat_01k9zq6m2v8d3c4b5a6f7g8h9j`."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from infra.kit import clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARACTERS = 10
_RANDOM_CHARACTERS = 16
BODY_CHARACTERS = _TIME_CHARACTERS + _RANDOM_CHARACTERS


def _encode(number: int, characters: int) -> str:
    digits: list[str] = []
    for _ in range(characters):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def new_id(prefix: str) -> str:
    """A new identifier: the prefix, the millisecond in Crockford base 32, then 80 random bits (the ULID form)."""
    milliseconds = int(clock.now().timestamp() * 1000)
    return (
        f"{prefix}_{_encode(milliseconds, _TIME_CHARACTERS)}"
        f"{_encode(secrets.randbits(5 * _RANDOM_CHARACTERS), _RANDOM_CHARACTERS)}"
    )


def made_at(identifier: str) -> datetime | None:
    """The millisecond at which an identifier was made, UTC; None for what is none."""
    head, _, body = identifier.partition("_")
    if not is_id(head, identifier):
        return None
    milliseconds = 0
    for character in body[:_TIME_CHARACTERS]:
        milliseconds = milliseconds * 32 + _ALPHABET.index(character)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError):
        return None


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` has the form of an identifier with this prefix."""
    head, separator, body = text.partition("_")
    return (
        head == prefix
        and separator == "_"
        and len(body) == BODY_CHARACTERS
        and all(character in _ALPHABET for character in body)
    )
