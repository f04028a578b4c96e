"""A node takes a running call over for whoever names it in an INVITE (RFC 3891), as mod_sofia does."""

from __future__ import annotations

import pytest

from switch.documents.unrouted import ROUTED, ends_unrouted
from switch.sip.call import Call
from switch.sip.phone import Phone
from switch.sip.policy import answers, no_answer
from tests.live.replacing import ReachingPhone
from tests.switch.simulator.conftest import TIMERS, World
from tests.switch.simulator.office import DOMAIN, PASSWORD
from tests.switch.simulator.test_transfers import LIMIT_SECONDS, from_outside, is_live, seat, to, to_outside

OUT = ("bridge", "{seatline_leg=gateway}sofia/gateway/carrier/13800138000")


@pytest.fixture
async def agent(world: World) -> Phone:
    """A seat that calls out, and rings for calls from outside."""
    world.office.dialplan |= {"013800138000": [*ROUTED, OUT], "2000": seat("1001"), "1001": seat("1001")}
    return await world.registered("1001")


def thief(world: World, **variables: str) -> ReachingPhone:
    """A phone whose account has these variables."""
    world.office.add_user("1003", **variables)
    server = world.node.sip_address("internal")
    phone = ReachingPhone("1003", DOMAIN, server=server, password=PASSWORD, policy=answers(), timers=TIMERS)
    world.phones.append(phone)
    return phone


async def outcome(taken: Call) -> bool:
    """Whether it goes on after its answer."""
    assert await taken.wait_settled(LIMIT_SECONDS) == 200
    return taken.is_live


async def test_whoever_names_an_answered_call_has_it_and_its_owner_is_cut_off(world: World, agent: Phone) -> None:
    talk, called = await to_outside(world, agent)
    taken = await thief(world).reach_for(talk, "nowhere")
    assert await talk.wait_ended(LIMIT_SECONDS) == "them"
    assert taken.is_live
    assert called.is_live
    await called.hangup()
    assert await taken.wait_ended(LIMIT_SECONDS) == "them"
    causes = [record["hangup_cause"] for record in await world.office.wait_records(3)]
    assert "PICKED_OFF" in causes
    asked = [form for form in world.office.forms if form["section"] == "dialplan"]
    assert "nowhere" not in {form["Caller-Destination-Number"] for form in asked}, "no dialplan is asked"


async def test_a_ringing_call_is_answered_by_whoever_names_it(world: World, agent: Phone) -> None:
    agent.policy = no_answer()
    outside = await world.carrier.dial("2000", switch=world.node.sip_address("external"), caller_number="13900139000")
    rung = await agent.next_call(LIMIT_SECONDS)
    taken = await thief(world).reach_for(rung, "nowhere")
    assert await outside.wait_settled(LIMIT_SECONDS) == 200
    assert await rung.wait_ended(LIMIT_SECONDS) == "them"
    assert taken.is_live
    assert outside.is_live


async def test_whoever_is_to_listen_in_or_names_a_bridged_call_as_early_takes_nothing(
    world: World, agent: Phone
) -> None:
    talk, called = await to_outside(world, agent)
    phone = thief(world)
    listening = await phone.reach_for(talk, "nowhere", ("Call-Info", "<sip:x>"))
    assert await outcome(listening)
    early = await phone.reach_for(talk, "nowhere", parameters=";early-only=true")
    assert early.status >= 400
    assert talk.is_live
    assert called.is_live


@pytest.mark.parametrize("more", [(), (("Call-Info", "<sip:x>"),)])
async def test_variables_of_the_account_end_it_at_its_answer_with_their_reason(
    world: World, agent: Phone, more: tuple[tuple[str, str], ...]
) -> None:
    talk, called = await to_outside(world, agent)
    phone = thief(world, **ends_unrouted())
    taken = await phone.reach_for(talk, "nowhere", *more)
    assert await taken.wait_ended(LIMIT_SECONDS) == "them"
    (record,) = await world.office.wait_records(1)
    assert (record["seatline_refusal"], record["hangup_cause"]) == ("replacing_not_allowed", "CALL_REJECTED")
    assert talk.is_live
    assert called.is_live
    plain = await phone.call("013800138000")
    await is_live(plain, world)


async def test_a_leg_that_must_not_be_joined_is_not(world: World, agent: Phone) -> None:
    world.office.users.pop("1001")
    world.office.add_user("1001", deny_refer_requests="true")
    first, called = await to_outside(world, agent)
    outside, second = await from_outside(world, agent)
    assert await first.transfer(to("1001", second)) == 202
    for call in (first, called, outside, second):
        await is_live(call, world)
