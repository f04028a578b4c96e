"""A phone sends its party elsewhere, or joins two (RFC 3515, RFC 3891), as FreeSWITCH does it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from switch.esl.client import EslConnection
from switch.esl.frames import Event
from switch.relay_guard import CHANNEL_BRIDGE, RelayGuard
from switch.simulator.channel import Channel
from switch.simulator.listing import listed_channels
from switch.sip.call import Call
from switch.sip.phone import Phone
from switch.sip.policy import answers, busy
from tests.switch.guarding import look_at
from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD

LIMIT_SECONDS = 5.0
MOST_TURNS = 10_000
"""Of the event loop, before a call that was answered must be bridged."""

STAYS = ("set", "force_transfer_context=seats")
ENDS = ("set", "hangup_after_bridge=true")
OUT = [
    ENDS,
    ("set", "seatline_leg=caller"),
    ("bridge", "{seatline_leg=gateway,force_transfer_context=seats}sofia/gateway/carrier/13800138000"),
]
NUMBER, OUTSIDE = "2000", "13900139000"


def seat(extension: str) -> list[tuple[str, str]]:
    return [STAYS, ENDS, ("bridge", f"{{seatline_leg=seat,force_transfer_context=seats}}user/{extension}@{DOMAIN}")]


@pytest.fixture
async def agents(world: World) -> tuple[Phone, Phone]:
    """Two seats that ring each other, call out, and of which the first rings for calls from outside."""
    came_in = [("set", "seatline_leg=gateway"), *seat("1001")]
    world.office.dialplan |= {"1001": seat("1001"), "1002": seat("1002"), "013800138000": OUT, NUMBER: came_in}
    return await world.registered("1001"), await world.registered("1002")


async def from_outside(world: World, agent: Phone) -> tuple[Call, Call]:
    """A call that came in, as its caller and as the agent has it."""
    outside = await world.carrier.call(NUMBER, switch=world.node.sip_address("external"), caller_number=OUTSIDE)
    talk = await agent.next_call(LIMIT_SECONDS)
    assert outside.is_live
    await is_live(talk, world)
    return outside, talk


async def to_outside(world: World, agent: Phone) -> tuple[Call, Call]:
    """A call that goes out, as the agent has it and as the carrier does."""
    talk = await agent.call("013800138000")
    called = await world.carrier.next_call(LIMIT_SECONDS)
    await is_live(called, world)
    return talk, called


async def is_live(call: Call, world: World | None = None) -> None:
    """Answered, and bridged where the switch is asked too."""
    assert await call.wait_settled(LIMIT_SECONDS) == 200
    assert call.is_live
    for _ in range(MOST_TURNS):
        if world is None or leg(world, call).peer is not None:
            return
        await asyncio.sleep(0)
    raise AssertionError("the call is bridged with nobody")


def to(extension: str, replaced: Call | None = None, *, domain: str = DOMAIN) -> str:
    if replaced is None:
        return f"<sip:{extension}@{domain}>"
    assert replaced.dialog is not None
    call_id, local_tag, remote_tag = replaced.dialog.key
    value = quote(f"{call_id};to-tag={remote_tag};from-tag={local_tag}", safe="")
    return f"<sip:{extension}@{domain}?Replaces={value}>"


async def recorded(world: World, count: int) -> dict[str, dict[str, Any]]:
    """Call records by the leg's uuid."""
    return {record["uuid"]: record for record in await world.office.wait_records(count)}


def leg(world: World, call: Call) -> Channel:
    """The switch's own side of a call."""
    found = [each for each in world.node.core.channels.values() if each.variables.get("sip_call_id") == call.call_id]
    assert len(found) == 1
    return found[0]


async def test_a_party_that_called_in_goes_through_the_dialplan_again_where_it_must_stay(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    outside, talk = await from_outside(world, agents[0])
    party, referrer = leg(world, outside), leg(world, talk)
    world.office.forms.clear()
    assert await talk.transfer(to("1002")) == 202
    taken = await agents[1].next_call(LIMIT_SECONDS)
    assert await talk.wait_ended(LIMIT_SECONDS) == "them"
    await is_live(taken, world)
    assert outside.is_live
    (asked,) = [form for form in world.office.forms if form["section"] == "dialplan"]
    assert (asked["Caller-Context"], asked["Caller-Destination-Number"]) == ("seats", "1002")
    assert (asked["Caller-Caller-ID-Number"], asked["Caller-RDNIS"]) == (OUTSIDE, NUMBER)
    await outside.hangup()
    assert await taken.wait_ended(LIMIT_SECONDS) == "them"
    records = await recorded(world, 3)
    sent, ended = records[party.uuid], records[referrer.uuid]
    assert sent["sip_refer_to"] == to("1002")
    assert sent["max_forwards"] == "69"
    assert ":bl_xfer:1002/seats/XML" in sent["transfer_source"]
    assert sent["last_bridge_role"] == "originator"
    assert (ended["endpoint_disposition"], ended["transfer_disposition"]) == ("BLIND_TRANSFER", "recv_replace")
    assert (ended["transfer_to"], ended["transfer_destination"]) == (f"blind:{party.uuid}", "blind:1002")
    assert ended["hangup_cause"] == "NORMAL_CLEARING"


async def test_the_list_of_legs_says_where_a_party_went_first_and_who_holds(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    talk, called = await to_outside(world, agents[0])
    party = leg(world, called).uuid

    def listed() -> tuple[str, str, str]:
        (row,) = [each for each in listed_channels(world.node.core) if each["uuid"] == party]
        return row["callstate"], row["initial_dest"], row["dest"]

    assert listed() == ("ACTIVE", "13800138000", "13800138000")
    assert await called.hold() == 200
    assert listed()[0] == "HELD"
    assert await called.resume() == 200
    assert listed()[0] == "UNHELD"
    assert await talk.transfer(to("1002")) == 202
    await is_live(await agents[1].next_call(LIMIT_SECONDS), world)
    assert listed() == ("ACTIVE", "13800138000", "1002")
    await called.hangup()


async def test_a_party_that_was_called_is_the_caller_of_its_next_call(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    talk, called = await to_outside(world, agents[0])
    party = leg(world, called)
    assert await talk.transfer(to("1002")) == 202
    taken = await agents[1].next_call(LIMIT_SECONDS)
    await is_live(taken, world)
    assert await talk.wait_ended(LIMIT_SECONDS) == "them"
    assert called.is_live
    assert taken.request is not None
    assert "13800138000" in taken.request.header("From")
    await taken.hangup()
    assert await called.wait_ended(LIMIT_SECONDS) == "them"
    records = await recorded(world, 3)
    assert records[party.uuid]["call_uuid"] == party.uuid
    assert [record.get("originator") for record in records.values()].count(party.uuid) == 1


async def test_a_transfer_to_nowhere_and_one_to_somebody_who_is_busy_end_the_party(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    agents[1].policy = busy()
    for target in ("1777", "1002"):
        talk, called = await to_outside(world, agents[0])
        assert await talk.transfer(to(target)) == 202
        assert await called.wait_ended(LIMIT_SECONDS) == "them"
        assert await talk.wait_ended(LIMIT_SECONDS) == "them"
    assert await world.node.core.wait_empty(LIMIT_SECONDS)


async def test_a_party_is_sent_on_again_and_again_until_it_has_gone_round_too_often(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    outside, talk = await from_outside(world, agents[0])
    for agent, extension in ((agents[1], "1002"), (agents[0], "1001"), (agents[1], "1002")):
        assert await talk.transfer(to(extension)) == 202
        talk = await agent.next_call(LIMIT_SECONDS)
        await is_live(talk, world)
        assert outside.is_live
    leg(world, outside).variables["max_forwards"] = "1"
    assert await talk.transfer(to("1001")) == 202
    assert await outside.wait_ended(LIMIT_SECONDS) == "them"
    assert "EXCHANGE_ROUTING_ERROR" in {record["hangup_cause"] for record in (await recorded(world, 5)).values()}


async def test_two_parties_are_joined_and_hear_each_other_until_one_hangs_up(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    first, called = await to_outside(world, agents[0])
    second = await agents[0].call("1002")
    taken = await agents[1].next_call(LIMIT_SECONDS)
    await is_live(taken, world)
    party, colleague = leg(world, called), leg(world, taken)
    own = [leg(world, first).uuid, leg(world, second).uuid]
    assert await first.transfer(to("1002", second)) == 202
    assert [await call.wait_ended(LIMIT_SECONDS) for call in (first, second)] == ["them", "them"]
    assert called.is_live
    assert taken.is_live
    assert (party.peer, party.is_leader) == (colleague, True)
    await taken.hangup()
    assert await called.wait_ended(LIMIT_SECONDS) == "them"
    records = await recorded(world, 4)
    referrer, replaced = (records[uuid] for uuid in own)
    assert (referrer["refer_uuid"], referrer["transfer_to"]) == (own[1], f"att:{colleague.uuid}")
    assert (replaced["endpoint_disposition"], replaced["transfer_disposition"]) == ("ATTENDED_TRANSFER", "replaced")
    assert records[colleague.uuid]["transfer_disposition"] == "bridge"
    assert records[colleague.uuid]["bridge_uuid"] == party.uuid
    assert {records[each.uuid]["hangup_cause"] for each in (party, colleague)} == {"NORMAL_CLEARING"}
    assert {records[each.uuid]["call_uuid"] for each in (party, colleague)} == {party.uuid}


async def test_two_outside_parties_that_are_joined_are_seen_by_the_guard(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    connection = await EslConnection.open(*world.node.event_socket_address, ESL_PASSWORD)
    await connection.subscribe(CHANNEL_BRIDGE)
    guard = RelayGuard("node-1", LIMIT_SECONDS)
    outside, first = await from_outside(world, agents[0])
    second, called = await to_outside(world, agents[0])
    assert await first.transfer(to("013800138000", second)) == 202
    async with connection, asyncio.timeout(LIMIT_SECONDS):
        for _ in range(3):  # two calls, and what was made of them
            await look_at(guard, await _bridge_event(connection), connection)
    assert await outside.wait_ended(LIMIT_SECONDS) == "them"
    assert await called.wait_ended(LIMIT_SECONDS) == "them"
    records = (await recorded(world, 4)).values()
    assert [record.get("seatline_refusal") for record in records].count("relaying_not_allowed") == 2


async def _bridge_event(connection: EslConnection) -> Event:
    while (event := await connection.next_event()) is not None:
        if event.name == CHANNEL_BRIDGE:
            return event
    raise AssertionError("the connection ended")


async def test_a_party_that_was_joined_can_be_sent_on(world: World, agents: tuple[Phone, Phone]) -> None:
    first, called = await to_outside(world, agents[0])
    second = await agents[0].call("1002")
    taken = await agents[1].next_call(LIMIT_SECONDS)
    await is_live(taken, world)
    assert await first.transfer(to("1002", second)) == 202
    assert await second.wait_ended(LIMIT_SECONDS) == "them"
    assert await taken.transfer(to("1001")) == 202
    again = await agents[0].next_call(LIMIT_SECONDS)
    await is_live(again, world)
    assert await taken.wait_ended(LIMIT_SECONDS) == "them"
    assert called.is_live
    await again.hangup()
    assert await called.wait_ended(LIMIT_SECONDS) == "them"


async def test_the_address_of_a_call_on_another_machine_is_called_where_nothing_else_is_configured(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    talk, called = await to_outside(world, agents[0])
    async with Phone("7", DOMAIN, server=world.carrier.address, password="x", policy=answers()) as elsewhere:
        host, port = elsewhere.address
        target = f"<sip:7@{host}:{port}?Replaces=not-there%40nowhere%3Bto-tag%3Da%3Bfrom-tag%3Db>"
        assert await talk.transfer(target) == 202
        reached = await elsewhere.next_call(LIMIT_SECONDS)
        await is_live(reached, world)
        assert reached.request is not None
        assert reached.request.header("Replaces") == "not-there@nowhere;to-tag=a;from-tag=b"
        assert await talk.wait_ended(LIMIT_SECONDS) == "them"
        assert called.is_live
        await called.hangup()
        assert await reached.wait_ended(LIMIT_SECONDS) == "them"


@pytest.mark.parametrize(
    ("refer_to", "status"), [("<mailto:a@b>", 400), ("nonsense", 400), ("<sip:tenant.example>", 202)]
)
async def test_what_cannot_be_carried_out_leaves_the_call_as_it_is(
    world: World, agents: tuple[Phone, Phone], refer_to: str, status: int
) -> None:
    talk, called = await to_outside(world, agents[0])
    assert await talk.transfer(refer_to) == status
    assert leg(world, talk).peer is leg(world, called)


async def test_what_a_phone_does_in_the_moment_of_its_answer_is_not_lost(
    world: World, agents: tuple[Phone, Phone]
) -> None:
    outside = await world.carrier.dial(NUMBER, switch=world.node.sip_address("external"), caller_number=OUTSIDE)
    talk = await agents[0].next_call(LIMIT_SECONDS)
    assert await talk.wait_settled(LIMIT_SECONDS) == 200
    await talk.hangup()
    assert await outside.wait_ended(LIMIT_SECONDS) == "them"
    assert await world.node.core.wait_empty(LIMIT_SECONDS)


async def test_a_call_that_is_bridged_with_nobody_cannot_be_sent_on(world: World, agents: tuple[Phone, Phone]) -> None:
    world.office.dialplan["500"] = [("answer", ""), ("park", "")]
    talk = await agents[0].call("500")
    assert await talk.transfer(to("1002")) == 202
    assert talk.is_live
    assert await talk.transfer(to("1002", talk)) == 202
    assert talk.is_live
    assert leg(world, talk).variables["endpoint_disposition"] == "ATTENDED_TRANSFER_ERROR"
