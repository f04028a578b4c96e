"""The provisioning tests' world: one big node and a spare, on a Monday."""

from __future__ import annotations

import pytest

from tests.api import Api
from tests.provisioning.world import TODAY, World, travel


@pytest.fixture
async def world(api: Api) -> World:
    """Two nodes with room for 2,000 seats together."""
    travel(TODAY)
    world = World(api, await api.client("platform_operator"))
    await world.node("alpha")
    await world.node("beta")
    return world
