"""Requests of maintenance as the cluster keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from infra.kit.database import Scope
from provisioning.outages.models import WindowNode
from provisioning.rules.turns import Place
from tests.journeys.house import Example, House


async def _finish_window_node(house: House) -> Example:
    """A node that is out for the window, as the conductor would have left it."""
    window_id = house.ids["window_id"]
    async with house.world.api.database.transaction(Scope.platform()) as session:
        await session.merge(
            WindowNode(window_id=window_id, node="node-2", place=1, state=Place.OUT.value, is_done=False)
        )
    return Example(house.world.operator, f"/v1/maintenance-windows/{window_id}/nodes/node-2/done")


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "FinishWindowNode": _finish_window_node,
}
"""By operation id."""
