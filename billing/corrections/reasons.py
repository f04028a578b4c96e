"""The reason that finance gives for a correction: always there, short enough for a line of an invoice."""

from __future__ import annotations

from infra.kit.problems import InvalidInput

LIMIT_CHARACTERS = 200


def checked(reason: str) -> str:
    """The reason without spaces around it. Raises `InvalidInput` for none and for one that is too long."""
    text = reason.strip()
    if not text or len(text) > LIMIT_CHARACTERS:
        raise InvalidInput(f"Say why, in 1 to {LIMIT_CHARACTERS} characters.", field="reason")
    return text
