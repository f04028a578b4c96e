"""What goes on at the nodes is seen as it is: from events, and put right when events were lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Desk, Office
from tests.live.cut_line import cuttable
from tests.live.waiting import until

DIALLED = "13800138000"
OK = 200
SEEN_LIMIT_SECONDS = 15.0
HEALED_LIMIT_SECONDS = 45.0
"""A supervisor that was killed keeps its lease for up to 15 s; after that the view is compared with the node."""

ENDED_LIMIT_SECONDS = 10.0
STREAM_LIMIT_SECONDS = 20.0

pytestmark = pytest.mark.usefixtures("carrier")


@contextlib.asynccontextmanager
async def desk_of(customer: Customer, role: str = "tenant_admin") -> AsyncGenerator[tuple[Desk, str]]:
    """Somebody of the tenant's own at the API, and the id of their client."""
    made = await customer.office.operator.post("/v1/clients", name=role, role=role, tenant_id=customer.tenant_id)
    async with httpx.AsyncClient(base_url=customer.office.system.url, trust_env=False, timeout=15) as http:
        yield Desk(http, (made["client_id"], made["client_secret"])), made["client_id"]


async def live_calls(
    customer: Customer, count: int, *, connected: bool = False, limit_seconds: float = SEEN_LIMIT_SECONDS
) -> list[Any]:
    """The legs of a customer that run now, as soon as there are so many, all explained (and connected)."""

    async def look() -> list[list[Any]] | None:
        found = await customer.office.operator.items("/v1/live/calls", tenant_id=customer.tenant_id)
        wanted = ("direction", "leg", "other_leg_id") if connected else ("direction", "leg")
        is_so = len(found) == count and all(leg[name] for leg in found for name in wanted)
        return [found] if is_so else None

    return (await until(look, f"{count} live legs of {customer.domain}", limit_seconds=limit_seconds))[0]


async def registered(customer: Customer, extensions: list[str]) -> list[Mapping[str, Any]]:
    """The registrations of a customer, as soon as they are those of these extensions."""

    async def look() -> list[list[Any]] | None:
        found = await customer.office.operator.items("/v1/live/registrations", tenant_id=customer.tenant_id)
        return [found] if sorted(each["username"] for each in found) == sorted(extensions) else None

    return (await until(look, f"registrations {extensions}", limit_seconds=SEEN_LIMIT_SECONDS))[0]


async def test_calls_and_registrations_are_seen_by_their_tenant_and_nobody_else(office: Office) -> None:
    customer, other = await office.customer(seats=2), await office.customer(seats=1)
    first, second = [await seat.registered() for seat in customer.seats]
    call = await first.call(DIALLED)
    assert call.status == OK

    legs = {leg["leg"]: leg for leg in await live_calls(customer, 2, connected=True)}
    caller, gateway = legs["caller"], legs["gateway"]
    assert (caller["state"], gateway["state"]) == ("answered", "answered")
    assert (caller["direction"], gateway["destination"]) == ("outbound", "8613800138000")
    assert caller["seat_id"] == gateway["seat_id"] == customer.seats[0].seat_id
    assert caller["node"] == await customer.serving_node()
    assert gateway["gateway"] == "carrier"
    assert (caller["other_leg_id"], gateway["other_leg_id"]) == (gateway["leg_id"], caller["leg_id"])
    phones = await registered(customer, [seat.extension for seat in customer.seats])
    assert {phone["transport"] for phone in phones} == {"udp"}

    async with desk_of(other, "tenant_viewer") as (stranger, _), desk_of(customer, "tenant_viewer") as (own, _):
        assert await stranger.items("/v1/live/calls") == []
        assert await stranger.items("/v1/live/registrations") == []
        assert len(await own.items("/v1/live/calls")) == 2
    await call.hangup()
    await live_calls(customer, 0)
    await second.unregister()
    await registered(customer, [customer.seats[0].extension])
    await customer.suspend()
    await registered(customer, [])


async def test_a_tenant_hangs_up_its_own_call_and_not_anothers(office: Office) -> None:
    customer, other = await office.customer(seats=1), await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call(DIALLED)
    assert call.status == OK
    leg = next(each for each in await live_calls(customer, 2) if each["leg"] == "caller")
    path = f"/v1/live/calls/{leg['leg_id']}/hangup"
    async with desk_of(other) as (stranger, _), desk_of(customer) as (own, _):
        with pytest.raises(AssertionError, match="404"):
            await stranger.post(path)
        assert call.is_live
        assert (await own.post(path))["leg_id"] == leg["leg_id"]
        assert await call.wait_ended(ENDED_LIMIT_SECONDS) == "them"
        await live_calls(customer, 0)
        with pytest.raises(AssertionError, match="live_call_not_found"):
            await own.post(path)


async def test_an_emergency_call_is_not_hung_up(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call("110")
    assert call.status == OK
    leg = (await live_calls(customer, 2))[0]
    with pytest.raises(AssertionError, match="emergency_call"):
        await office.operator.post(f"/v1/live/calls/{leg['leg_id']}/hangup")
    assert call.is_live
    await call.hangup()


async def test_a_call_in_is_the_called_tenants(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    await customer.seats[0].registered()
    node = office.system.nodes[await customer.serving_node()]
    call = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
    assert call.status == OK
    legs = {leg["leg"]: leg for leg in await live_calls(customer, 2)}
    assert set(legs) == {"gateway", "seat"}
    assert {leg["direction"] for leg in legs.values()} == {"inbound"}
    assert legs["gateway"]["caller"] == "13900139000"
    await call.hangup()
    await live_calls(customer, 0)


async def test_what_ended_while_the_supervisor_was_dead_is_gone_and_what_began_is_seen(office: Office) -> None:
    customer = await office.customer(seats=2)
    first, second = [await seat.registered() for seat in customer.seats]
    before = await first.call(DIALLED)
    seen = {leg["leg_id"] for leg in await live_calls(customer, 2)}
    office.system.switchd.kill()
    try:
        await before.hangup()
        during = await second.call(DIALLED)
        assert during.status == OK
    finally:
        office.system.switchd.start()

    async def is_new() -> bool:
        legs = await office.operator.items("/v1/live/calls", tenant_id=customer.tenant_id)
        return len(legs) == 2 and not seen & {leg["leg_id"] for leg in legs}

    await until(is_new, "the view is right again", limit_seconds=HEALED_LIMIT_SECONDS)
    legs = await live_calls(customer, 2)
    assert {leg["seat_id"] for leg in legs} == {customer.seats[1].seat_id}
    await during.hangup()
    await live_calls(customer, 0)


async def test_a_line_that_is_cut_within_an_event_loses_nothing_for_long(office: Office) -> None:
    customer = await office.customer(seats=2)
    first, second = [await seat.registered() for seat in customer.seats]
    async with cuttable(office.system, await customer.serving_node()) as line:

        async def is_used() -> bool:
            return line.connections > 0

        await until(is_used, "the supervisor uses the line", limit_seconds=HEALED_LIMIT_SECONDS)
        call = await first.call(DIALLED)
        await live_calls(customer, 2)
        line.cut_within_event()
        other = await second.call(DIALLED)
        await call.hangup()

        async def is_right() -> bool:
            legs = await office.operator.items("/v1/live/calls", tenant_id=customer.tenant_id)
            return len(legs) == 2 and {leg["seat_id"] for leg in legs} == {customer.seats[1].seat_id}

        await until(is_right, "the view is right again", limit_seconds=HEALED_LIMIT_SECONDS)
        assert line.cuts == 1
        await other.hangup()
        await live_calls(customer, 0)


async def test_calls_of_a_node_that_was_killed_are_not_shown_for_long(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call(DIALLED)
    assert call.status == OK
    await live_calls(customer, 2)
    node = office.system.nodes[await customer.serving_node()]
    node.process.kill()
    try:
        await asyncio.to_thread(office.system.wait_node, node.name, "dead")
        await live_calls(customer, 0)
        await registered(customer, [])
    finally:
        node.process.start()
        await asyncio.to_thread(office.system.wait_node, node.name, "active")


async def events(lines: AsyncIterator[str]) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """The named events of a stream."""
    name = ""
    async for line in lines:
        if line.startswith("event:"):
            name = line.partition(":")[2].strip()
        elif line.startswith("data:"):
            yield name, json.loads(line.partition(":")[2])


async def test_a_console_hears_of_its_own_calls_until_its_token_ends(office: Office) -> None:
    customer, other = await office.customer(seats=1), await office.customer(seats=1)
    phone, stranger = await customer.seats[0].registered(), await other.seats[0].registered()
    async with (
        desk_of(customer, "tenant_viewer") as (desk, client_id),
        asyncio.timeout(3 * STREAM_LIMIT_SECONDS),
        desk.stream("/v1/live/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        heard = events(answer.aiter_lines())
        name, content = await anext(heard)
        assert (name, content["calls"]) == ("snapshot", [])
        theirs, ours = await stranger.call(DIALLED), await phone.call(DIALLED)
        assert (theirs.status, ours.status) == (OK, OK)
        legs: dict[str, str] = {}
        while sorted(legs.values()) != ["answered", "answered"]:
            name, content = await anext(heard)
            assert name == "change"
            changed = content["calls"]["changed"]
            assert all(leg["tenant_id"] == customer.tenant_id for leg in changed)
            legs |= {leg["leg_id"]: leg["state"] for leg in changed}
        await ours.hangup()
        while legs:
            name, content = await anext(heard)
            for leg in content["calls"]["ended"]:
                legs.pop(leg["leg_id"])
        await theirs.hangup()
        await office.operator.post(f"/v1/clients/{client_id}/revocation")
        while name != "end":
            name, content = await anext(heard)
        assert content == {"reason": "token_ended"}
