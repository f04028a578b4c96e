"""A running simulated node with its office, its carrier and phones, all over real sockets on loopback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switch.simulator.node import SimulatedNode
from switch.sip.carrier import Carrier
from switch.sip.phone import Phone
from switch.sip.policy import Policy, answers
from switch.sip.transactions import Timers
from tests.switch.simulator.office import DOMAIN, PASSWORD, Office, write_configuration

TIMERS = Timers()


@dataclass
class World:
    """Everything a test needs; phones made here are closed with it."""

    office: Office
    carrier: Carrier
    node: SimulatedNode
    phones: list[Phone] = field(default_factory=list[Phone])

    def phone(self, user: str, *, password: str = PASSWORD, policy: Policy | None = None) -> Phone:
        """A phone of the tenant's domain that talks to the node."""
        phone = Phone(
            user,
            DOMAIN,
            server=self.node.sip_address("internal"),
            password=password,
            policy=policy or answers(),
            timers=TIMERS,
        )
        self.phones.append(phone)
        return phone

    async def registered(self, user: str, *, policy: Policy | None = None) -> Phone:
        """A phone whose user exists and that has registered."""
        if user not in self.office.users:
            self.office.add_user(user)
        phone = self.phone(user, policy=policy)
        assert await phone.register() == 200
        return phone


@pytest.fixture
async def office() -> AsyncGenerator[Office]:
    """The HTTP office."""
    office = Office()
    await office.open()
    yield office
    await office.close()


@pytest.fixture
async def world(office: Office, tmp_path: Path) -> AsyncGenerator[World]:
    """A node that runs."""
    carrier = Carrier("127.0.0.1", policy=answers(), timers=TIMERS)
    await carrier.start()
    host, port = carrier.address
    write_configuration(tmp_path / "node", office=office.url, carrier=f"{host}:{port}")
    node = SimulatedNode.from_configuration(tmp_path / "node", timers=TIMERS)
    await node.start()
    world = World(office, carrier, node)
    yield world
    for phone in world.phones:
        phone.vanish()
    carrier.vanish()
    await node.stop()
