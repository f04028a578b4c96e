"""The simulated node boots from what the product writes for a real one, also while the API is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest

from switch.esl.client import EslConnection
from switch.node_configuration import Gateway, NodeConfiguration, write_node_configuration
from switch.simulator.node import SimulatedNode
from switch.sip.carrier import Carrier
from switch.sip.phone import Phone
from tests.ports import free_ports
from tests.switch.simulator.conftest import TIMERS
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD, SECRET


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[SimulatedNode]:
    """A node of the product's own configuration, whose API does not listen."""
    api_port, esl_port, sip_port, external_sip_port = free_ports(4)
    configuration = NodeConfiguration(
        name="node-a",
        api_url=f"http://127.0.0.1:{api_port}",
        node_secret=SECRET,
        esl_host="127.0.0.1",
        esl_port=esl_port,
        esl_password=ESL_PASSWORD,
        sip_ip="127.0.0.1",
        sip_port=sip_port,
        external_sip_port=external_sip_port,
        rtp_start_port=20_000,
        rtp_end_port=20_998,
        spool_directory=tmp_path / "spool",
        gateways=(Gateway("carrier", "127.0.0.1", 5090),),
        record_retries=0,
    )
    write_node_configuration(configuration, tmp_path / "node")
    node = SimulatedNode.from_configuration(tmp_path / "node", timers=TIMERS)
    await node.start()
    yield node
    await node.stop()


async def test_it_answers_on_its_event_socket_under_its_own_name(node: SimulatedNode) -> None:
    connection = await EslConnection.open(*node.event_socket_address, ESL_PASSWORD)
    assert await connection.api("switchname") == "node-a"
    assert "external::carrier" in await connection.api("sofia status")
    await connection.close()


async def test_nobody_gets_in_while_the_api_is_away(node: SimulatedNode) -> None:
    phone = Phone("1001", DOMAIN, server=node.sip_address(), password=SECRET, timers=TIMERS)
    assert await phone.register() == 403
    assert (await phone.call("110")).status == 403
    phone.vanish()


async def test_a_call_without_a_dialplan_is_refused_and_its_record_is_kept(node: SimulatedNode, tmp_path: Path) -> None:
    carrier = Carrier("127.0.0.1", timers=TIMERS)
    call = await carrier.call("1001", switch=node.sip_address("external"), caller_number="13900139000")
    assert call.status == 503  # for the moment: a carrier may try another way in
    assert await node.core.wait_empty(5)
    assert len(list((tmp_path / "spool" / "failed").glob("*.cdr.json"))) == 1
    assert len(list((tmp_path / "spool" / "all").glob("*.cdr.json"))) == 1
    carrier.vanish()


async def test_registering_is_not_possible_on_the_carriers_side(node: SimulatedNode) -> None:
    phone = Phone("1001", DOMAIN, server=node.sip_address("external"), password=SECRET, timers=TIMERS)
    assert await phone.register() == 403
    phone.vanish()


@pytest.mark.parametrize(
    "garbage", [b"\n\n\n\n", b"\xff\xfe\n\n", b"auth\n\n", b"x" * 200_000, b"auth x\nContent-Length: 99999999\n\n"]
)
async def test_a_hostile_client_hurts_nobody(node: SimulatedNode, garbage: bytes) -> None:
    reader, writer = await asyncio.open_connection(*node.event_socket_address)
    writer.write(garbage)
    writer.write_eof()
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):
            await reader.read()
    writer.close()
    connection = await EslConnection.open(*node.event_socket_address, ESL_PASSWORD)
    assert await connection.api("show calls count") == "\n0 total.\n"
    await connection.close()
