"""Every call that a node begins is accounted for: by its record, or as missing with what was seen of it.

A node's numbers never go back to an earlier hour, so these tests travel beyond wherever others have been before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.kit import clock
from switch.completeness.schemas import HOUR_FORMAT
from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Office
from tests.live.system import LiveNode, LiveSystem
from tests.live.waiting import until

DIALLED = "13800138000"
NOBODYS = "+862150999999"
COUNT_LIMIT_SECONDS = 60.0
SEEN_SECONDS = 3.0
"""Longer than a supervisor takes between two looks."""

CALLS_BEFORE = 2
EVENT_SECONDS = 0.2
"""What an event needs at most from a node to its supervisor; between two looks there is more."""

GIVEN_UP_LIMIT_SECONDS = 30.0


async def counted(office: Office, node: LiveNode) -> list[Mapping[str, Any]]:
    """The hours of a node that are over, once all of them are counted for good; the canary calls in every other."""
    present = office.system.furthest.astimezone(clock.LOCAL_ZONE).strftime(HOUR_FORMAT)

    async def look() -> list[Mapping[str, Any]] | None:
        listed = await office.operator.items("/v1/completeness", node=node.name)
        hours = [hour for hour in listed if hour["hour"] < present]
        return hours if all(hour["state"] not in ("counting", "uncounted") for hour in hours) else None

    return await until(look, f"the hours of {node.name} are counted", limit_seconds=COUNT_LIMIT_SECONDS)


async def missing_calls(office: Office, customer: Customer, count: int) -> list[Mapping[str, Any]]:
    """A customer's calls without a record, as soon as there are so many."""

    async def look() -> list[list[Mapping[str, Any]]] | None:
        found = await office.operator.items("/v1/missing-calls", tenant_id=customer.tenant_id)
        return [found] if len(found) == count else None

    return (await until(look, f"{count} missing calls", limit_seconds=COUNT_LIMIT_SECONDS))[0]


async def missing_now(office: Office, node: LiveNode) -> set[tuple[str, int]]:
    """Every session of a node whose record is missing so far: its boot and its number."""
    found = await office.operator.items("/v1/missing-calls", node=node.name)
    return {(each["boot_id"], each["session_number"]) for each in found}


def hours_later(system: LiveSystem, hours: int = 2) -> None:
    """Let the hour of the calls be over, and every hour in which another test has been."""
    system.travel_to(max(datetime.now(UTC), system.furthest) + timedelta(hours=hours))


async def home_of(office: Office, customer: Customer) -> LiveNode:
    """The node that serves a customer."""
    return office.system.nodes[await customer.serving_node()]


async def test_after_the_hour_every_call_has_its_record(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=3)
    node = await home_of(office, customer)
    missing_before = await missing_now(office, node)
    caller, called = customer.seats[0], await customer.seats[1].registered()
    phone = await caller.registered()
    inside = await phone.call(customer.seats[1].extension)
    assert inside.status == 200
    await inside.hangup()
    outside = await phone.call(DIALLED)
    assert outside.status == 200
    await outside.hangup()
    # Towards a phone that is not registered FreeSWITCH takes a number and gives it up: no record of that will come.
    assert (await phone.call(customer.seats[2].extension)).status == 480
    assert (await phone.call("1999")).status not in (200, None)
    assert called is not None
    legs = await customer.legs(6)
    await asyncio.sleep(SEEN_SECONDS)
    hours_later(office.system)
    try:
        latest = (await counted(office, node))[0]
        assert await missing_calls(office, customer, 0) == []
    finally:
        office.system.travel_to(None)
    assert latest["accepted"] >= len(legs)
    assert await missing_now(office, node) == missing_before
    assert {leg["codec"] for leg in legs if leg["answered_at"]} == {"PCMU"}


async def test_records_kept_on_disk_while_the_api_was_away_are_shipped_and_close_the_gap(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    node = await home_of(office, customer)
    call = await (await customer.seats[0].registered()).call(DIALLED)
    assert call.status == 200
    before = set(node.failed_records())
    await asyncio.to_thread(office.system.api.stop)
    await call.hangup()

    async def given_up() -> bool:
        return len(set(node.failed_records()) - before) == 2

    await until(given_up, "the node has kept both records", limit_seconds=GIVEN_UP_LIMIT_SECONDS)
    office.system.api.start()
    await asyncio.to_thread(office.system.wait_api)
    await asyncio.sleep(SEEN_SECONDS)
    hours_later(office.system)
    try:
        missing = await missing_calls(office, customer, 2)
        assert {call["leg_id"] for call in missing} == {file.name.partition(".")[0] for file in node.failed_records()}
        await asyncio.to_thread(office.system.ship, node)
        hours_later(office.system, 3)
        await missing_calls(office, customer, 0)
    finally:
        office.system.travel_to(None)
    assert len(await customer.legs(2)) == 2
    assert len(await customer.charges(1)) == 1
    assert node.failed_records() == []


async def test_a_call_to_a_number_that_nobody_has_is_counted_and_nothing_of_it_waits(
    office: Office, carrier: Carrier
) -> None:
    node = await home_of(office, await office.customer(seats=1))
    waiting = (await office.operator.get("/v1/set-aside-records"))["unresolved"]
    call = await carrier.call(NOBODYS, switch=node.external_sip, caller_number="13900139000")
    assert call.status == 404

    async def counted_so() -> bool:
        found = await office.operator.items("/v1/stray-calls", node=node.name, reason="unknown_number")
        return any(each["number"] == NOBODYS.removeprefix("+") for each in found)

    await until(counted_so, "the call is counted", limit_seconds=COUNT_LIMIT_SECONDS)
    assert (await office.operator.get("/v1/set-aside-records"))["unresolved"] == waiting


async def test_the_calls_of_a_node_that_was_killed_are_reported_and_not_invented(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    node = await home_of(office, customer)
    phone = await customer.seats[0].registered()
    for _ in range(CALLS_BEFORE):
        before = await phone.call(DIALLED)
        assert before.status == 200
        await before.hangup()
    call = await phone.call(DIALLED)
    assert call.status == 200
    # At once: the node has had no time to say how many it has begun; what it said of this one has just been heard.
    await asyncio.sleep(EVENT_SECONDS)
    node.process.kill()
    try:
        await asyncio.to_thread(office.system.wait_node, node.name, "dead")
        hours_later(office.system)
        missing = await missing_calls(office, customer, 2)
        assert {each["node"] for each in missing} == {node.name}
        assert any(DIALLED in each["destination"] for each in missing)
        assert {each["answered_at"] is not None for each in missing} == {True}
        recorded = await office.operator.items("/v1/calls", tenant_id=customer.tenant_id)
        assert {each["leg_id"] for each in recorded}.isdisjoint(each["leg_id"] for each in missing)
        assert len(recorded) <= 2 * CALLS_BEFORE
        assert len(await customer.charges_now()) <= CALLS_BEFORE
        path = f"/v1/completeness/{node.name}/{missing[0]['hour']}/sign-off"
        signed = await office.finance.post(path, reason="the node was killed")
        assert (signed["state"], signed["missing"] >= 2) == ("signed_off", True)
    finally:
        office.system.travel_to(None)
        node.process.start()
        await asyncio.to_thread(office.system.wait_node, node.name, "active")
