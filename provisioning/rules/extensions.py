"""Which extensions new seats are given: 1001, 1002, … in order, never one a second time within a tenant. Pure."""

from __future__ import annotations

from infra.kit.problems import Conflict
from switch.numbers import ShortCode, is_extension, normalise

FIRST = 1001
LAST = 999_999
"""Extensions have at most six digits (switch.numbers.is_extension)."""


class ExtensionsExhausted(Conflict):
    """The tenant has used up all extensions that there are."""

    code = "extensions_exhausted"


def next_extensions(last_used: int | None, count: int) -> list[str]:
    """`count` extensions above `last_used` (None: the tenant has had none), rising.

    Public short codes such as 10086 are passed over: whoever dials one means the public service. Raises
    `ExtensionsExhausted`.
    """
    chosen: list[str] = []
    number = FIRST if last_used is None else max(FIRST, last_used + 1)
    while len(chosen) < count:
        if number > LAST:
            raise ExtensionsExhausted(f"Only {len(chosen)} of {count} extensions are left for this tenant.")
        text = str(number)
        if is_extension(text) and not isinstance(normalise(text), ShortCode):
            chosen.append(text)
        number += 1
    return chosen
