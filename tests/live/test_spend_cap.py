"""A running call counts against the spend cap whatever is done with it, and so does one that has just ended."""

from __future__ import annotations

import asyncio

from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Office
from tests.live.waiting import until

ANSWER_LIMIT_SECONDS = 10.0
EFFECT_LIMIT_SECONDS = 30.0
SPOKEN_SECONDS = 1.0
DIALLED = "13800138000"
CAP = "0.10"
"""Less than the first six seconds of a call to a mobile cost: 0.11."""


async def test_a_call_whose_party_a_seat_sends_to_a_colleague_counts(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    agent, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    talk = await agent.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(SPOKEN_SECONDS)
    assert await talk.transfer(f"<sip:{customer.seats[1].extension}@{customer.domain}>") == 202
    taken = await colleague.next_call(ANSWER_LIMIT_SECONDS)
    await talk.wait_ended(ANSWER_LIMIT_SECONDS)
    await customer.may(daily_cap=CAP)
    await _barred(customer)
    assert called.is_live
    assert (await agent.call(DIALLED)).status == 403
    await taken.hangup()
    await called.wait_ended(ANSWER_LIMIT_SECONDS)


async def test_a_call_that_its_far_end_holds_and_takes_back_counts(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    agent = await customer.seats[0].registered()
    talk = await agent.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    assert await called.hold() == 200
    await customer.may(daily_cap=CAP)
    await _barred(customer)
    await customer.may(daily_cap="5.00")
    await _barred(customer, expected=False)
    assert await called.resume() == 200
    await customer.may(daily_cap=CAP)
    await _barred(customer)
    await talk.hangup()


async def test_the_end_of_a_call_lifts_no_bar_until_it_is_charged_and_bars(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    await customer.may(daily_cap=CAP)
    agent = await customer.seats[0].registered()
    talk = await agent.call(DIALLED)
    assert talk.status == 200
    await _barred(customer)
    await talk.hangup()
    statuses = [(await agent.call(DIALLED)).status]
    async with asyncio.timeout(EFFECT_LIMIT_SECONDS):
        while not await customer.charges_now():
            statuses.append((await agent.call(DIALLED)).status)
            await asyncio.sleep(SPOKEN_SECONDS / 4)
    assert set(statuses) == {403}
    assert (await agent.call(DIALLED)).status == 403


async def _barred(customer: Customer, *, expected: bool = True) -> None:
    async def look() -> bool:
        policy = await customer.office.operator.get(f"/v1/tenants/{customer.tenant_id}/call-policy")
        return policy["today"]["is_barred"] is expected

    await until(look, f"barred is {expected} of {customer.domain}", limit_seconds=EFFECT_LIMIT_SECONDS)
