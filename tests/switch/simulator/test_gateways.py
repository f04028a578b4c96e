"""Gateways of a simulated node: read again while it runs, passed over when full or silent."""

from __future__ import annotations

from switch.gateway_keeper import read_gateways
from switch.sip.policy import answers, rejects
from tests.switch.simulator.conftest import World

TO_CARRIER = "sofia/gateway/carrier/13800138000"
SILENT = "sofia/external/13800138000@127.0.0.1:9"
"""Of the discard service: nobody answers there."""


async def gateways(world: World) -> dict[str, str]:
    listed = read_gateways(await world.node.api("sofia xmlstatus gateway"))
    assert listed is not None
    return {name: found.shown[0] for name, found in listed.items()}


async def test_a_rescan_adds_what_is_new_and_only_killgw_takes_away(world: World) -> None:
    file = world.node.directory / "autoload_configs/sofia.conf.xml"
    before = await gateways(world)
    assert before.keys() == {"carrier"}
    written = file.read_text()
    host, port = world.carrier.address
    second = f'<gateway name="second"><param name="proxy" value="192.0.2.1:{port}"/></gateway></gateways>'
    moved = written.replace(f"{host}:{port}", "192.0.2.9:5060").replace("</gateways>", second, 1)
    file.write_text(moved)
    assert "+OK scan complete" in await world.node.api("sofia profile external rescan")
    assert await gateways(world) == before | {"second": f"sip:192.0.2.1:{port}"}, "what is there stays as it is"

    assert (await world.node.api("sofia profile external killgw carrier")).startswith("+OK")
    assert (await world.node.api("sofia profile external killgw carrier")).startswith("-ERR")
    assert (await gateways(world)).keys() == {"second"}
    await world.node.api("sofia profile external rescan")
    assert (await gateways(world))["carrier"] == "sip:192.0.2.9:5060"


async def test_who_may_call_in_is_read_again_when_it_is_told_to(world: World) -> None:
    assert await world.node.api("acl 192.0.2.77 gateways") == "false"
    file = world.node.directory / "autoload_configs/acl.conf.xml"
    listed = '<list name="gateways" default="deny"><node type="allow" cidr="192.0.2.77/32"/></list>'
    file.write_text(
        f'<include><configuration name="acl.conf"><network-lists>{listed}</network-lists></configuration></include>'
    )
    await world.node.api("reloadxml")
    assert await world.node.api("acl 192.0.2.77 gateways") == "false"
    assert (await world.node.api("reloadacl")).startswith("+OK")
    assert await world.node.api("acl 192.0.2.77 gateways") == "true"


async def test_what_has_no_room_is_passed_over_and_what_failed_gives_its_place_back(world: World) -> None:
    caller = await world.registered("1001")
    world.carrier.policy = rejects(503)
    world.office.dialplan["1002"] = [
        ("set", "continue_on_fail=NORMAL_TEMPORARY_FAILURE"),
        ("limit_execute", f"hash gateways carrier 1 bridge {TO_CARRIER}"),
        ("respond", "480 Nobody"),
    ]
    assert (await caller.call("1002")).status == 480
    assert await world.node.api("limit_usage hash gateways carrier") == "0"
    world.carrier.policy = answers()
    running = await caller.call("1002")
    assert running.status == 200
    assert await world.node.api("limit_usage hash gateways carrier") == "1"
    assert (await caller.call("1002")).status == 480
    await running.hangup()
    await world.office.wait_records(5)
    assert await world.node.api("limit_usage hash gateways carrier") == "0"


async def test_a_leg_without_a_sign_is_given_up_and_the_next_one_is_tried(world: World) -> None:
    caller = await world.registered("1001")
    world.office.dialplan["1002"] = [
        ("set", "continue_on_fail=PROGRESS_TIMEOUT"),
        ("bridge", "{leg_progress_timeout=1}" + SILENT),
        ("bridge", TO_CARRIER),
    ]
    call = await caller.call("1002")
    assert call.status == 200
    await call.hangup()
    given_up = (await world.office.wait_records(3))[0]
    assert given_up["hangup_cause"] == "PROGRESS_TIMEOUT"


async def test_a_gateway_that_is_down_takes_no_call(world: World) -> None:
    caller = await world.registered("1001")
    world.office.dialplan["1002"] = [("set", "continue_on_fail=false"), ("bridge", TO_CARRIER)]
    world.node.core.profiles["external"].gateways_down.add("carrier")
    assert (await caller.call("1002")).status == 503
    listed = read_gateways(await world.node.api("sofia xmlstatus gateway"))
    assert listed is not None
    assert not listed["carrier"].is_up
