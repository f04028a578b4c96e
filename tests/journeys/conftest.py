"""Every journey begins on the first morning of an installation."""

from __future__ import annotations

import pytest

from tests.api import Api
from tests.world import World


@pytest.fixture
async def world(api: Api) -> World:
    """Two nodes, a carrier, an operator and finance; it is 09:00 on 11 May 2026, a Monday."""
    return await World.open(api)
