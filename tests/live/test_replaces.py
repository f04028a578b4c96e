"""Nobody gets at a running call past the dialplan: neither by taking it over (INVITE with Replaces) nor by having it
joined with another tenant's call (REFER with Replaces)."""

from __future__ import annotations

import asyncio
import time

import pytest

from switch.sip.call import Call
from switch.sip.carrier import Carrier
from switch.sip.policy import no_answer
from tests.live.customers import Customer, Office
from tests.live.replacing import ReachingCarrier, dialog_of, reaching_phone, refer_to
from tests.live.system import LOOPBACK
from tests.live.test_admission import ANSWER_LIMIT_SECONDS, DIALLED, EMERGENCY, OUTSIDE, QUIET_SECONDS

REFUSAL = "replacing_not_allowed"
ENDED_LIMIT_SECONDS = 2.0
"""So long may two parties that nobody may join hear each other at most; it is milliseconds on a quiet node."""

NEIGHBOUR_ATTEMPTS = 20
BARGING = ("Call-Info", "<sip:x>;appearance-index=1")
"""With this header mod_sofia does not take the call over but listens in on it and speaks into it."""


async def neighbour_of(customer: Customer, *, seats: int = 1) -> Customer:
    """Another tenant on the same node."""
    node = await customer.serving_node()
    for _ in range(NEIGHBOUR_ATTEMPTS):
        other = await customer.office.customer(seats=seats)
        if await other.serving_node() == node:
            return other
    raise AssertionError(f"no other tenant came to {node}")


async def refused(call: Call, customer: Customer) -> None:
    """The call that reached for another one has ended, by the node's doing, and says why."""
    assert await call.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert await customer.refusals(1) == [REFUSAL]
    assert await customer.charges_now() == []


@pytest.mark.parametrize(
    ("more", "parameters"),
    [((), ""), ((BARGING,), ""), ((), ";a-leg=true"), ((), ";early-only")],
    ids=["taken", "barged", "a-leg", "early-only"],
)
async def test_a_suspended_tenants_phone_takes_no_call_of_another_tenant(
    office: Office, carrier: Carrier, more: tuple[tuple[str, str], ...], parameters: str
) -> None:
    customer = await office.customer(seats=1)
    other = await neighbour_of(customer)
    phone, thief = await customer.seats[0].registered(), await reaching_phone(other.seats[0])
    talk = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    await other.suspend()
    reaching = await thief.reach_for(talk, DIALLED, *more, parameters=parameters)
    await refused(reaching, other)
    assert talk.is_live
    assert called.is_live
    in_need = await thief.call(EMERGENCY)
    assert in_need.status == 200
    await in_need.hangup()
    await talk.hangup()
    assert len(await customer.charges(1)) == 1


async def test_a_ringing_call_is_taken_by_nobody_but_whom_it_rings_at(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    node = office.system.nodes[await customer.serving_node()]
    phone = await customer.seats[0].registered(policy=no_answer())
    thief = await reaching_phone(customer.seats[1])
    await office.operator.post(f"/v1/seats/{customer.seats[1].seat_id}/suspension", reason="on leave")
    outside = await carrier.dial(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
    rung = await phone.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    reaching = await thief.reach_for(rung, DIALLED)
    await refused(reaching, customer)
    rung.answer()
    assert await outside.wait_settled(ANSWER_LIMIT_SECONDS) == 200
    await asyncio.sleep(QUIET_SECONDS)
    assert outside.is_live
    assert rung.is_live
    await outside.hangup()


async def test_a_colleague_takes_no_call_past_the_limits_either(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    phone, colleague = await customer.seats[0].registered(), await reaching_phone(customer.seats[1])
    talk = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    await refused(await colleague.reach_for(talk, customer.seats[0].extension), customer)
    assert talk.is_live
    assert called.is_live
    plain = await colleague.call(DIALLED)
    assert plain.status == 200
    await plain.hangup()
    await talk.hangup()


async def test_a_call_is_not_joined_with_another_tenants(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    other = await neighbour_of(customer, seats=2)
    phone = await customer.seats[0].registered()
    thief, helper = await other.seats[0].registered(), await other.seats[1].registered()
    talk = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    inner = await thief.call(other.seats[1].extension)
    taken = await helper.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    asked_at = time.monotonic()
    assert await inner.transfer(refer_to(DIALLED, other.domain, talk)) == 202
    assert await taken.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert await called.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert time.monotonic() - asked_at < ENDED_LIMIT_SECONDS
    # The node takes the seat out of its call before anybody could object: that call is over.
    assert await talk.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert await customer.refusals(1) == [REFUSAL]
    assert await other.refusals(1) == [REFUSAL]
    assert len(await customer.charges(1)) == 1
    assert await other.charges_now() == []


@pytest.mark.real_switch  # the simulator joins no call that still rings
async def test_a_ringing_call_is_not_joined_with_another_tenants(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    other = await neighbour_of(customer, seats=2)
    phone, colleague = await customer.seats[0].registered(), await customer.seats[1].registered(policy=no_answer())
    thief, helper = await other.seats[0].registered(), await other.seats[1].registered()
    ringing = await phone.dial(customer.seats[1].extension)
    rung = await colleague.next_call(ANSWER_LIMIT_SECONDS)
    inner = await thief.call(other.seats[1].extension)
    taken = await helper.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    assert await inner.transfer(refer_to(customer.seats[1].extension, other.domain, ringing)) == 202
    await asyncio.sleep(QUIET_SECONDS)
    rung.answer()
    assert await rung.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert await taken.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert await customer.refusals(1) == [REFUSAL]
    assert await other.refusals(1) == [REFUSAL]


@pytest.mark.parametrize("more", [(), (BARGING,)], ids=["taken", "barged"])
async def test_who_calls_from_a_carriers_address_keeps_no_call_that_it_takes(
    office: Office, carrier: Carrier, more: tuple[tuple[str, str], ...]
) -> None:
    customer = await office.customer(seats=1)
    node = office.system.nodes[await customer.serving_node()]
    phone = await customer.seats[0].registered()
    talk = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    async with ReachingCarrier(LOOPBACK) as other_carrier:
        other_carrier.more_headers = (("Replaces", dialog_of(talk)), *more)
        asked_at = time.monotonic()
        call = await other_carrier.dial(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
        assert await call.wait_settled(ANSWER_LIMIT_SECONDS) == 200
        assert await call.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
        assert time.monotonic() - asked_at < ENDED_LIMIT_SECONDS
    if more:
        await asyncio.sleep(QUIET_SECONDS)
        assert talk.is_live
        assert called.is_live
        await talk.hangup()
    assert await called.wait_ended(ANSWER_LIMIT_SECONDS) == "them", "nobody is left alone on the line"
    if not more:
        assert await customer.refusals(1) == [REFUSAL]
    assert len(await customer.charges(1)) == 1


async def test_a_phone_that_names_a_gateway_is_not_taken_for_one(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    other = await neighbour_of(customer)
    phone, stranger = await customer.seats[0].registered(), await other.seats[0].registered()
    await other.suspend()
    for target in (f"sip:{customer.number}@{other.domain};gw=carrier", f"sip:gw+carrier@{other.domain}"):
        assert (await stranger.call(target)).status in (403, 404, 484)
    assert phone.calls == ()
    assert len(await other.refusals(2)) == 2
    assert await office.operator.items("/v1/calls", tenant_id=customer.tenant_id) == []


async def test_a_phone_that_may_only_call_for_help_joins_its_call_with_nobodys(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    other = await neighbour_of(customer)
    phone, thief = await customer.seats[0].registered(), await other.seats[0].registered()
    talk = await phone.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await other.suspend()
    in_need = await thief.call(EMERGENCY)
    rescue = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    assert await in_need.transfer(refer_to(DIALLED, other.domain, talk)) == 202
    await asyncio.sleep(QUIET_SECONDS)
    assert [call.is_live for call in (talk, called, in_need, rescue)] == [True] * 4
    await in_need.hangup()
    await talk.hangup()
