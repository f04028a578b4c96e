"""The unified social credit code of a company: 18 characters, the last a check digit (GB 32100-2015; clause C19)."""

from __future__ import annotations

import re

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The 31 characters of a code; I, O, S, V and Z are left out, since they look like digits or each other."""

_FORM = re.compile(rf"[1-9A-HJ-NPQRTUWXY][1-9A-HJ-NPQRTUWXY]\d{{6}}[{ALPHABET}]{{10}}", re.ASCII)
"""Registering authority, kind of body, six digits of the place, nine of the organisation, the check digit."""

_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))


def check_character(body: str) -> str:
    """The 18th character that belongs to the first 17: their weighted sum completed to a multiple of 31."""
    weighted = sum(ALPHABET.index(character) * weight for character, weight in zip(body, _WEIGHTS, strict=True))
    return ALPHABET[-weighted % 31]


def problem_with(code: str) -> str | None:
    """What is wrong with a code in capital letters, in a few words; None where it is right."""
    if len(code) != 18:
        return f"it has {len(code)} characters instead of 18"
    strange = sorted({character for character in code if character not in ALPHABET})
    if strange:
        return f"it has {', '.join(strange)}, which no credit code has"
    if _FORM.fullmatch(code) is None:
        return "its characters 3 to 8 are not the six digits of a place"
    expected = check_character(code[:17])
    return None if code[17] == expected else f"its check digit is {code[17]} where {expected} belongs"
