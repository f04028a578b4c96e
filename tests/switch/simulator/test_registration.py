"""Registering at a simulated node."""

from __future__ import annotations

import json

from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import DOMAIN


async def test_a_phone_with_the_right_password_is_registered(world: World) -> None:
    world.office.add_user("1001")
    assert await world.phone("1001").register() == 200
    listed = json.loads(await world.node.api("show registrations as json"))
    assert listed["row_count"] == 1
    assert (listed["rows"][0]["reg_user"], listed["rows"][0]["realm"]) == ("1001", DOMAIN)
    assert f"User:       \t1001@{DOMAIN}" in await world.node.api("sofia status profile internal reg")


async def test_a_wrong_password_and_an_unknown_user_are_forbidden(world: World) -> None:
    world.office.add_user("1001")
    assert await world.phone("1001", password="guess").register() == 403
    assert await world.phone("1999").register() == 403
    assert "Total items returned: 0" in await world.node.api("sofia status profile internal reg")


async def test_every_registration_asks_the_directory_anew(world: World) -> None:
    phone = await world.registered("1001")
    del world.office.users["1001"]
    assert await phone.register() == 403


async def test_the_directory_is_asked_as_freeswitch_asks(world: World) -> None:
    await world.registered("1001")
    form = next(form for form in world.office.forms if form.get("action") == "sip_auth")
    assert form["section"] == "directory"
    assert (form["tag_name"], form["key_name"], form["key_value"]) == ("domain", "name", DOMAIN)
    assert form["sip_auth_method"] == "REGISTER"
    assert (form["user"], form["domain"], form["key"]) == ("1001", DOMAIN, "id")
    assert form["ip"] == "127.0.0.1"


async def test_unregistering_and_flushing_forget_the_phone(world: World) -> None:
    phone = await world.registered("1001")
    assert await phone.unregister() == 200
    assert "Total items returned: 0" in await world.node.api("sofia status profile internal reg")
    await world.registered("1002")
    await world.registered("1003")
    reply = await world.node.api(f"sofia profile internal flush_inbound_reg 1002@{DOMAIN}")
    assert reply == "+OK flushing all registrations matching specified call_id\n"
    assert "Total items returned: 1" in await world.node.api("sofia status profile internal reg")
    await world.node.api(f"sofia profile internal flush_inbound_reg {DOMAIN}")
    assert "Total items returned: 0" in await world.node.api("sofia status profile internal reg")


async def test_a_paused_node_refuses_with_503(world: World) -> None:
    phone = await world.registered("1001")
    assert await world.node.api("fsctl pause inbound") == "+OK\n"
    assert await world.node.api("fsctl pause_check inbound") == "true"
    assert await phone.register() == 503
    await world.node.api("fsctl resume inbound")
    assert await phone.register() == 200
