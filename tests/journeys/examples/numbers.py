"""Requests about the operator's pool of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from tests.journeys.house import Example, House

_numbers = itertools.count(1)


async def _import_numbers(house: House) -> Example:
    content = f"number\n+8621{62000000 + next(_numbers)}\n".encode()
    headers = {"content-type": "text/csv"}
    return Example(house.world.operator, "/v1/number-pool/imports", content=content, headers=headers)


async def _end_number_quarantine(house: House) -> Example:
    """Of a number that a tenant has given back."""
    number = f"+8621{63000000 + next(_numbers)}"
    await house.world.operator.does("/v1/phone-numbers", {"tenant_id": house.theirs.tenant_id, "number": number})
    await house.world.operator.send("DELETE", f"/v1/phone-numbers/{number}")
    return Example(house.world.operator, f"/v1/number-pool/{number}/end-quarantine")


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "EndNumberQuarantine": _end_number_quarantine,
    "ImportNumbers": _import_numbers,
}
"""By operation id."""
