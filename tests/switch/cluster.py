"""Nodes for the tests of what the product tells nodes: rows of the table, and simulated nodes behind them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict, Unpack

from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from switch import nodes
from switch.models import Node
from switch.nodes import NodeDetails
from switch.simulator.node import SimulatedNode
from tenancy import tenants
from tenancy.models import Tenant
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD, Office, write_configuration

_numbers = itertools.count(1)
CLOSED_PORT = 9
"""Of the discard service: nobody listens there."""


async def eventually(condition: Callable[[], Awaitable[bool]], *, limit_seconds: float = 10) -> None:
    """Wait until something becomes true; fails when it does not within the limit."""
    async with asyncio.timeout(limit_seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in the database or on a wire
            await asyncio.sleep(0.02)


class Ports(TypedDict, total=False):
    """Where a node listens."""

    esl_port: int
    sip_port: int
    external_sip_port: int


def ports_of(simulated: SimulatedNode) -> Ports:
    """Where a running node listens, for its row."""
    return {
        "esl_port": simulated.event_socket_address[1],
        "sip_port": simulated.sip_address()[1],
        "external_sip_port": simulated.sip_address("external")[1],
    }


def details(name: str, *, esl_port: int = 0, sip_port: int = 0, external_sip_port: int = 0) -> NodeDetails:
    """A node on loopback; ports that are not given are its own."""
    base = 20_000 + 10 * next(_numbers)
    return NodeDetails(
        name=name,
        sip_host="127.0.0.1",
        sip_port=sip_port or base,
        external_sip_port=external_sip_port or base + 1,
        rtp_start_port=30_000,
        rtp_end_port=31_000,
        esl_host="127.0.0.1",
        esl_port=esl_port or base + 2,
    )


async def add_tenant(database: Database, *, domain: str = DOMAIN) -> Tenant:
    """A new active tenant with this SIP domain."""
    async with database.transaction(Scope.platform()) as session:
        return await tenants.create_tenant(session, name="tenant", sip_domain=domain)


async def add_node(database: Database, seal: Seal, name: str, *, state: str = "active", **ports: Unpack[Ports]) -> Node:
    """A node's row whose event-socket password is that of the simulated nodes; `ports` as in `details`."""
    async with database.transaction(Scope.platform()) as session:
        node = await nodes.create_node(session, seal, details(name, **ports))
        node.sealed_esl_password = seal.close(ESL_PASSWORD)
        node.state = state
        return node


async def read_node(database: Database, name: str) -> Node:
    """A node's row as it is now."""
    async with database.transaction(Scope.platform()) as session:
        return await nodes.get_by_name(session, name)


@asynccontextmanager
async def simulated_node(directory: Path, office: Office) -> AsyncGenerator[SimulatedNode]:
    """A simulated node that runs, on ports the system chose."""
    write_configuration(directory, office=office.url, carrier="127.0.0.1:9")
    node = SimulatedNode.from_configuration(directory)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


@asynccontextmanager
async def opened_office() -> AsyncGenerator[Office]:
    """The HTTP office that simulated nodes ask."""
    office = Office()
    await office.open()
    try:
        yield office
    finally:
        await office.close()
