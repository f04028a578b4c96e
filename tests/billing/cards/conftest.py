"""Every test here has a stand-in for Stripe and an application that it tells what happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from billing.cards.stand_in.server import StandIn
from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.card_world import CardWorld, paid_online, standing_in, webhook_served
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
async def stand_in() -> AsyncGenerator[StandIn]:
    """A stand-in that listens."""
    async with standing_in() as found:
        yield found


@pytest.fixture
def settings(settings: Settings, stand_in: StandIn) -> Settings:
    """An installation whose Stripe is the stand-in."""
    return paid_online(settings, stand_in)


@pytest.fixture
async def world(settings: Settings, database: Database, api: Api, stand_in: StandIn) -> AsyncGenerator[CardWorld]:
    """A tenant to come; at the end the ledger and the documents tell the same."""
    async with webhook_served(settings, database, stand_in):
        world = CardWorld(LeaseWorld(database, settings), api, stand_in)
        yield world
        if world.lease.tenant_id:
            await world.check()
