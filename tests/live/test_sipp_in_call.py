"""What phones that are not our own do within a call: hold, transfers, keys."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from switch.sip.media import MediaPort
from tests.live.customers import Customer, Office
from tests.live.sipp import as_carrier, as_seat, needs_sipp, playing, registered, run, serving
from tests.live.system import LOOPBACK
from tests.live.test_calls import DIALLED, DIALLED_E164, roles
from tests.live.waiting import until

pytestmark = needs_sipp

OUTSIDE = "13900139000"
HELD_MILLISECONDS = 1_500
"""As the scenario has it."""

JOINED_LIMIT_SECONDS = 10.0
KEYS = "1800#"
KEYS_LIMIT_SECONDS = 10.0


async def test_a_call_that_is_held_goes_on_and_is_charged_as_one(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    async with playing("answering", tmp_path, port=office.system.carrier_port):
        await run("holding", tmp_path, side=await as_seat(customer.seats[0], dials=DIALLED))
    gateway_leg = next(leg for leg in await customer.legs(2) if leg["leg"] == "gateway")
    assert gateway_leg["billable_milliseconds"] >= HELD_MILLISECONDS
    (charge,) = await customer.charges(1)
    assert (charge["leg_id"], charge["amount"]) == (gateway_leg["leg_id"], "0.1100")


async def test_a_seat_sends_its_party_to_a_colleague_without_a_word(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=2)
    seat, colleague = customer.seats
    target = f"<sip:{colleague.extension}@{customer.domain}>"
    async with (
        playing("answering", tmp_path, port=office.system.carrier_port),
        playing("hanging_up", tmp_path, port=await registered(colleague, tmp_path)) as taking,
    ):
        await run("transferring", tmp_path, side=await as_seat(seat, dials=DIALLED), refer_to=target)
        await taking.said("answered")
        await taking.go_on()
    legs = await customer.legs(3)
    assert sorted(leg["leg"] for leg in legs) == ["caller", "gateway", "seat"]
    (charge,) = await customer.charges(1)
    billed = next(leg for leg in legs if leg["leg_id"] == charge["leg_id"])
    assert (billed["leg"], billed["direction"], billed["destination"]) == ("gateway", "outbound", DIALLED_E164)


async def test_a_seat_sends_a_caller_from_outside_on_to_a_colleague(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=2)
    seat, colleague = customer.seats
    target = f"<sip:{colleague.extension}@{customer.domain}>"
    outside = as_carrier(await serving(customer), dials=customer.number, shows=OUTSIDE)
    async with (
        playing("transferring_as_called", tmp_path, port=await registered(seat, tmp_path), refer_to=target),
        playing("hanging_up", tmp_path, port=await registered(colleague, tmp_path), shown_number=OUTSIDE) as taking,
        playing("staying", tmp_path, port=office.system.carrier_port, side=outside),
    ):
        await taking.said("answered")
        await taking.go_on()
    legs = await customer.legs(3)
    assert roles(legs) == [("gateway", "inbound"), ("seat", "inbound"), ("seat", "inbound")]
    assert {leg["seat_id"] for leg in legs if leg["leg"] == "seat"} == {seat.seat_id, colleague.seat_id}
    assert {leg["hangup_cause"] for leg in legs} == {"NORMAL_CLEARING"}
    assert await customer.charges_now() == []


async def test_a_seat_joins_its_party_with_a_colleague_after_a_word_with_him(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=2)
    seat, colleague = customer.seats
    agent = await as_seat(seat, dials=colleague.extension)
    async with (
        playing("answering", tmp_path, port=await registered(colleague, tmp_path)),
        playing("hanging_up", tmp_path, port=office.system.carrier_port) as outside,
    ):
        async with playing("staying", tmp_path, port=await registered(seat, tmp_path), side=agent) as word:
            call = await word.said("answered")
            replaces = f"{call['call_id']};to-tag={call['to_tag']};from-tag={call['from_tag']}"
            target = f"<sip:{colleague.extension}@{customer.domain}?Replaces={quote(replaces, safe='')}>"
            await run("transferring", tmp_path, side=await as_seat(seat, dials=DIALLED), refer_to=target)
        await _are_joined(customer)
        await outside.go_on()
    legs = await customer.legs(4)
    assert sorted(leg["leg"] for leg in legs) == ["caller", "caller", "gateway", "seat"]
    (charge,) = await customer.charges(1)
    billed = next(leg for leg in legs if leg["leg_id"] == charge["leg_id"])
    assert (billed["leg"], billed["direction"], billed["destination"]) == ("gateway", "outbound", DIALLED_E164)


async def _are_joined(customer: Customer) -> None:
    """Wait until the customer's calls are two legs that have each other; a node needs a moment to join them."""

    async def look() -> bool:
        legs = await customer.office.operator.items("/v1/live/calls", tenant_id=customer.tenant_id)
        others = {leg["leg_id"]: leg["other_leg_id"] for leg in legs}
        return len(others) == 2 and all(others.get(other) == leg for leg, other in others.items())

    await until(look, f"two legs of {customer.domain} have each other", limit_seconds=JOINED_LIMIT_SECONDS)


async def test_keys_that_a_phone_sends_by_sip_do_not_disturb_its_call(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    async with playing("answering", tmp_path, port=office.system.carrier_port):
        await run("informing", tmp_path, side=await as_seat(customer.seats[0], dials=DIALLED), keys=KEYS)
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {"NORMAL_CLEARING"}


@pytest.mark.real_switch  # keys travel in the media, of which the simulator has none
async def test_keys_that_a_seat_presses_reach_the_carrier_in_order(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    loop = asyncio.get_running_loop()
    speaking, own = await loop.create_datagram_endpoint(MediaPort, local_addr=(LOOPBACK, 0))
    hearing, heard = await loop.create_datagram_endpoint(MediaPort, local_addr=(LOOPBACK, 0))
    own_port, heard_port = (each.get_extra_info("sockname")[1] for each in (speaking, hearing))
    try:
        seat = await as_seat(customer.seats[0], dials=DIALLED)
        async with (
            playing("answering", tmp_path, port=office.system.carrier_port, media_port=heard_port) as carrier,
            playing("pressing", tmp_path, port=await registered(customer.seats[0], tmp_path), side=seat,
                    media_port=own_port) as pressing,
        ):  # fmt: skip
            towards = int((await pressing.said("answered"))["media_port"])
            await carrier.said("answered")
            for key in KEYS:
                await own.press(speaking, (LOOPBACK, towards), key)
            async with asyncio.timeout(KEYS_LIMIT_SECONDS):
                assert await heard.wait_keys(len(KEYS)) == KEYS
            await pressing.go_on()
    finally:
        speaking.close()
        hearing.close()
    assert len(await customer.charges(1)) == 1
