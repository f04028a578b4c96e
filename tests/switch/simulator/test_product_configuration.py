"""The simulated node boots from what the product writes for a real one, also while the API is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from infra.kit import clock
from infra.kit.ids import new_id
from switch import cdr_parsing
from switch.esl.client import EslConnection
from switch.node_configuration import Gateway, NodeConfiguration, write_node_configuration
from switch.routing import EMERGENCY_CONTEXT
from switch.simulator.node import SimulatedNode
from switch.sip.carrier import Carrier
from switch.sip.phone import Phone
from tests.ports import free_ports
from tests.switch.cluster import opened_office
from tests.switch.simulator.conftest import TIMERS
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD, NODE, PASSWORD, SECRET


@asynccontextmanager
async def started(tmp_path: Path, *, api_url: str) -> AsyncGenerator[SimulatedNode]:
    """A node of the product's own configuration."""
    esl_port, sip_port, external_sip_port = free_ports(3)
    configuration = NodeConfiguration(
        name=NODE,
        api_url=api_url,
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
    try:
        yield node
    finally:
        await node.stop()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncGenerator[SimulatedNode]:
    """A node whose API does not listen."""
    (api_port,) = free_ports(1)
    async with started(tmp_path, api_url=f"http://127.0.0.1:{api_port}") as node:
        yield node


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


async def test_what_may_only_call_for_help_hears_without_a_dialplan_that_it_may_come_again_and_the_record_says_why(
    tmp_path: Path,
) -> None:
    """A seat of a suspended tenant whose sign-in was answered still, and whose call was not."""
    async with opened_office() as office:
        office.add_user("1001", user_context=EMERGENCY_CONTEXT, seatline_tenant=new_id("ten"))
        async with started(tmp_path, api_url=office.url) as node:
            phone = Phone("1001", DOMAIN, server=node.sip_address(), password=PASSWORD, timers=TIMERS)
            assert (await phone.call("13800138000")).status == 503
            await office.wait_records(1)
            phone.vanish()
    (record,) = (tmp_path / "spool" / "all").glob("*.cdr.json")
    said = cdr_parsing.parse(record.read_bytes(), now=clock.now())
    assert (said.refusal, said.hangup_cause) == ("switch_away", "NORMAL_TEMPORARY_FAILURE")


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
