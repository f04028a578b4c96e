"""Several gateways: which one a call goes by, who takes over, how much each carries, and changes while nodes run."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from switch.documents.dialplan import PROGRESS_SECONDS
from switch.sip.carrier import Carrier
from switch.sip.policy import answers, busy, no_answer, rejects
from switch.sip.sign_ins import SignIns
from tests.live.customers import Office
from tests.live.system import GATEWAY, LOOPBACK, free_ports
from tests.live.waiting import until

KNOWN_LIMIT_SECONDS = 15.0
STATE_LIMIT_SECONDS = 30.0
ANSWER_LIMIT_SECONDS = 10.0
QUICK_CHECK_SECONDS = 5
OTHER_LOOPBACK = "127.0.0.2"
"""An address that no other gateway of the suite calls from."""

DIALLED, DIALLED_E164 = "13700137000", "8613700137000"
PREFIX = "+8613700"
EMERGENCY = "119"
OUTSIDE = "13900139000"


@dataclass(frozen=True, slots=True)
class LiveGateway:
    """A gateway of one test, and the carrier behind it."""

    office: Office
    gateway_id: str
    carrier: Carrier

    @property
    def sign_ins(self) -> SignIns:
        """Who may sign in at the carrier, and who has."""
        return self.carrier.sign_ins

    async def change(self, **changes: Any) -> None:
        """Have the operator change it."""
        await self.office.operator.put(f"/v1/gateways/{self.gateway_id}", **changes)

    async def states(self) -> list[Mapping[str, Any]]:
        """How each node sees it."""
        return (await self.office.operator.get(f"/v1/gateways/{self.gateway_id}"))["nodes"]

    async def becomes(self, state: str, *, limit_seconds: float = STATE_LIMIT_SECONDS) -> None:
        """Wait until every node knows it as it is now and sees it in this state."""

        async def is_so() -> bool:
            seen = await self.states()
            return len(seen) == len(self.office.system.nodes) and all(
                each["state"] == state and each["is_current"] for each in seen
            )

        await until(is_so, f"the gateway {self.gateway_id} is {state}", limit_seconds=limit_seconds)


@asynccontextmanager
async def gateway(
    office: Office,
    name: str,
    host: str = LOOPBACK,
    *,
    accounts: Mapping[str, str] | None = None,
    begins: str = "up",
    **details: Any,
) -> AsyncGenerator[LiveGateway]:
    """A gateway made while the nodes run, with a carrier that answers; known to every node, gone with the test.

    `accounts`: who may sign in at the carrier. `begins`: what every node sees it as at first.
    """
    (port,) = free_ports(1)
    given = {"prefixes": [PREFIX], "check_seconds": None, **details}
    async with Carrier(host, port, policy=answers(), user_agent=name, accounts=accounts) as carrier:
        made = await office.operator.post("/v1/gateways", name=name, host=host, port=port, **given)
        try:
            found = LiveGateway(office, made["gateway_id"], carrier)
            await found.becomes(begins, limit_seconds=KNOWN_LIMIT_SECONDS)
            yield found
        finally:
            await office.operator.delete(f"/v1/gateways/{made['gateway_id']}")


async def test_a_congested_gateway_passes_the_call_on_and_only_the_answered_leg_is_charged(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with gateway(office, "first", priority=1) as first, gateway(office, "second", priority=2) as second:
        first.carrier.policy = rejects(503)
        second.carrier.policy = answers(hang_up_after_seconds=1.2)
        call = await phone.call(DIALLED)
        assert call.status == 200
        arrived = await second.carrier.next_call(ANSWER_LIMIT_SECONDS)
        assert arrived.request is not None
        assert customer.number.removeprefix("+") in arrived.request.header("From")
        await call.wait_ended(ANSWER_LIMIT_SECONDS)
        assert await customer.legs_by_gateway(3) == [
            ("first", "NORMAL_TEMPORARY_FAILURE", False),
            ("second", "NORMAL_CLEARING", True),
        ]
        (charge,) = await customer.charges(1)
        billed = next(leg for leg in await customer.legs(3) if leg["leg_id"] == charge["leg_id"])
        assert (billed["gateway"], billed["destination"]) == ("second", DIALLED_E164)


async def test_what_the_called_party_says_is_final(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with gateway(office, "first", priority=1) as first, gateway(office, "second", priority=2) as second:
        for policy, status in ((busy(), 486), (rejects(603), 603), (rejects(480), 480), (rejects(404), 404)):
            first.carrier.policy = policy
            assert (await phone.call(DIALLED)).status == status
        causes = ["USER_BUSY", "CALL_REJECTED", "NO_USER_RESPONSE", "UNALLOCATED_NUMBER"]
        assert await customer.legs_by_gateway(8) == [("first", cause, False) for cause in causes]
        assert second.carrier.calls == ()


async def test_an_emergency_call_goes_by_every_gateway_in_turn(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    carrier.policy = answers()
    async with gateway(office, "first", priority=1, capacity_calls=1) as first:
        running = await phone.call(DIALLED)
        assert running.status == 200
        first.carrier.policy = rejects(503)
        in_need = await phone.call(EMERGENCY)
        assert in_need.status == 200
        await in_need.hangup()
        await running.hangup()
        assert [each[:2] for each in await customer.legs_by_gateway(5)] == [
            ("first", "NORMAL_CLEARING"),
            ("first", "NORMAL_TEMPORARY_FAILURE"),  # although it is full and is not for this number
            (GATEWAY, "NORMAL_CLEARING"),
        ]


async def test_a_gateway_made_while_the_nodes_run_takes_calls_out_and_in(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    node = office.system.nodes[await customer.serving_node()]
    async with Carrier(OTHER_LOOPBACK) as stranger:
        refused = await stranger.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
        assert refused.status == 403
        async with gateway(office, "late", OTHER_LOOPBACK) as late:
            call = await phone.call(DIALLED)
            assert call.status == 200
            assert len(late.carrier.calls) == 1
            await call.hangup()
            inwards = await late.carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
            assert inwards.status == 200
            await inwards.hangup()
            came_in = next(leg for leg in await customer.legs(4) if leg["direction"] == "inbound")
            assert came_in["gateway"] == "late"

            await late.change(is_enabled=False)

            async def is_shut_out() -> bool:
                tried = await stranger.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
                return tried.status == 403

            await until(is_shut_out, "calls of a disabled gateway are refused", limit_seconds=KNOWN_LIMIT_SECONDS)


async def test_a_change_of_address_reaches_the_running_nodes(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with gateway(office, "moving") as moving, Carrier(LOOPBACK, policy=answers()) as elsewhere:
        await moving.change(port=elsewhere.address[1])
        await moving.becomes("up")
        call = await phone.call(DIALLED)
        assert call.status == 200
        assert (len(elsewhere.calls), moving.carrier.calls) == (1, ())
        await call.hangup()


async def test_a_full_gateway_is_passed_over_and_has_room_again_afterwards(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with (
        gateway(office, "small", priority=1, capacity_calls=1) as small,
        gateway(office, "big", priority=2) as big,
    ):
        first, second = await phone.call(DIALLED), await phone.call(DIALLED)
        assert (first.status, second.status) == (200, 200)
        assert (len(small.carrier.calls), len(big.carrier.calls)) == (1, 1)
        await first.hangup()
        await customer.legs(2)  # its records have come: the channel is gone
        small.carrier.policy = rejects(503)
        third = await phone.call(DIALLED)
        assert third.status == 200, "a refused attempt holds no place"
        small.carrier.policy = answers()
        fourth = await phone.call(DIALLED)
        assert (len(small.carrier.calls), len(big.carrier.calls)) == (1, 2)
        for call in (second, third, fourth):
            await call.hangup()


async def test_a_party_that_is_transferred_away_keeps_its_place_at_its_gateway(office: Office) -> None:
    customer = await office.customer(seats=2)
    phone, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    async with (
        gateway(office, "small", priority=1, capacity_calls=1) as small,
        gateway(office, "big", priority=2) as big,
    ):
        talk = await phone.call(DIALLED)
        assert talk.status == 200
        assert await talk.transfer(f"<sip:{customer.seats[1].extension}@{customer.domain}>") == 202
        taken = await colleague.next_call(ANSWER_LIMIT_SECONDS)
        await talk.wait_ended(ANSWER_LIMIT_SECONDS)
        second = await phone.call(DIALLED)
        assert (second.status, len(small.carrier.calls), len(big.carrier.calls)) == (200, 1, 1)
        await second.hangup()
        await taken.hangup()
        await customer.legs(5)  # its records have come: the channels are gone
        third = await phone.call(DIALLED)
        assert (third.status, len(small.carrier.calls), len(big.carrier.calls)) == (200, 1, 0), "and gives it back"
        await third.hangup()


async def test_when_every_gateway_is_full_the_record_says_so(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    carrier.policy = answers()
    base = next(each for each in await office.operator.items("/v1/gateways") if each["name"] == GATEWAY)
    path = f"/v1/gateways/{base['gateway_id']}"
    await office.operator.put(path, capacity_calls=1)
    try:
        running = await phone.call(DIALLED)
        assert running.status == 200
        assert (await phone.call(DIALLED)).status == 503
        in_need = await phone.call(EMERGENCY)
        assert in_need.status == 200
        await in_need.hangup()
        await running.hangup()
        assert await customer.refusals(1) == ["gateways_full"]
        await customer.charges(1)
    finally:
        await office.operator.put(path, capacity_calls=None)


async def test_a_dead_gateway_is_shown_down_and_passed_over_until_it_is_back(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with (
        gateway(office, "mortal", priority=1, check_seconds=QUICK_CHECK_SECONDS) as mortal,
        gateway(office, "alive", priority=2) as alive,
    ):
        port = mortal.carrier.address[1]
        await mortal.carrier.close()
        await mortal.becomes("down")
        call = await phone.call(DIALLED)
        assert call.status == 200
        assert len(alive.carrier.calls) == 1
        await call.hangup()
        assert await customer.legs_by_gateway(2) == [("alive", "NORMAL_CLEARING", True)]
        async with Carrier(LOOPBACK, port, policy=answers()) as back:
            await mortal.becomes("up")
            again = await phone.call(DIALLED)
            assert (again.status, len(back.calls)) == (200, 1)
            await again.hangup()


@pytest.mark.real_switch  # fifteen seconds of silence; the simulator's own tests have it with a shorter time
async def test_a_gateway_that_gives_no_sign_does_not_hold_a_call_up_for_long(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with gateway(office, "mute", priority=1) as mute, gateway(office, "second", priority=2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as swallowing:
            swallowing.bind((LOOPBACK, 0))
            await mute.change(port=swallowing.getsockname()[1])
            await mute.becomes("up")
            began = time.monotonic()
            call = await phone.call(DIALLED, answer_timeout_seconds=2 * PROGRESS_SECONDS)
            assert call.status == 200
            assert PROGRESS_SECONDS - 1 < time.monotonic() - began < PROGRESS_SECONDS + 5
            await call.hangup()
        assert await customer.legs_by_gateway(3) == [
            ("mute", "PROGRESS_TIMEOUT", False),
            ("second", "NORMAL_CLEARING", True),
        ]


async def test_a_caller_who_gives_up_is_not_passed_on(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with gateway(office, "ringing", priority=1) as ringing, gateway(office, "second", priority=2) as second:
        ringing.carrier.policy = no_answer()
        call = await phone.dial(DIALLED)
        await ringing.carrier.next_call(ANSWER_LIMIT_SECONDS)
        call.cancel()
        assert await call.wait_settled(ANSWER_LIMIT_SECONDS) == 487
        assert await customer.legs_by_gateway(2) == [("ringing", "ORIGINATOR_CANCEL", False)]
        assert second.carrier.calls == ()
