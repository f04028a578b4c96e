"""Media encrypted between phone and node (SRTP with keys in the SDP): where it is offered, and where it is demanded."""

from __future__ import annotations

import json
from typing import Any

from switch.sip import sdp
from switch.sip.carrier import Carrier
from tests.live.customers import Customer, LiveSeat, Office
from tests.live.speaking import SpeakingPhone
from tests.live.test_transports import trusting
from tests.live.waiting import until

ANSWER_LIMIT_SECONDS = 10.0
RECORD_LIMIT_SECONDS = 15.0
REGISTRATION_SECONDS = 300
NOT_ACCEPTABLE = 488
DIALLED = "13800138000"


async def phone_of(seat: LiveSeat, *, encrypts: bool) -> SpeakingPhone:
    """A registered phone; one that encrypts speaks TLS too."""
    office = seat.customer.office
    node = office.system.nodes[await seat.customer.serving_node()]
    phone = SpeakingPhone(
        seat.extension,
        seat.customer.domain,
        server=node.sip_tls if encrypts else node.sip,
        password=seat.password,
        transport="tls" if encrypts else "udp",
        tls=trusting(node.authority) if encrypts else None,
        encrypts=encrypts,
    )
    office.keep(phone)
    assert await phone.register(expires_seconds=REGISTRATION_SECONDS) == 200
    return phone


async def demands(customer: Customer, encryption: str) -> None:
    await customer.office.operator.put(f"/v1/tenants/{customer.tenant_id}/media-policy", encryption=encryption)


async def recorded(customer: Customer, leg_id: str) -> dict[str, Any]:
    """The variables of a leg's record as its node wrote it."""

    async def look() -> dict[str, Any] | None:
        for node in customer.office.system.nodes.values():
            for file in node.all_records():
                if leg_id in file.name:
                    return json.loads(file.read_text())["variables"]
        return None

    return await until(look, f"the record of {leg_id}", limit_seconds=RECORD_LIMIT_SECONDS)


async def test_a_phone_that_offers_encryption_is_answered_with_a_key_and_its_record_says_so(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    phone = await phone_of(customer.seats[0], encrypts=True)
    call = await phone.call(DIALLED)
    assert call.status == 200
    assert call.remote_audio is not None
    assert (call.remote_audio.profile, call.remote_audio.crypto_tag) == (sdp.ENCRYPTED, "1")
    arrived = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    assert arrived.remote_audio is not None
    assert arrived.remote_audio.profile == sdp.PLAIN  # what the carrier is sent is not the tenant's to decide
    await call.hangup()
    caller, towards_carrier = await customer.legs(2)
    secured = await recorded(customer, caller["leg_id"])
    assert secured["rtp_secure_media_negotiated"].startswith(sdp.SUITE)
    assert "rtp_secure_media_negotiated" not in await recorded(customer, towards_carrier["leg_id"])


async def test_a_plain_phone_of_a_tenant_that_demands_encryption_is_refused_but_for_emergencies(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    phone = await phone_of(customer.seats[0], encrypts=False)
    await demands(customer, "demanded")
    assert (await phone.call(DIALLED)).status == NOT_ACCEPTABLE
    assert await customer.refusals(1) == ["media_not_encrypted"]
    emergency = await phone.call("110")
    assert emergency.status == 200
    await emergency.hangup()
    await demands(customer, "accepted")
    again = await phone.call(DIALLED)
    assert again.status == 200
    await again.hangup()


async def test_a_phone_is_rung_with_a_key_where_its_tenant_demands_encryption(office: Office) -> None:
    customer = await office.customer(seats=2)
    await demands(customer, "demanded")
    caller, called = [await phone_of(seat, encrypts=True) for seat in customer.seats]
    call = await caller.call(customer.seats[1].extension)
    assert call.status == 200
    arrived = await called.next_call(ANSWER_LIMIT_SECONDS)
    assert arrived.remote_audio is not None
    assert arrived.remote_audio.profile == sdp.ENCRYPTED
    assert arrived.request is not None
    assert b"NULL_AUTH" not in arrived.request.body
    await call.hangup()
    legs = await customer.legs(2)
    for leg in legs:
        assert (await recorded(customer, leg["leg_id"]))["rtp_secure_media_negotiated"].startswith(sdp.SUITE)


async def test_a_plain_phone_is_not_rung_in_the_clear_where_its_tenant_demands_encryption(office: Office) -> None:
    customer = await office.customer(seats=2)
    await demands(customer, "demanded")
    caller = await phone_of(customer.seats[0], encrypts=True)
    await phone_of(customer.seats[1], encrypts=False)
    assert (await caller.call(customer.seats[1].extension)).status == NOT_ACCEPTABLE
