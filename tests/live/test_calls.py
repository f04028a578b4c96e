"""Calls between seats, out to a carrier and in from it: who rings, what is recorded, what is charged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from switch.documents.dialplan import SEAT_RING_SECONDS
from switch.sip.carrier import Carrier
from switch.sip.policy import Policy, answers, busy, no_answer, rejects
from tests.live.customers import Office

ANSWER_LIMIT_SECONDS = 10.0
DIALLED = "13800138000"
DIALLED_E164 = "8613800138000"
CONNECT_FEE, RATE_PER_MINUTE, INCREMENT_SECONDS = Decimal("0.05"), Decimal("0.60"), 6
"""Of the deck's row for China; Beijing is billed by the second and has no fee."""


def price_in_china(seconds: int) -> str:
    """What so many seconds cost by the deck, worked out by hand."""
    billed = math.ceil(seconds / INCREMENT_SECONDS) * INCREMENT_SECONDS
    return f"{CONNECT_FEE + RATE_PER_MINUTE * billed / 60:.4f}"


def roles(legs: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Which legs there are, and how the call ran."""
    return sorted((leg["leg"], leg["direction"]) for leg in legs)


async def test_a_seat_calls_a_seat_and_it_costs_nothing(office: Office) -> None:
    customer = await office.customer()
    caller, called = await customer.seats[0].registered(), await customer.seats[1].registered()
    call = await caller.call(customer.seats[1].extension)
    assert call.status == 200
    ringing = await called.next_call(ANSWER_LIMIT_SECONDS)
    await call.hangup()
    await ringing.wait_ended(ANSWER_LIMIT_SECONDS)
    legs = await customer.legs(2)
    assert roles(legs) == [("caller", "internal"), ("seat", "internal")]
    assert {leg["hangup_cause"] for leg in legs} == {"NORMAL_CLEARING"}
    assert {leg["seat_id"] for leg in legs} == {seat.seat_id for seat in customer.seats}
    assert await customer.charges_now() == []


async def test_a_call_out_shows_the_tenants_number_and_is_charged_once(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    caller = await customer.seats[0].registered()
    carrier.policy = answers(hang_up_after_seconds=1.2)
    call = await caller.call(DIALLED)
    assert call.status == 200
    arrived = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    answered_at = time.monotonic()
    assert arrived.request is not None
    assert DIALLED_E164 in arrived.request.uri
    assert customer.number.removeprefix("+") in arrived.request.header("From")
    await call.wait_ended(ANSWER_LIMIT_SECONDS)
    spoken_seconds = time.monotonic() - answered_at

    legs = await customer.legs(2)
    assert roles(legs) == [("caller", "outbound"), ("gateway", "outbound")]
    gateway_leg = next(leg for leg in legs if leg["leg"] == "gateway")
    assert gateway_leg["destination"] == DIALLED_E164
    assert gateway_leg["gateway"] == "carrier"
    assert gateway_leg["seat_id"] == customer.seats[0].seat_id
    assert gateway_leg["billable_milliseconds"] == pytest.approx(spoken_seconds * 1000, abs=500)
    (charge,) = await customer.charges(1)
    assert charge["leg_id"] == gateway_leg["leg_id"]
    assert charge["prefix"] == "86"
    assert charge["billed_seconds"] == INCREMENT_SECONDS
    assert charge["amount"] == price_in_china(math.ceil(gateway_leg["billable_milliseconds"] / 1000))


async def test_the_longest_prefix_and_the_carriers_seconds_make_the_charge(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    caller = await customer.seats[0].registered()
    carrier.policy = answers(after_seconds=1.5, hang_up_after_seconds=0.5)
    call = await caller.call("01062000000")
    await call.wait_ended(ANSWER_LIMIT_SECONDS)
    (charge,) = await customer.charges(1)
    assert charge["prefix"] == "8610"
    assert charge["billed_seconds"] == 1
    assert charge["amount"] == "0.0050"


async def test_a_call_in_rings_the_seat_of_the_number(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    called = await customer.seats[0].registered()
    node = office.system.nodes[await customer.serving_node()]
    call = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
    assert call.status == 200
    ringing = await called.next_call(ANSWER_LIMIT_SECONDS)
    assert "13900139000" in ringing.remote
    await call.hangup()
    await ringing.wait_ended(ANSWER_LIMIT_SECONDS)
    legs = await customer.legs(2)
    assert roles(legs) == [("gateway", "inbound"), ("seat", "inbound")]
    assert await customer.charges_now() == []


async def test_a_number_that_belongs_to_nobody_is_refused_to_the_carrier(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    node = office.system.nodes[await customer.serving_node()]
    call = await carrier.call("+862150999999", switch=node.external_sip, caller_number="13900139000")
    assert call.status == 404


@pytest.mark.parametrize(
    ("policy", "status", "cause"),
    [
        (busy(), 486, "USER_BUSY"),
        (rejects(603), 603, "CALL_REJECTED"),
        (rejects(404), 404, "UNALLOCATED_NUMBER"),
        (rejects(480), 480, "NO_USER_RESPONSE"),
        (rejects(503), 503, "NORMAL_TEMPORARY_FAILURE"),
    ],
    ids=["busy", "rejected", "no such number", "unavailable", "carrier full"],
)
async def test_a_call_that_the_carrier_refuses_is_recorded_and_not_charged(
    office: Office, carrier: Carrier, policy: Policy, status: int, cause: str
) -> None:
    customer = await office.customer(seats=1)
    caller = await customer.seats[0].registered()
    carrier.policy = policy
    call = await caller.call(DIALLED)
    assert call.status == status
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {cause}
    assert {leg["billable_milliseconds"] for leg in legs} == {0}
    assert await customer.charges_now() == []


async def test_a_seat_that_is_busy_or_rejects_says_so(office: Office) -> None:
    customer = await office.customer()
    caller = await customer.seats[0].registered()
    await customer.seats[1].registered(policy=busy())
    assert (await caller.call(customer.seats[1].extension)).status == 486
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {"USER_BUSY"}


async def test_a_seat_that_is_not_registered_does_not_ring(office: Office) -> None:
    customer = await office.customer()
    caller = await customer.seats[0].registered()
    call = await caller.call(customer.seats[1].extension)
    assert call.status == 480
    (leg,) = await customer.legs(1)
    assert leg["hangup_cause"] == "USER_NOT_REGISTERED"


@pytest.mark.real_switch  # the simulator's own tests have it with a shorter time
async def test_a_seat_that_does_not_answer_rings_for_a_minute(office: Office) -> None:
    customer = await office.customer()
    caller = await customer.seats[0].registered()
    called = await customer.seats[1].registered(policy=no_answer())
    call = await caller.call(customer.seats[1].extension, answer_timeout_seconds=SEAT_RING_SECONDS + 10)
    assert call.status == 480
    ringing = await called.next_call(ANSWER_LIMIT_SECONDS)
    assert ringing.is_ended
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {"NO_ANSWER"}
    assert {leg["billable_milliseconds"] for leg in legs} == {0}


async def test_a_call_that_is_given_up_stops_ringing_and_costs_nothing(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    caller = await customer.seats[0].registered()
    carrier.policy = no_answer()
    call = await caller.dial(DIALLED)
    arrived = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await call.wait_ringing(ANSWER_LIMIT_SECONDS)
    call.cancel()
    assert await call.wait_settled(ANSWER_LIMIT_SECONDS) == 487
    assert await arrived.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {"ORIGINATOR_CANCEL"}
    assert await customer.charges_now() == []


async def test_a_wrong_password_and_a_number_that_cannot_be_are_refused(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    seat = customer.seats[0]
    guesser = await seat.phone(password="a guess")
    assert (await guesser.call(DIALLED)).status == 403
    caller = await seat.registered()
    assert (await caller.call("12")).status == 484
    (leg,) = await customer.legs(1)
    assert (leg["refusal"], leg["hangup_cause"]) == ("destination_invalid", "INVALID_NUMBER_FORMAT")
    assert carrier.calls == ()
