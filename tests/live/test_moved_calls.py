"""Calls that go on at the node that a tenant has moved away from."""

from __future__ import annotations

from typing import Any

from switch.sip.carrier import Carrier
from tests.live.customers import Office
from tests.live.waiting import until

DIALLED = "13800138000"


async def test_a_call_left_behind_by_a_move_counts_against_the_limits(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    await customer.may(calls_per_seat=1)
    seat = customer.seats[0]
    running = await (await seat.registered()).call(DIALLED)
    assert running.status == 200
    here = await customer.serving_node()
    there = next(name for name in office.system.nodes if name != here)

    async def legs_here() -> list[Any]:
        legs = await office.operator.items("/v1/live/calls", tenant_id=customer.tenant_id)
        return [leg for leg in legs if leg["node"] == here and leg["state"] == "answered"]

    async def is_over() -> bool:
        return not await legs_here()

    await until(legs_here, "the live view shows the call", limit_seconds=20)
    await office.operator.post(f"/v1/tenants/{customer.tenant_id}/move", home_node=there, reason="an attempt")
    moved = await seat.registered()
    assert ((await moved.call(DIALLED)).status, running.is_live) == (486, True)
    await running.hangup()
    await until(is_over, "the live view has forgotten the call", limit_seconds=20)
    call = await moved.call(DIALLED)
    assert call.status == 200, "the seat is free again"
    await call.hangup()
    assert await customer.refusals(1) == ["too_many_calls_of_seat"]
