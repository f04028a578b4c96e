"""What happens within a call: hold and keys. Neither ends it, and neither changes what it costs."""

from __future__ import annotations

import asyncio
import math

import pytest

from switch.sip.carrier import Carrier
from tests.live.customers import Office
from tests.live.test_calls import DIALLED, price_in_china
from tests.live.waiting import until

ANSWER_LIMIT_SECONDS = 10.0
HELD_SECONDS = 1.5


async def test_a_call_on_hold_goes_on_and_is_charged_as_one(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    assert await call.hold() == 200
    assert call.remote_audio is not None
    assert call.remote_audio.direction == "recvonly"
    await asyncio.sleep(HELD_SECONDS)  # the time on hold is what is measured
    assert await call.resume() == 200
    assert call.remote_audio.direction == "sendrecv"
    assert called.is_live
    await call.hangup()
    assert await called.wait_ended(ANSWER_LIMIT_SECONDS) == "them"

    gateway_leg = next(leg for leg in await customer.legs(2) if leg["leg"] == "gateway")
    assert gateway_leg["billable_milliseconds"] >= HELD_SECONDS * 1_000
    (charge,) = await customer.charges(1)
    assert charge["leg_id"] == gateway_leg["leg_id"]
    assert charge["amount"] == price_in_china(math.ceil(gateway_leg["billable_milliseconds"] / 1_000))


async def test_a_call_that_is_held_by_its_seat_ends_with_a_suspension(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    assert await call.hold() == 200
    await customer.suspend()
    await called.wait_ended(ANSWER_LIMIT_SECONDS)
    await call.wait_ended(ANSWER_LIMIT_SECONDS)


@pytest.mark.real_switch  # keys travel in the media, of which the simulator has none
async def test_keys_reach_the_carrier_and_a_colleague_in_order(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    caller, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    out = await caller.call(DIALLED)
    await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await out.press("1800#")
    assert await carrier.heard_keys(5, timeout_seconds=ANSWER_LIMIT_SECONDS) == "1800#"
    await out.hangup()

    talk = await caller.call(customer.seats[1].extension)
    taken = await colleague.next_call(ANSWER_LIMIT_SECONDS)

    async def is_connected() -> bool:
        return taken.is_live and taken.remote_audio is not None

    await until(is_connected, "the colleague has answered", limit_seconds=ANSWER_LIMIT_SECONDS)
    await taken.press("42*")
    assert await caller.heard_keys(3, timeout_seconds=ANSWER_LIMIT_SECONDS) == "42*"
    await talk.hangup()
    assert len(await customer.charges(1)) == 1
