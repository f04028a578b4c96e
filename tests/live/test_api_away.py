"""While the API is away, phones and carriers are told to come again; nobody is told to go away for good."""

from __future__ import annotations

import asyncio

from switch.sip.carrier import Carrier
from tests.live.customers import Office
from tests.live.waiting import until

UNAVAILABLE = 503
PAUSED_LIMIT_SECONDS = 15.0
BACK_LIMIT_SECONDS = 20.0


async def test_while_the_api_is_away_phones_and_carriers_are_told_to_come_again(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=2)
    registered, other = customer.seats
    phone = await registered.registered()
    node = office.system.nodes[await customer.serving_node()]
    running = await phone.call("13800138000")
    assert running.status == 200
    new = await other.phone()
    await asyncio.to_thread(office.system.api.stop)
    try:
        # At once, from the node's own files: a carrier tries another way in.
        call = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
        assert call.status == UNAVAILABLE

        async def is_paused() -> bool:
            return await new.register() == UNAVAILABLE

        await until(is_paused, "a REGISTER is answered for the moment", limit_seconds=PAUSED_LIMIT_SECONDS)
        assert await phone.register() == UNAVAILABLE
        for dialled in ("13800138001", "110"):
            assert (await phone.call(dialled)).status == UNAVAILABLE
        call = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
        assert call.status == UNAVAILABLE
    finally:
        office.system.api.start()
        await asyncio.to_thread(office.system.wait_api)

    async def is_back() -> bool:
        return await new.register() == 200

    await until(is_back, "registrations are taken again", limit_seconds=BACK_LIMIT_SECONDS)
    await running.hangup()
    states = {item["name"]: item["state"] for item in await office.operator.items("/v1/nodes")}
    assert set(states.values()) == {"active"}, "a node that waits for the API is not dead"
    assert (await customer.serving_node()) == node.name
    call = await (await registered.registered()).call("13800138000")
    assert call.status == 200
    await call.hangup()
    await asyncio.to_thread(office.system.ship, node)
    turned_away = await office.operator.items("/v1/stray-calls", node=node.name, reason="switch_away")
    assert customer.number.removeprefix("+") in {each["number"] for each in turned_away}
