"""Phones behind the SIP edge: Kamailio itself, from what `seatline edge-config` writes, in front of two nodes."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from switch import node_certificates
from switch.edge.documents import set_numbers
from switch.edge.files import PROGRAM
from switch.sip.carrier import Carrier
from switch.sip.dialog import Address
from switch.sip.errors import SipError
from switch.sip.phone import Phone
from tests.live.customers import Customer, LiveSeat, Office
from tests.live.processes import ProcessOfTest
from tests.live.system import LOOPBACK, NODES, LiveSystem, free_ports
from tests.live.test_drain import drains, serves
from tests.live.test_transports import trusting
from tests.live.waiting import until

IS_INSTALLED = all(shutil.which(each) for each in ("kamailio", PROGRAM)) and any(
    Path("/usr/lib").glob("*/kamailio/modules/tls.so")
)
pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason="Kamailio is not installed, or its module for TLS is not")

FORBIDDEN = 403
ANSWER_LIMIT_SECONDS = 10.0
READY_LIMIT_SECONDS = 15.0
MAP_LIMIT_SECONDS = 15.0
MOVE_LIMIT_SECONDS = 30.0
DIALLED = "13800138000"
REQUESTS_PER_SECOND = 200
INFORMATION = "2"
"""Of what weight an event is that Kamailio then logs too (its L_INFO)."""

DRAIN_FOR = timedelta(minutes=20)

Transport = Literal["udp", "tcp", "tls"]

_numbers = itertools.count(1)


@dataclass(slots=True)
class Edge:
    """A running Kamailio and what keeps its map true."""

    address: Address
    tls_address: Address
    authority: Path
    directory: Path
    kamailio: ProcessOfTest
    follower: ProcessOfTest

    async def knows(self, customer: Customer, *, served_by: str | None = None) -> None:
        """Wait until Kamailio's own table has the tenant (until then its domain is refused), at this node first."""
        wanted = customer.domain if served_by is None else f"value: {set_numbers(NODES)[served_by]},"

        async def is_known() -> bool:
            self.kamailio.check()
            self.follower.check()
            return wanted in await self._says("htable.get", "domains", customer.domain)

        await until(is_known, f"the edge knows {customer.domain}", limit_seconds=MAP_LIMIT_SECONDS)

    async def tells_more(self) -> None:
        """Have it log what it usually keeps to itself."""
        await self._says("corex.debug", INFORMATION)

    async def logs(self, event: str) -> None:
        """Wait until its log names an event."""

        async def is_told() -> bool:
            return event in self.kamailio.log.read_text()

        await until(is_told, f"the edge logs {event}", limit_seconds=ANSWER_LIMIT_SECONDS)

    async def _says(self, *command: str) -> str:
        """What Kamailio answers to a command."""
        asked = await asyncio.create_subprocess_exec(
            PROGRAM, "-s", f"unix:{self.directory}/control.sock", *command,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(asked.communicate(), ANSWER_LIMIT_SECONDS)
        return said.decode(errors="replace") if asked.returncode == 0 else ""

    def phone(self, seat: LiveSeat, transport: Transport = "udp", password: str | None = None) -> Phone:
        """A phone of this seat that knows nothing but the edge."""
        over_tls = transport == "tls"
        return seat.customer.office.keep(
            Phone(
                seat.extension,
                seat.customer.domain,
                server=self.tls_address if over_tls else self.address,
                password=password or seat.password,
                transport=transport,
                tls=trusting(self.authority) if over_tls else None,
            )
        )


@pytest.fixture
async def edge(office: Office, system: LiveSystem) -> AsyncGenerator[Edge]:
    """An edge that runs for one test."""
    number = next(_numbers)
    name = f"edge-{number}"
    port, tls_port = free_ports(2)
    directory = system.directory / name
    shown = node_certificates.make_for_development(system.directory / f"{name}-tls", host=LOOPBACK)
    made = await office.operator.post("/v1/sip-edges", name=name, host=LOOPBACK, sip_port=port, sip_tls_port=tls_port)
    options = ("--requests-per-second", str(REQUESTS_PER_SECOND), "--tls-certificate", str(shown.certificate))
    await asyncio.to_thread(system.seatline, "edge-config", name, "--out", str(directory), *options)
    program = str(directory / "kamailio.cfg")
    command = ["kamailio", "-f", program, "-DD", "-E", "-m", "32", "-M", "4", "-w", str(directory)]
    log = system.directory / "logs"
    kamailio = ProcessOfTest("kamailio", command, dict(os.environ), log / f"{name}.log")
    follow = [sys.executable, "-m", "infra.app.cli", "edge-follow", str(directory), "--every", "1"]
    follower = ProcessOfTest("edge-follow", follow, system.environment, log / f"{name}-follow.log")
    edge = Edge((LOOPBACK, port), (LOOPBACK, tls_port), shown.authority, directory, kamailio, follower)
    try:
        kamailio.start()
        follower.start()
        await until(lambda: _listens(edge), "Kamailio listens", limit_seconds=READY_LIMIT_SECONDS)
        yield edge
    finally:
        await asyncio.to_thread(follower.stop)
        await asyncio.to_thread(kamailio.stop)
        await office.operator.delete(f"/v1/sip-edges/{made['edge_id']}")


async def _listens(edge: Edge) -> bool:
    edge.kamailio.check()
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(edge.address) == 0


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_seat_registers_and_calls_out_through_the_edge(
    office: Office, carrier: Carrier, edge: Edge, transport: Transport
) -> None:
    customer = await office.customer(seats=1)
    await edge.knows(customer)
    phone = edge.phone(customer.seats[0], transport)
    assert await phone.register() == 200
    call = await phone.call(DIALLED)
    assert call.status == 200
    arrived = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await call.hangup()
    assert await arrived.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    again = await phone.call(DIALLED)
    assert again.status == 200
    await (await carrier.next_call(ANSWER_LIMIT_SECONDS)).hangup()
    assert await again.wait_ended(ANSWER_LIMIT_SECONDS) == "them"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_seats_are_rung_through_the_edge_over_the_connection_that_they_opened(
    office: Office, edge: Edge, transport: Transport
) -> None:
    customer = await office.customer(seats=2)
    await edge.knows(customer)
    over_udp, over_stream = edge.phone(customer.seats[0]), edge.phone(customer.seats[1], transport)
    for phone in (over_udp, over_stream):
        assert await phone.register() == 200
    inside = await over_udp.call(customer.seats[1].extension)
    assert inside.status == 200
    arrived = await over_stream.next_call(ANSWER_LIMIT_SECONDS)
    await inside.hangup()
    assert await arrived.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    other_way = await over_stream.call(customer.seats[0].extension)
    assert other_way.status == 200
    answered = await over_udp.next_call(ANSWER_LIMIT_SECONDS)
    await answered.hangup()
    assert await other_way.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert {leg["direction"] for leg in await customer.legs(4)} == {"internal"}


async def test_the_edge_lets_nobody_through_that_a_node_would_refuse(office: Office, edge: Edge) -> None:
    customer = await office.customer(seats=1)
    await edge.knows(customer)
    assert await edge.phone(customer.seats[0], password="a guess").register() == FORBIDDEN
    nobody = office.keep(Phone("1001", "nobody.example.com", server=edge.address, password="x"))
    assert await nobody.register() == FORBIDDEN
    assert (await nobody.call("sip:1001@127.0.0.1:9")).status == FORBIDDEN
    registered = edge.phone(customer.seats[0])
    assert await registered.register() == 200
    await customer.suspend()
    assert await registered.register() == FORBIDDEN


async def test_nothing_is_relayed_to_strangers(office: Office, edge: Edge) -> None:
    """A request within a dialog that no node takes part in goes nowhere, whatever Route it names."""
    with _listening() as victim, _listening() as us:
        address = f"{LOOPBACK}:{us.getsockname()[1]}"
        target = f"sip:victim@{LOOPBACK}:{victim.getsockname()[1]}"
        us.sendto(
            (
                f"BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bKrelay\r\nMax-Forwards: 70\r\n"
                f"Route: <sip:{LOOPBACK}:{edge.address[1]};lr>\r\nFrom: <sip:a@b.example.com>;tag=1\r\n"
                "To: <sip:c@d.example.com>;tag=2\r\nCall-ID: relay\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
            ).encode(),
            edge.address,
        )
        assert us.recv(2048).startswith(b"SIP/2.0 403 ")
        with pytest.raises(TimeoutError):
            victim.recv(2048)


async def test_the_next_registration_after_a_nodes_death_lands_on_the_spare_and_then_calls_go_through(
    office: Office, carrier: Carrier, edge: Edge
) -> None:
    customer = await office.customer(seats=1)
    await edge.knows(customer)
    phone = edge.phone(customer.seats[0])
    assert await phone.register() == 200
    home = office.system.nodes[await customer.serving_node()]
    home.process.kill()
    died = time.monotonic()
    try:

        async def is_accepted() -> bool:
            try:
                return await phone.register(timeout_seconds=ANSWER_LIMIT_SECONDS) == 200
            except SipError:
                return False

        await until(is_accepted, "the spare accepts the phone", limit_seconds=MOVE_LIMIT_SECONDS)
        assert time.monotonic() - died < MOVE_LIMIT_SECONDS
        assert await customer.serving_node() != home.name
        call = await phone.call(DIALLED)
        assert call.status == 200
        await call.hangup()
    finally:
        home.process.start()
        await asyncio.to_thread(office.system.wait_node, home.name, "active")


@pytest.mark.parametrize("transport", ["udp", "tls"])
async def test_a_phone_is_not_turned_away_while_the_edge_does_not_know_yet_that_its_tenant_has_moved(
    office: Office, edge: Edge, transport: Transport
) -> None:
    customer = await office.customer(seats=1)
    await edge.knows(customer)
    phone = edge.phone(customer.seats[0], transport)
    assert await phone.register() == 200
    async with drains(office, customer) as drain:
        await drain.begin(DRAIN_FOR)
        await serves(customer, lambda name: name != drain.node.name)
        await edge.knows(customer, served_by=await customer.serving_node())
        assert await phone.register() == 200
        await edge.tells_more()
        edge.follower.pause()
        try:
            await drain.cancel()
            await serves(customer, lambda name: name == drain.node.name)
            registering = asyncio.create_task(phone.register())
            await edge.logs("edge.refusal_held")
            assert not registering.done()
        finally:
            edge.follower.go_on()
        assert await registering == 200
        await edge.logs("edge.moved_meanwhile")


async def test_an_address_that_asks_too_often_is_not_answered(edge: Edge) -> None:
    """Nodes are exempt; everybody else is slowed down by silence."""
    count = REQUESTS_PER_SECOND * 2 * 3
    with _listening() as us:
        for number in range(count):
            us.sendto(_options(us.getsockname()[1], number, edge.address), edge.address)
        answered = 0
        with pytest.raises(TimeoutError):
            while True:
                us.recv(2048)
                answered += 1
    assert 0 < answered < count


def _listening() -> socket.socket:
    """A socket for datagrams that waits a second at most."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((LOOPBACK, 0))
    made.settimeout(1.0)
    return made


def _options(port: int, number: int, edge: Address) -> bytes:
    return (
        f"OPTIONS sip:{edge[0]}:{edge[1]} SIP/2.0\r\nVia: SIP/2.0/UDP {LOOPBACK}:{port};branch=z9hG4bK{number}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:a@b.example.com>;tag={number}\r\nTo: <sip:edge@b.example.com>\r\n"
        f"Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()
