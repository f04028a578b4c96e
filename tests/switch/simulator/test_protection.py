"""What a simulated node says about encrypted media: it takes and makes offers with keys, and encrypts nothing."""

from __future__ import annotations

import pytest

from switch.simulator.leg_texts import session_description
from switch.simulator.protection import UNPROTECTED, Protection, answer_to, towards_called
from switch.sip import sdp
from switch.sip.phone import Phone
from tests.switch.simulator.conftest import TIMERS, World
from tests.switch.simulator.office import DOMAIN, PASSWORD

LIMIT_SECONDS = 5.0
NEGOTIATED = "rtp_secure_media_negotiated"
DEMANDED = f"{{rtp_secure_media_outbound=mandatory:{sdp.SUITE}}}user/1002@{DOMAIN}"


async def encrypting(world: World, user: str) -> Phone:
    """A phone that agrees on keys."""
    world.office.add_user(user)
    server = world.node.sip_address()
    phone = Phone(user, DOMAIN, server=server, password=PASSWORD, timers=TIMERS, encrypts=True)
    world.phones.append(phone)
    assert await phone.register() == 200
    return phone


async def test_an_offered_key_is_answered_with_one_and_the_record_names_the_suite(world: World) -> None:
    caller = await encrypting(world, "1001")
    world.office.dialplan["13800138000"] = [
        ("set", "hangup_after_bridge=true"),
        ("bridge", "sofia/gateway/carrier/13800138000"),
    ]
    call = await caller.call("13800138000")
    assert call.remote_audio is not None
    assert (call.remote_audio.profile, call.remote_audio.crypto_tag) == (sdp.ENCRYPTED, "1")
    arrived = await world.carrier.next_call(LIMIT_SECONDS)
    assert arrived.remote_audio is not None
    assert arrived.remote_audio.profile == sdp.PLAIN
    assert await call.hold() == 200
    assert (call.remote_audio.profile, call.remote_audio.direction) == (sdp.ENCRYPTED, "recvonly")
    await call.hangup()
    suites = {record["direction"]: record.get(NEGOTIATED) for record in await world.office.wait_records(2)}
    assert suites == {"inbound": sdp.SUITE, "outbound": None}


async def test_a_called_phone_is_offered_a_key_where_the_dialplan_demands_it(world: World) -> None:
    caller, called = await world.registered("1001"), await encrypting(world, "1002")
    world.office.dialplan["1002"] = [("set", "hangup_after_bridge=true"), ("bridge", DEMANDED)]
    call = await caller.call("1002")
    assert call.status == 200
    assert call.remote_audio is not None
    arrived = await called.next_call(LIMIT_SECONDS)
    assert arrived.remote_audio is not None
    assert (arrived.remote_audio.profile, call.remote_audio.profile) == (sdp.ENCRYPTED, sdp.PLAIN)
    await call.hangup()
    suites = {record["direction"]: record.get(NEGOTIATED) for record in await world.office.wait_records(2)}
    assert suites == {"inbound": None, "outbound": sdp.SUITE}


async def test_a_phone_that_cannot_encrypt_is_not_rung_where_it_is_demanded(world: World) -> None:
    caller = await world.registered("1001")
    await world.registered("1002")
    world.office.dialplan["1002"] = [("set", "continue_on_fail=false"), ("bridge", DEMANDED)]
    assert (await caller.call("1002")).status == 488
    causes = {record["hangup_cause"] for record in await world.office.wait_records(2)}
    assert causes == {"INCOMPATIBLE_DESTINATION"}


@pytest.mark.parametrize(
    ("variables", "offered"),
    [
        ({}, UNPROTECTED),
        ({"rtp_secure_media_outbound": "forbidden"}, UNPROTECTED),
        ({"rtp_secure_media": "true"}, Protection("1")),
        ({"rtp_secure_media_outbound": f"mandatory:{sdp.SUITE}"}, Protection("1")),
        ({"rtp_secure_media_outbound": f"optional:{sdp.SUITE}"}, Protection("1", is_optional=True)),
    ],
)
def test_what_is_offered_is_as_the_variables_say(variables: dict[str, str], offered: Protection) -> None:
    assert towards_called(variables) == offered
    lines = session_description("192.0.2.1", 1, protection=offered).decode().splitlines()
    profiles = [line.split()[2] for line in lines if line.startswith("m=")]
    expected = {UNPROTECTED: [sdp.PLAIN], Protection("1"): [sdp.ENCRYPTED]}
    assert profiles == expected.get(offered, [sdp.ENCRYPTED, sdp.PLAIN])


def test_an_offer_whose_suite_nobody_knows_is_not_answered() -> None:
    plain = sdp.Audio("192.0.2.1", 4000, ("0",))
    assert answer_to(None) == answer_to(plain) == UNPROTECTED
    assert answer_to(sdp.Audio("192.0.2.1", 4000, ("0",), profile=sdp.ENCRYPTED)) is None
    assert answer_to(sdp.Audio("192.0.2.1", 4000, ("0",), profile=sdp.ENCRYPTED, crypto_tag="7")) == Protection("7")
