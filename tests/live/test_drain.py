"""A node is drained: new calls go elsewhere, running ones end by themselves or at the deadline, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Any

import pytest

from infra.kit import clock
from switch.sip.carrier import Carrier
from switch.sip.dialog import Address
from tests.live.customers import Customer, Office
from tests.live.system import LOOPBACK, LiveNode
from tests.live.waiting import until

DIALLED = "13800138000"
EMERGENCY = "110"
ELSEWHERE = 6_099
OK = 200
BUSY = 503
ANSWER_LIMIT_SECONDS = 10.0
STEP_LIMIT_SECONDS = 40.0
CALL_LIMIT_SECONDS = 20.0
LONG = timedelta(minutes=20)

pytestmark = pytest.mark.usefixtures("carrier")


class Draining:
    """A node being drained, as the operator sees it."""

    def __init__(self, office: Office, node: LiveNode, node_id: str) -> None:
        self.office = office
        self.node = node
        self.node_id = node_id

    async def begin(self, deadline_in: timedelta) -> None:
        """Ask for the drain."""
        deadline = (clock.now() + deadline_in).isoformat()
        answer = await self.office.operator.post(f"/v1/nodes/{self.node.name}/drain", deadline=deadline)
        assert (answer["state"], answer["drain"]["phase"]) == ("draining", "moving")

    async def cancel(self) -> None:
        """Take it back and wait until the node is in service."""
        await self.office.operator.post(f"/v1/nodes/{self.node.name}/cancel-drain")
        await self.becomes("cancelled", state="active")

    async def shown(self) -> dict[str, Any]:
        """The node as the API shows it."""
        return await self.office.operator.get(f"/v1/nodes/{self.node_id}")

    async def becomes(self, phase: str, *, state: str = "draining") -> dict[str, Any]:
        """Wait for a phase and return the drain."""

        async def look() -> dict[str, Any] | None:
            node = await self.shown()
            return node["drain"] if (node["drain"]["phase"], node["state"]) == (phase, state) else None

        return await until(look, f"{self.node.name} is {phase}", limit_seconds=STEP_LIMIT_SECONDS)


@contextlib.asynccontextmanager
async def drains(office: Office, customer: Customer) -> AsyncGenerator[Draining]:
    """The node that serves a customer, given back to service at the end."""
    node = office.system.nodes[await customer.serving_node()]
    listed = await office.operator.items("/v1/nodes")
    drain = Draining(office, node, next(each["node_id"] for each in listed if each["name"] == node.name))
    try:
        yield drain
    finally:
        now = await drain.shown()
        if now["drain"] is not None and now["drain"]["phase"] != "cancelled":
            await drain.cancel()


async def answer_to_options(server: Address) -> int:
    """The status with which a profile answers an OPTIONS."""

    def ask() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind((LOOPBACK, 0))
            phone.settimeout(ANSWER_LIMIT_SECONDS)
            host, port = phone.getsockname()
            lines = (
                f"OPTIONS sip:{server[0]}:{server[1]} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{port}a",
                f"From: <sip:edge@{host}:{port}>;tag={port}",
                f"To: <sip:{server[0]}:{server[1]}>",
                f"Call-ID: {port}-options",
                "CSeq: 1 OPTIONS",
                f"Contact: <sip:edge@{host}:{port}>",
                "Max-Forwards: 70",
                "Content-Length: 0",
            )
            phone.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), server)
            return int(phone.recv(65_535).split(b" ")[1])

    return await asyncio.to_thread(ask)


async def serves(customer: Customer, wanted: Callable[[str], bool]) -> None:
    """Wait until the customer is served by such a node."""

    async def look() -> bool:
        return wanted(await customer.serving_node())

    await until(look, f"{customer.domain} has moved", limit_seconds=STEP_LIMIT_SECONDS)


async def test_a_drain_lets_calls_end_until_the_deadline_and_ends_the_rest(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=2)
    first, second = [await seat.registered() for seat in customer.seats]
    short, long = await first.call(DIALLED), await second.call(DIALLED)
    assert (short.status, long.status) == (OK, OK)
    async with drains(office, customer) as drain:
        node = drain.node
        await drain.begin(timedelta(seconds=12))
        await drain.becomes("waiting")
        assert await first.register() == BUSY
        assert (await first.call(DIALLED)).status == BUSY
        into = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
        assert into.status == BUSY
        assert [await answer_to_options(each) for each in (node.sip, node.external_sip)] == [BUSY, BUSY]
        assert await customer.serving_node() != node.name
        elsewhere = await customer.seats[0].registered()
        again = await elsewhere.call(DIALLED)
        assert again.status == OK

        await short.hangup()
        assert long.is_live
        assert await long.wait_ended(CALL_LIMIT_SECONDS) == "them"
        ended = await drain.becomes("drained", state="drained")
        assert (ended["legs_left"], ended["records_awaited"], ended["tenants_left"]) == (0, 0, 0)
        assert ended["legs_ended"] >= 1
        assert again.is_live
        await again.hangup()
        assert await answer_to_options(node.sip) == BUSY
    legs = [leg for leg in await customer.legs(6) if leg["leg"] == "gateway"]
    assert sorted(leg["hangup_cause"] for leg in legs) == ["NORMAL_CLEARING", "NORMAL_CLEARING", "SYSTEM_SHUTDOWN"]
    assert await answer_to_options(node.sip) == OK


async def test_a_cancelled_drain_returns_everything_and_cuts_nothing(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call(DIALLED)
    async with drains(office, customer) as drain:
        await drain.begin(LONG)
        await drain.becomes("waiting")
        assert await phone.register() == BUSY
        await drain.cancel()
        await serves(customer, lambda name: name == drain.node.name)
        assert call.is_live
        assert await phone.register() == OK
        assert await answer_to_options(drain.node.sip) == OK
        second = await phone.call(EMERGENCY)
        assert second.status == OK
        await second.hangup()
        await call.hangup()


async def test_a_drained_node_that_is_started_again_stays_out_of_service(office: Office) -> None:
    customer = await office.customer(seats=1)
    async with drains(office, customer) as drain:
        await drain.begin(LONG)
        await drain.becomes("drained", state="drained")
        await asyncio.to_thread(drain.node.process.stop)
        drain.node.process.start()

        async def is_busy() -> bool:
            try:
                return await answer_to_options(drain.node.sip) == BUSY
            except OSError:
                return False

        await until(is_busy, "the node is paused again", limit_seconds=STEP_LIMIT_SECONDS)
        assert (await drain.shown())["state"] == "drained"
        await drain.cancel()
        assert await answer_to_options(drain.node.sip) == OK


async def test_another_supervisor_carries_a_drain_on(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call(DIALLED)
    async with drains(office, customer) as drain:
        await drain.begin(LONG)
        await drain.becomes("waiting")
        office.system.switchd.kill()
        office.system.switchd.start()
        await call.hangup()
        ended = await drain.becomes("drained", state="drained")
        assert (ended["legs_ended"], ended["records_awaited"]) == (0, 0)


async def test_a_node_whose_row_names_another_port_is_not_given_back_before_they_agree(office: Office) -> None:
    customer = await office.customer(seats=1)
    operator = office.operator
    async with drains(office, customer) as drain:
        name, (host, port) = drain.node.name, drain.node.sip
        await drain.begin(LONG)
        await drain.becomes("drained", state="drained")
        await operator.put(f"/v1/nodes/{name}", sip_port=ELSEWHERE)
        try:
            await operator.post(f"/v1/nodes/{name}/cancel-drain")

            async def problem() -> str | None:
                return (await drain.becomes("cancelling"))["problem"]

            told = await until(problem, f"{name} is not given back", limit_seconds=STEP_LIMIT_SECONDS)
            assert f"its profile internal listens at {host}:{port}, but its row says {host}:{ELSEWHERE}" in told
            assert await answer_to_options(drain.node.sip) == BUSY
        finally:
            await operator.put(f"/v1/nodes/{name}", sip_port=port)
        await drain.becomes("cancelled", state="active")
        assert await answer_to_options(drain.node.sip) == OK
