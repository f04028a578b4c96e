"""A node behind a network that translates its address one to one: it binds one, and everybody is told the other."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from switch.esl.client import EslConnection
from switch.sip.phone import Phone
from tests.live.customers import Office
from tests.live.system import LOOPBACK

BOUND = "127.0.0.2"
FORBIDDEN = 403


@pytest.mark.real_switch
async def test_a_node_binds_its_own_address_and_names_the_one_by_which_it_is_reached(office: Office) -> None:
    customer = await office.customer(seats=1)
    seat = customer.seats[0]
    node = office.system.nodes[await customer.serving_node()]
    shown = next(item for item in await office.operator.items("/v1/nodes") if item["name"] == node.name)
    await asyncio.to_thread(node.process.stop)
    await asyncio.to_thread(office.system.configure, node.name, node.directory, "--listen", BOUND)
    node.process.start()
    try:
        await asyncio.to_thread(office.system.wait_node, node.name, "active")
        stranger = office.keep(Phone("1001", "nobody.example.com", server=(BOUND, node.sip[1]), password="a guess"))
        assert await stranger.register() == FORBIDDEN, "it answers where it listens"
        status = await _profile(node.directory, shown["esl_port"])
        assert re.search(rf"^Ext-SIP-IP\s+{LOOPBACK}$", status, re.MULTILINE), status
        assert re.search(rf"^Ext-RTP-IP\s+{LOOPBACK}$", status, re.MULTILINE), status
        assert re.search(rf"^RTP-IP\s+{BOUND}$", status, re.MULTILINE), status
        told = (await office.operator.get(f"/v1/seats/{seat.seat_id}"))["sip"]["servers"]
        assert {server["host"] for server in told} == {LOOPBACK}
    finally:
        await asyncio.to_thread(node.process.stop)
        await asyncio.to_thread(office.system.configure, node.name, node.directory, "--listen", LOOPBACK)
        node.process.start()
        await asyncio.to_thread(office.system.wait_node, node.name, "active")


async def _profile(directory: Path, port: int) -> str:
    settings = (directory / "autoload_configs" / "event_socket.conf.xml").read_text()
    found = re.search(r'name="password" value="([^"]+)"', settings)
    assert found is not None
    async with await EslConnection.open(LOOPBACK, port, found[1]) as connection:
        return await connection.api("sofia status profile internal")
