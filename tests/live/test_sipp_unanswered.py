"""Calls of phones and carriers that are not our own which nobody answers, or which are not let through."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from switch.sip.carrier import Carrier
from tests.live.customers import Office
from tests.live.sipp import as_carrier, as_seat, needs_sipp, playing, registered, run, serving
from tests.live.system import LOOPBACK, free_ports
from tests.live.test_calls import DIALLED
from tests.live.waiting import until

pytestmark = needs_sipp

OUTSIDE = "13900139000"
EMERGENCY = "110"
KNOWN_LIMIT_SECONDS = 15.0
PREFIX = "+8613800"


class Unanswered(NamedTuple):
    """What the called side answers, what its caller is told, the cause in the record, and its number (Q.850)."""

    answer: str
    status: int
    cause: str
    number: int


unanswered = pytest.mark.parametrize(
    "case",
    [
        Unanswered("486 Busy Here", 486, "USER_BUSY", 17),
        Unanswered("480 Temporarily Unavailable", 480, "NO_USER_RESPONSE", 18),
        Unanswered("603 Decline", 603, "CALL_REJECTED", 21),
    ],
    ids=["busy", "no answer", "declined"],
)


@asynccontextmanager
async def gateway(office: Office, name: str, priority: int) -> AsyncGenerator[int]:
    """A gateway made while the nodes run, for calls to `DIALLED`; yields the port where its carrier is to be."""
    (port,) = free_ports(1)
    given = {"prefixes": [PREFIX], "priority": priority, "check_seconds": None}
    made = await office.operator.post("/v1/gateways", name=name, host=LOOPBACK, port=port, **given)
    path = f"/v1/gateways/{made['gateway_id']}"

    async def is_known() -> bool:
        seen = (await office.operator.get(path))["nodes"]
        return len(seen) == len(office.system.nodes) and all(
            each["state"] == "up" and each["is_current"] for each in seen
        )

    try:
        await until(is_known, f"the gateway {name} is known to every node", limit_seconds=KNOWN_LIMIT_SECONDS)
        yield port
    finally:
        await office.operator.delete(path)


async def test_a_seat_that_gives_up_is_recorded_as_such_and_pays_nothing(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    async with playing("ringing", tmp_path, port=office.system.carrier_port):
        await run("giving_up", tmp_path, side=await as_seat(customer.seats[0], dials=DIALLED))
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {"ORIGINATOR_CANCEL"}
    assert {leg["billable_milliseconds"] for leg in legs} == {0}
    assert await customer.charges_now() == []


async def test_a_caller_from_outside_who_gives_up_stops_the_phone_ringing(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    phone = await registered(customer.seats[0], tmp_path)
    carrier = as_carrier(await serving(customer), dials=customer.number, shows=OUTSIDE)
    async with playing("ringing", tmp_path, port=phone):
        await run("giving_up", tmp_path, port=office.system.carrier_port, side=carrier)
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {"ORIGINATOR_CANCEL"}
    assert {leg["answered_at"] for leg in legs} == {None}
    assert await customer.charges_now() == []


@unanswered
async def test_what_a_called_number_answers_reaches_the_seat_and_its_record(
    office: Office, tmp_path: Path, case: Unanswered
) -> None:
    customer = await office.customer(seats=1)
    async with playing("refusing", tmp_path, port=office.system.carrier_port, status=case.answer):
        seat = await as_seat(customer.seats[0], dials=DIALLED)
        await run("calling_refused", tmp_path, side=seat, status=case.status, cause=f"cause={case.number};")
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {case.cause}
    assert {leg["billable_milliseconds"] for leg in legs} == {0}
    assert await customer.charges_now() == []


@unanswered
async def test_what_a_seat_answers_reaches_the_carrier_and_the_record(
    office: Office, tmp_path: Path, case: Unanswered
) -> None:
    customer = await office.customer(seats=1)
    phone = await registered(customer.seats[0], tmp_path)
    carrier = as_carrier(await serving(customer), dials=customer.number, shows=OUTSIDE)
    async with playing("refusing", tmp_path, port=phone, status=case.answer):
        values: dict[str, Any] = {"status": case.status, "cause": f"cause={case.number};"}
        await run("calling_refused", tmp_path, port=office.system.carrier_port, side=carrier, **values)
    legs = await customer.legs(2)
    assert {leg["hangup_cause"] for leg in legs} == {case.cause}
    assert {leg["billable_milliseconds"] for leg in legs} == {0}
    assert await customer.charges_now() == []


async def test_a_carrier_that_is_full_passes_the_call_on_to_the_next(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    seat = await as_seat(customer.seats[0], dials=DIALLED)
    async with (
        gateway(office, "full", 1) as full,
        gateway(office, "free", 2) as free,
        playing("refusing", tmp_path, port=full, status="503 Service Unavailable"),
        playing("answering", tmp_path, port=free),
    ):
        await run("calling", tmp_path, side=seat)
    assert await customer.legs_by_gateway(3) == [
        ("full", "NORMAL_TEMPORARY_FAILURE", False),
        ("free", "NORMAL_CLEARING", True),
    ]
    (charge,) = await customer.charges(1)
    billed = next(leg for leg in await customer.legs(3) if leg["leg_id"] == charge["leg_id"])
    assert billed["gateway"] == "free"


async def test_beyond_its_calls_at_once_a_tenant_hears_busy_in_both_directions(
    office: Office, carrier: Carrier, tmp_path: Path
) -> None:
    customer = await office.customer(seats=2)
    await customer.may(calls_per_tenant=1)
    first, second = customer.seats
    running = await (await first.registered()).call(DIALLED)
    assert running.status == 200
    busy: dict[str, Any] = {"status": 486, "cause": "cause=17;"}
    await run("calling_refused", tmp_path, side=await as_seat(second, dials=DIALLED), **busy)
    await run("calling_refused", tmp_path, side=await as_seat(second, dials=first.extension), **busy)
    outside = as_carrier(await serving(customer), dials=customer.number, shows=OUTSIDE)
    await run("calling_refused", tmp_path, side=outside, **busy)
    assert await customer.refusals(3) == ["too_many_calls"] * 3
    assert running.is_live
    await running.hangup()
    assert len(await customer.charges(1)) == 1
    assert carrier.calls == ()


async def test_who_is_suspended_is_refused_with_the_reason_in_the_record_and_still_reaches_help(
    office: Office, tmp_path: Path
) -> None:
    customer = await office.customer(seats=2)
    seat, colleague = customer.seats
    refused: dict[str, Any] = {"status": 403, "cause": "cause=21;"}
    await office.operator.post(f"/v1/seats/{seat.seat_id}/suspension", reason="on leave")
    await run("calling_refused", tmp_path, side=await as_seat(seat, dials=DIALLED), **refused)
    await customer.suspend()
    await run("calling_refused", tmp_path, side=await as_seat(colleague, dials=DIALLED), **refused)
    assert await customer.refusals(2) == ["seat_closed", "tenant_suspended"]
    async with playing("answering", tmp_path, port=office.system.carrier_port):
        await run("calling", tmp_path, side=await as_seat(seat, dials=EMERGENCY))
    assert len([leg for leg in await customer.legs(4) if leg["direction"] == "emergency"]) == 2
    assert await customer.charges_now() == []
