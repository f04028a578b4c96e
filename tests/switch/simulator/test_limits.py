"""What a simulated node counts (application `limit`), and calls that a phone redirects."""

from __future__ import annotations

import time

import pytest

from switch.simulator.resource_counts import ResourceCounts
from switch.sip.policy import answers, redirects
from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import DOMAIN

TO_CARRIER = "sofia/gateway/carrier/13800138000"


def test_a_resource_is_used_by_so_many_channels_at_once_and_given_back_by_each() -> None:
    counts = ResourceCounts()
    assert [counts.take(channel, "ten_1", "calls", "2") for channel in ("a", "b", "c")] == [True, True, False]
    assert counts.take("a", "ten_1", "calls", "2"), "a channel counts once"
    assert counts.take("c", "ten_2", "calls", "2"), "another realm is another resource"
    counts.release("a")
    assert counts.usage("ten_1", "calls") == 1
    assert counts.take("c", "ten_1", "calls", "2")


def test_a_rate_begins_anew_when_its_interval_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, now = ResourceCounts(), 1_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    assert [counts.take(channel, "ten_1", "attempts", "2/1") for channel in ("a", "b", "c")] == [True, True, False]
    counts.release("a")
    assert not counts.take("d", "ten_1", "attempts", "2/1"), "an end gives no attempt back"
    now += 1
    assert counts.take("e", "ten_1", "attempts", "2/1")


async def test_the_call_beyond_the_limit_ends_with_the_cause_that_was_named(world: World) -> None:
    caller = await world.registered("1001")
    world.carrier.policy = answers()
    world.office.dialplan["1002"] = [
        ("set", "seatline_refusal=too_many"),
        ("limit", "hash ten_1 calls 1 !USER_BUSY"),
        ("unset", "seatline_refusal"),
        ("bridge", TO_CARRIER),
    ]
    first = await caller.call("1002")
    assert first.status == 200
    assert (await caller.call("1002")).status == 486
    (refused,) = await world.office.wait_records(1)
    assert (refused["seatline_refusal"], refused["hangup_cause"]) == ("too_many", "USER_BUSY")
    assert await world.node.api("limit_usage hash ten_1 calls") == "1"
    await first.hangup()
    await world.office.wait_records(3)
    assert await world.node.api("limit_usage hash ten_1 calls") == "0"
    assert all("seatline_refusal" not in record["variables"] for record in world.office.records[1:])


async def test_a_redirected_call_goes_through_the_dialplan_and_not_to_the_address(world: World) -> None:
    caller = await world.registered("1001")
    redirecting = await world.registered("1002")
    redirecting.policy = redirects(f"sip:1003@127.0.0.1:{world.carrier.address[1]}")
    world.office.dialplan["1002"] = [
        ("set", "continue_on_fail=false"),
        ("bridge", f"{{sip_redirect_context=elsewhere}}user/1002@{DOMAIN}"),
    ]
    world.office.dialplan["1003"] = [("respond", "403 Forbidden")]
    assert (await caller.call("1002")).status == 403
    assert world.carrier.calls == ()
    contexts = [form["Caller-Context"] for form in world.office.forms if form["section"] == "dialplan"]
    assert contexts[-1] == "elsewhere"


async def test_a_redirection_by_a_carrier_is_the_end_where_it_is_said_so(world: World) -> None:
    caller = await world.registered("1001")
    world.carrier.policy = redirects("sip:13900139000@192.0.2.1")
    world.office.dialplan["1002"] = [
        ("set", "continue_on_fail=false"),
        ("bridge", "{outbound_redirect_fatal=true}" + TO_CARRIER),
    ]
    call = await caller.call("1002")
    assert call.status == 302, "the carrier's answer, without its address"
    records = await world.office.wait_records(2)
    assert {record["hangup_cause"] for record in records} == {"REQUESTED_CHAN_UNAVAIL"}
