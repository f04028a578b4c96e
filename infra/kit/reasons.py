"""The reason that a person gives for a decision: always there, short enough to be read in a list."""

from __future__ import annotations

from infra.kit.problems import InvalidInput

LIMIT_CHARACTERS = 200


def given(reason: str, *, limit_characters: int = LIMIT_CHARACTERS, field: str = "reason") -> str:
    """The reason without spaces around it. Raises `InvalidInput` for none and for one that is too long."""
    text = reason.strip()
    if not text or len(text) > limit_characters:
        raise InvalidInput(f"Say why, in 1 to {limit_characters} characters.", field=field)
    return text
