"""Calls of phones and carriers that are not our own: between seats, out, in, many at once."""

from __future__ import annotations

from pathlib import Path

from tests.live.customers import Office
from tests.live.sipp import as_carrier, as_seat, needs_sipp, playing, registered, run, serving
from tests.live.test_calls import DIALLED, DIALLED_E164, roles

pytestmark = needs_sipp

OUTSIDE = "13900139000"
SPOKEN_MILLISECONDS = 1_000
"""A little less than the scenarios' callers stay."""

CALLS_AT_ONCE = 20


async def test_a_phone_registers_and_is_refused_with_a_wrong_password(office: Office, tmp_path: Path) -> None:
    seat = (await office.customer(seats=1)).seats[0]
    await run("register", tmp_path, side=await as_seat(seat))
    await run("register_refused", tmp_path, side=await as_seat(seat, password="a-guess"))


async def test_a_phone_registers_and_calls_over_tcp(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=2)
    caller, called = customer.seats
    await run("register", tmp_path, side=await as_seat(caller, transport="t1"))
    async with playing("answering", tmp_path, port=await registered(called, tmp_path)):
        await run("calling", tmp_path, side=await as_seat(caller, dials=called.extension, transport="t1"))
    assert {leg["hangup_cause"] for leg in await customer.legs(2)} == {"NORMAL_CLEARING"}


async def test_a_call_between_two_seats(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=2)
    caller, called = customer.seats
    async with playing("answering", tmp_path, port=await registered(called, tmp_path)):
        await run("calling", tmp_path, side=await as_seat(caller, dials=called.extension))
    legs = await customer.legs(2)
    assert roles(legs) == [("caller", "internal"), ("seat", "internal")]
    assert all(leg["billable_milliseconds"] >= SPOKEN_MILLISECONDS for leg in legs)
    assert await customer.charges_now() == []


async def test_a_call_out_to_a_gateway_becomes_a_charge(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    shown = customer.number.removeprefix("+")
    async with playing("answering", tmp_path, port=office.system.carrier_port, shown_number=shown):
        await run("calling", tmp_path, side=await as_seat(customer.seats[0], dials=DIALLED))
    gateway_leg = next(leg for leg in await customer.legs(2) if leg["leg"] == "gateway")
    assert gateway_leg["destination"] == DIALLED_E164
    (charge,) = await customer.charges(1)
    assert charge["leg_id"] == gateway_leg["leg_id"]
    assert (charge["billed_seconds"], charge["amount"]) == (6, "0.1100")


async def test_a_call_in_rings_at_the_seat_of_the_number_and_costs_nothing(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    phone = await registered(customer.seats[0], tmp_path)
    carrier = as_carrier(await serving(customer), dials=customer.number, shows=OUTSIDE)
    async with playing("answering", tmp_path, port=phone, shown_number=OUTSIDE):
        await run("calling", tmp_path, port=office.system.carrier_port, side=carrier)
    legs = await customer.legs(2)
    assert roles(legs) == [("gateway", "inbound"), ("seat", "inbound")]
    assert {leg["hangup_cause"] for leg in legs} == {"NORMAL_CLEARING"}
    assert all(leg["billable_milliseconds"] >= SPOKEN_MILLISECONDS for leg in legs)
    gateway_leg = next(leg for leg in legs if leg["leg"] == "gateway")
    assert (gateway_leg["gateway"], gateway_leg["seat_id"]) == ("carrier", customer.seats[0].seat_id)
    assert await customer.charges_now() == []


async def test_many_calls_at_once_are_each_recorded_and_charged_once(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    await customer.may(calls_per_seat=CALLS_AT_ONCE, calls_per_second=CALLS_AT_ONCE)
    seat = await as_seat(customer.seats[0], dials=DIALLED)
    async with playing("answering", tmp_path, port=office.system.carrier_port, calls=CALLS_AT_ONCE):
        await run("calling", tmp_path, side=seat, calls=CALLS_AT_ONCE)
    legs = await customer.legs(2 * CALLS_AT_ONCE)
    charges = await customer.charges(CALLS_AT_ONCE)
    assert {leg["hangup_cause"] for leg in legs} == {"NORMAL_CLEARING"}
    carried = sorted(leg["leg_id"] for leg in legs if leg["leg"] == "gateway")
    assert len(carried) == CALLS_AT_ONCE
    assert sorted(charge["leg_id"] for charge in charges) == carried
    assert {(charge["billed_seconds"], charge["amount"]) for charge in charges} == {(6, "0.1100")}
