"""Every call that a node begins is accounted for: by its record, or as missing with what was seen of it.

A node's numbers never go back to an earlier hour, so these tests travel beyond wherever others have been before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from switch.record_shipping import MIN_AGE_SECONDS
from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Office
from tests.live.system import LiveNode, LiveSystem
from tests.live.waiting import until

DIALLED = "13800138000"
COUNT_LIMIT_SECONDS = 60.0
SEEN_SECONDS = 3.0
"""Longer than a supervisor takes between two looks."""

GIVEN_UP_LIMIT_SECONDS = 30.0


async def counted(office: Office, node: LiveNode) -> list[Mapping[str, Any]]:
    """The hours of a node, once all of them are counted for good."""

    async def look() -> list[Mapping[str, Any]] | None:
        hours = await office.operator.items("/v1/completeness", node=node.name)
        return hours if all(hour["state"] != "counting" for hour in hours) else None

    return await until(look, f"the hours of {node.name} are counted", limit_seconds=COUNT_LIMIT_SECONDS)


async def missing_calls(office: Office, customer: Customer, count: int) -> list[Mapping[str, Any]]:
    """A customer's calls without a record, as soon as there are so many."""

    async def look() -> list[list[Mapping[str, Any]]] | None:
        found = await office.operator.items("/v1/missing-calls", tenant_id=customer.tenant_id)
        return [found] if len(found) == count else None

    return (await until(look, f"{count} missing calls", limit_seconds=COUNT_LIMIT_SECONDS))[0]


def hours_later(system: LiveSystem, hours: int = 2) -> None:
    """Let the hour of the calls be over, and every hour in which another test has been."""
    system.travel_to(max(datetime.now(UTC), system.furthest) + timedelta(hours=hours))


async def home_of(office: Office, customer: Customer) -> LiveNode:
    """The node that serves a customer."""
    return office.system.nodes[await customer.serving_node()]


async def test_after_the_hour_every_call_has_its_record(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=3)
    node = await home_of(office, customer)
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
    assert latest["started"] == latest["accepted"] + latest["explained"] + latest["missing"]
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
        await asyncio.to_thread(ship, office.system, node)
        hours_later(office.system, 3)
        await missing_calls(office, customer, 0)
    finally:
        office.system.travel_to(None)
    assert len(await customer.legs(2)) == 2
    assert len(await customer.charges(1)) == 1
    assert node.failed_records() == []


def grow_old(path: Path) -> None:
    """As if the node had written this file a while ago."""
    written = path.stat().st_mtime - 2 * MIN_AGE_SECONDS
    os.utime(path, (written, written))


def ship(system: LiveSystem, node: LiveNode) -> None:
    """Run the node's shipper until nothing is left; files that are too young wait for the next round."""
    for path in (*node.failed_records(), *node.all_records()):
        grow_old(path)
    assert " 0 left" in system.seatline("cdr", "ship", str(node.directory))


async def test_the_calls_of_a_node_that_was_killed_are_reported_and_not_invented(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    node = await home_of(office, customer)
    call = await (await customer.seats[0].registered()).call(DIALLED)
    assert call.status == 200
    await asyncio.sleep(SEEN_SECONDS)
    node.process.kill()
    try:
        await asyncio.to_thread(office.system.wait_node, node.name, "dead")
        hours_later(office.system)
        missing = await missing_calls(office, customer, 2)
        assert {each["node"] for each in missing} == {node.name}
        assert any(DIALLED in each["destination"] for each in missing)
        assert {each["answered_at"] is not None for each in missing} == {True}
        assert await office.operator.items("/v1/calls", tenant_id=customer.tenant_id) == []
        assert await customer.charges_now() == []
        path = f"/v1/completeness/{node.name}/{missing[0]['hour']}/sign-off"
        signed = await office.finance.post(path, reason="the node was killed")
        assert (signed["state"], signed["missing"] >= 2) == ("signed_off", True)
    finally:
        office.system.travel_to(None)
        node.process.start()
        await asyncio.to_thread(office.system.wait_node, node.name, "active")
