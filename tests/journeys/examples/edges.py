"""Requests about SIP edges."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from tests.journeys.house import Example, House

_numbers = itertools.count(1)


def edge_body() -> dict[str, str]:
    """An edge that no other test has named."""
    return {"name": f"edge-{next(_numbers)}", "host": "sip.example.net"}


async def _create_sip_edge(house: House) -> Example:
    return Example(house.world.operator, "/v1/sip-edges", edge_body())


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {"CreateSipEdge": _create_sip_edge}
"""By operation id."""
