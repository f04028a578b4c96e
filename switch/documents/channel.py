"""Values that FreeSWITCH interprets again after the XML is read.

The argument of an application is expanded (`${...}` may even run commands) and a dial string has operators
(`{} [] < > , | ^ ;`), so escaping for XML is not enough: such values consist of harmless characters or are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_VALUE_CHARACTERS = 255

_HARMLESS = re.compile(r"[A-Za-z0-9_.@+*#\-]*", re.ASCII)


class NotHarmless(ValueError):
    """A value cannot stand in a dial string or an application's argument; the message names it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the value of {name!r} must consist of at most {MAX_VALUE_CHARACTERS} of A-Z a-z 0-9 _ . @ + * # - "
            "to stand in a dial string; check where it comes from"
        )


def harmless(name: str, value: str) -> str:
    """`value` itself when FreeSWITCH cannot read anything into it; raises `NotHarmless` otherwise."""
    if len(value) > MAX_VALUE_CHARACTERS or _HARMLESS.fullmatch(value) is None:
        raise NotHarmless(name)
    return value


def only_harmless(value: str) -> str:
    """What is left of a text from outside (a caller number) without the characters that mean something."""
    return "".join(character for character in value if _HARMLESS.fullmatch(character))[:MAX_VALUE_CHARACTERS]


def leg_variables(variables: Mapping[str, str], brackets: str = "{}") -> str:
    """`{name=value,...}` before a dial string: variables of the legs it makes (`[]`: of one leg of several)."""
    inner = ",".join(f"{name}={harmless(name, value)}" for name, value in variables.items() if value)
    return f"{brackets[0]}{inner}{brackets[1]}" if inner else ""
