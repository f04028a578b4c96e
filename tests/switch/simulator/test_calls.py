"""Calls through a simulated node: phones, a carrier, and the call records they leave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from switch.sip.policy import Policy, answers, busy, no_answer, rejects
from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import DOMAIN

TO_SEAT = [
    ("set", "hangup_after_bridge=true"),
    ("set", "call_timeout=1"),
    ("set", "continue_on_fail=false"),
    ("set", "seatline_leg=caller"),
    ("bridge", "{seatline_leg=seat}user/1002@" + DOMAIN),
]
TO_CARRIER = [
    ("set", "hangup_after_bridge=true"),
    ("set", "seatline_service=ten_1"),
    ("export", "seatline_destination=8613800138000"),
    ("bridge", "{seatline_leg=gateway,seatline_service=ten_1}sofia/gateway/carrier/13800138000"),
]


def by_direction(records: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The caller's record and the called side's."""
    return (
        next(record for record in records if record["direction"] == "inbound"),
        next(record for record in records if record["direction"] == "outbound"),
    )


async def test_a_seat_calls_a_seat_and_both_legs_are_recorded(world: World) -> None:
    caller = await world.registered("1001")
    await world.registered("1002")
    world.office.dialplan["1002"] = TO_SEAT
    call = await caller.call("1002")
    assert call.status == 200
    await call.hangup()
    first, second = by_direction(await world.office.wait_records(2))
    assert (first["seatline_leg"], second["seatline_leg"]) == ("caller", "seat")
    assert first["hangup_cause"] == second["hangup_cause"] == "NORMAL_CLEARING"
    assert (first["sip_hangup_disposition"], second["sip_hangup_disposition"]) == ("recv_bye", "send_bye")
    assert second["originator"] == first["uuid"]
    assert int(first["billmsec"]) >= 0
    assert first["sip_auth_username"] == "1001"
    assert await world.node.core.wait_empty(5)
    assert json.loads(await world.node.api("show channels as json"))["row_count"] == 0


async def test_a_seat_calls_out_and_the_carrier_hangs_up(world: World) -> None:
    caller = await world.registered("1001")
    world.carrier.policy = answers(hang_up_after_seconds=0.1)
    world.office.dialplan["013800138000"] = TO_CARRIER
    call = await caller.call("013800138000")
    assert call.status == 200
    await call.wait_ended(5)
    first, second = by_direction(await world.office.wait_records(2))
    assert second["sip_gateway_name"] == "carrier"
    assert second["seatline_destination"] == "8613800138000"
    assert second["sip_hangup_disposition"] == "recv_bye"
    assert first["hangup_cause"] == "NORMAL_CLEARING"
    assert int(second["billmsec"]) >= 100
    assert int(second["end_uepoch"]) - int(second["answer_uepoch"]) == int(second["billusec"])
    assert int(second["billsec"]) == int(second["end_epoch"]) - int(second["answer_epoch"])


@pytest.mark.parametrize(
    ("policy", "status", "cause"),
    [
        (busy(), 486, "USER_BUSY"),
        (rejects(603), 603, "CALL_REJECTED"),
        (rejects(404), 404, "UNALLOCATED_NUMBER"),
        (rejects(503), 503, "NORMAL_TEMPORARY_FAILURE"),
        (no_answer(), 480, "NO_ANSWER"),
    ],
)
async def test_a_refusal_reaches_the_caller_as_freeswitch_maps_it(
    world: World, policy: Policy, status: int, cause: str
) -> None:
    caller = await world.registered("1001")
    await world.registered("1002", policy=policy)
    world.office.dialplan["1002"] = TO_SEAT
    call = await caller.call("1002")
    assert call.status == status
    first, second = by_direction(await world.office.wait_records(2))
    assert first["hangup_cause"] == second["hangup_cause"] == cause
    assert first["originate_disposition"] == cause
    assert first["billmsec"] == "0"


async def test_a_withdrawn_call_stops_ringing(world: World) -> None:
    caller = await world.registered("1001")
    called = await world.registered("1002", policy=no_answer())
    world.office.dialplan["1002"] = TO_SEAT
    call = await caller.dial("1002")
    await call.wait_ringing(5)
    incoming = await called.next_call(5)
    call.cancel()
    assert await call.wait_settled(5) == 487
    await incoming.wait_ended(5)
    first, second = by_direction(await world.office.wait_records(2))
    assert first["hangup_cause"] == second["hangup_cause"] == "ORIGINATOR_CANCEL"


async def test_a_seat_that_is_not_registered_cannot_be_reached(world: World) -> None:
    caller = await world.registered("1001")
    world.office.add_user("1002")
    world.office.dialplan["1002"] = TO_SEAT
    call = await caller.call("1002")
    assert call.status == 480
    assert (await world.office.wait_records(1))[0]["hangup_cause"] == "USER_NOT_REGISTERED"


async def test_the_dialplan_refuses_with_its_own_status(world: World) -> None:
    caller = await world.registered("1001")
    world.office.dialplan["1"] = [("set", "seatline_refusal=number_barred"), ("respond", "403 Barred")]
    world.office.dialplan["2"] = [("hangup", "CALL_REJECTED")]
    assert (await caller.call("1")).status == 403
    assert (await caller.call("2")).status == 603
    assert (await caller.call("3")).status == 404
    records = await world.office.wait_records(3)
    assert records[0]["seatline_refusal"] == "number_barred"
    assert [record["hangup_cause"] for record in records] == [
        "CALL_REJECTED",
        "CALL_REJECTED",
        "NO_ROUTE_DESTINATION",
    ]


async def test_a_call_needs_the_right_password(world: World) -> None:
    world.office.add_user("1001")
    world.office.dialplan["1002"] = TO_SEAT
    assert (await world.phone("1001", password="guess").call("1002")).status == 403
    assert world.office.records == []


async def test_a_call_from_the_carrier_reaches_a_seat(world: World) -> None:
    await world.registered("1002")
    world.office.dialplan["02150000000"] = TO_SEAT
    call = await world.carrier.call(
        "02150000000", switch=world.node.sip_address("external"), caller_number="13900139000"
    )
    assert call.status == 200
    await call.hangup()
    first, second = by_direction(await world.office.wait_records(2))
    assert first["sofia_profile_name"] == "external"
    assert second["sofia_profile_name"] == "internal"
    form = next(form for form in world.office.forms if form["section"] == "dialplan")
    assert form["Caller-Context"] == "public"
    assert form["Caller-Caller-ID-Number"] == "13900139000"


async def test_alternatives_are_tried_in_order_and_the_first_answer_wins(world: World) -> None:
    caller = await world.registered("1001")
    await world.registered("1002", policy=busy())
    await world.registered("1003", policy=no_answer())
    await world.registered("1004")
    world.office.dialplan["700"] = [
        ("bridge", f"user/1002@{DOMAIN}|user/1003@{DOMAIN},user/1004@{DOMAIN}"),
    ]
    call = await caller.call("700")
    assert call.status == 200
    await call.hangup()
    causes = sorted(record["hangup_cause"] for record in await world.office.wait_records(4))
    assert causes == ["LOSE_RACE", "NORMAL_CLEARING", "NORMAL_CLEARING", "USER_BUSY"]


async def test_hupall_ends_one_tenants_calls_and_no_other(world: World) -> None:
    phones = [await world.registered(name) for name in ("1001", "1002")]
    world.office.dialplan["013800138000"] = TO_CARRIER
    world.office.dialplan["110"] = [("bridge", "{seatline_leg=gateway}sofia/gateway/carrier/110")]
    normal = await phones[0].call("013800138000")
    emergency = await phones[1].call("110")
    reply = await world.node.api("hupall CALL_REJECTED seatline_service ten_1")
    assert reply == ("+OK hangup all channels matching [seatline_service]=[ten_1] with cause: CALL_REJECTED\n")
    await normal.wait_ended(5)
    records = await world.office.wait_records(2)
    assert {record["hangup_cause"] for record in records} == {"CALL_REJECTED"}
    assert emergency.is_live
    await emergency.hangup()


async def test_a_hundred_calls_at_once(world: World) -> None:
    phones = [await world.registered(str(2000 + number)) for number in range(20)]
    world.office.dialplan["013800138000"] = TO_CARRIER
    calls = await asyncio.gather(
        *(phone.call("013800138000") for phone in phones for _ in range(6)),
    )
    assert {call.status for call in calls} == {200}
    await asyncio.gather(*(call.hangup() for call in calls))
    records = await world.office.wait_records(240)
    assert len({record["uuid"] for record in records}) == 240


async def test_nobody_answering_lets_the_dialplan_go_on_unless_told_otherwise(world: World) -> None:
    caller = await world.registered("1001")
    await world.registered("1002", policy=no_answer())
    bridge = [("set", "call_timeout=1"), ("bridge", f"user/1002@{DOMAIN}")]
    world.office.dialplan["1"] = [*bridge, ("respond", "486 Still Here")]
    assert (await caller.call("1")).status == 486


async def test_the_status_of_the_far_end_goes_through(world: World) -> None:
    caller = await world.registered("1001")
    await world.registered("1002", policy=rejects(500))
    world.office.dialplan["1002"] = TO_SEAT
    assert (await caller.call("1002")).status == 500
    first, _ = by_direction(await world.office.wait_records(2))
    assert first["hangup_cause"] == "NORMAL_TEMPORARY_FAILURE"
