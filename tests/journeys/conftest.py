"""Every journey begins on the first morning of an installation."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from billing.cards.stand_in.server import StandIn
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.card_world import paid_online, standing_in
from tests.journeys.furnishing import furnished
from tests.journeys.house import House
from tests.switch.esl.scripted_node import ScriptedNode
from tests.world import World


@pytest.fixture
async def stand_in() -> AsyncGenerator[StandIn]:
    """A stand-in for Stripe that listens."""
    async with standing_in() as found:
        yield found


@pytest.fixture
def settings(settings: Settings, stand_in: StandIn) -> Settings:
    """An installation whose Stripe is the stand-in."""
    return paid_online(settings, stand_in)


@pytest.fixture
async def world(api: Api) -> World:
    """Two nodes, a carrier, an operator and finance; it is 09:00 on 11 May 2026, a Monday."""
    return await World.open(api)


@pytest.fixture
async def event_socket() -> AsyncGenerator[ScriptedNode]:
    """The event socket of a node that does whatever it is told."""
    async with ScriptedNode() as node:
        yield node


@pytest.fixture
async def house(world: World, stand_in: StandIn, event_socket: ScriptedNode) -> House:
    """Two tenants side by side, one of which has one of everything."""
    return await furnished(world, stand_in, event_socket)
