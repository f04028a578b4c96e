"""A maintenance window from its announcement to its end on real nodes: seats stay open, calls end by themselves.

It travels by days and back, and leaves its window closed and every node in service, also where it fails in the middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from infra.kit import clock
from tests.live.customers import Customer, Office
from tests.live.test_drain import answer_to_options
from tests.live.waiting import until

DIALLED = "13800138000"
OK = 200
BUSY = 503
STEP_LIMIT_SECONDS = 60.0
PATH = "/v1/maintenance-windows"

pytestmark = pytest.mark.usefixtures("carrier")


async def place_of(office: Office, window_id: str, node: str, *states: str) -> Mapping[str, Any]:
    """Wait until a node stands there in its window."""

    async def look() -> Mapping[str, Any] | None:
        nodes = (await office.operator.get(f"{PATH}/{window_id}/nodes"))["nodes"]
        return next((each for each in nodes if each["node"] == node and each["state"] in states), None)

    return await until(look, f"{node} is {' or '.join(states)} in its window", limit_seconds=STEP_LIMIT_SECONDS)


async def is_done(office: Office, window_id: str) -> Mapping[str, Any]:
    """Wait until the window is closed."""

    async def look() -> Mapping[str, Any] | None:
        listed = await office.operator.items(PATH, state="done")
        return next((each for each in listed if each["window_id"] == window_id), None)

    return await until(look, f"{window_id} is done", limit_seconds=STEP_LIMIT_SECONDS)


async def moves_away(customer: Customer, node: str) -> None:
    """Wait until another node serves the customer."""

    async def look() -> bool:
        return await customer.serving_node() != node

    await until(look, f"{customer.domain} has left {node}", limit_seconds=STEP_LIMIT_SECONDS)


async def is_left_in_order(office: Office, window_id: str) -> None:
    """Have the window closed and every node back in service, wherever the test ended, and return to the present."""
    try:
        window = next(each for each in await office.operator.items(PATH) if each["window_id"] == window_id)
        is_planned = window["state"] == "announced"
        if is_planned and (await office.operator.get(f"{PATH}/{window_id}/nodes"))["nodes"]:
            await office.operator.post(f"{PATH}/{window_id}/closure", ended_at=window["begins_at"])
        elif is_planned:
            office.system.travel_to(None)
            await office.operator.post(f"{PATH}/{window_id}/cancellation", reason="the test ended before it began")
        for name in office.system.nodes:
            await asyncio.to_thread(office.system.wait_node, name, "active")
    finally:
        office.system.travel_to(None)


async def test_a_window_takes_both_nodes_one_after_another_and_seats_stay_open(office: Office) -> None:
    customer = await office.customer(seats=2)
    node = await customer.serving_node()
    other = next(name for name in office.system.nodes if name != node)
    begins_at = clock.local_midnight(clock.today() + timedelta(days=5)) + timedelta(hours=2)
    window = await office.operator.post(
        PATH,
        begins_at=begins_at.isoformat(),
        ends_at=(begins_at + timedelta(hours=2)).isoformat(),
        note="a new release of the switch",
        nodes=[node, other],
    )
    window_id = window["window_id"]
    try:
        office.system.travel_to(begins_at - timedelta(minutes=1))
        phone = await customer.seats[0].registered()
        call = await phone.call(DIALLED)
        assert call.status == OK
        office.system.travel_to(begins_at)

        await place_of(office, window_id, node, "draining")
        await moves_away(customer, node)
        # Whoever carries a window on finds in the database where it stands.
        for process in (office.system.worker, office.system.api):
            await asyncio.to_thread(process.stop)
            process.start()
        await asyncio.to_thread(office.system.wait_api)
        assert call.is_live, "a running call ends by itself"
        elsewhere = await customer.seats[1].phone()

        async def is_taken() -> bool:
            return await elsewhere.register() == OK  # 503 while the node waits for the API

        await until(is_taken, "phones register again after the API's restart", limit_seconds=STEP_LIMIT_SECONDS)
        again = await elsewhere.call(DIALLED)
        assert again.status == OK
        await again.hangup()
        assert call.is_live
        await call.hangup()
        await place_of(office, window_id, node, "out")
        assert await answer_to_options(office.system.nodes[node].sip) == BUSY
        await place_of(office, window_id, other, "waiting")

        kept = await elsewhere.call(DIALLED)
        assert kept.status == OK
        await office.operator.post(f"{PATH}/{window_id}/nodes/{node}/done")
        await place_of(office, window_id, node, "back")
        await place_of(office, window_id, other, "draining")
        await moves_away(customer, other)
        assert await answer_to_options(office.system.nodes[node].sip) == OK
        returned = await (await customer.seats[0].registered()).call(DIALLED)
        assert returned.status == OK
        await returned.hangup()
        assert kept.is_live, "also one at the second node"
        await kept.hangup()
        await place_of(office, window_id, other, "out")
        assert await answer_to_options(office.system.nodes[other].sip) == BUSY
        await office.operator.post(f"{PATH}/{window_id}/nodes/{other}/done")
        await place_of(office, window_id, other, "back")

        done = await is_done(office, window_id)
        assert done["ended_at"] < done["ends_at"]
        for each in (node, other):
            assert await answer_to_options(office.system.nodes[each].sip) == OK
        assert await customer.serving_node() == node
        assert await office.operator.items("/v1/faults", tenant_id=customer.tenant_id) == []
        legs = [leg for leg in await customer.legs(8) if leg["leg"] == "gateway"]
        assert [leg["hangup_cause"] for leg in legs] == ["NORMAL_CLEARING"] * 4
        assert sorted(leg["node"] for leg in legs) == sorted([node, other, node, other])
        assert {each["leg_id"] for each in await customer.charges(4)} == {leg["leg_id"] for leg in legs}
        credits = await office.operator.get(f"/v1/contracts/{customer.contract_id}/fault-credits")
        assert credits["credit"] == "0.00"
    finally:
        await is_left_in_order(office, window_id)
