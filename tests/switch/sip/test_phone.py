"""Phones and carriers among each other, and against a small registrar that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from switch.sip import policy
from switch.sip.carrier import Carrier
from switch.sip.dialog import Dialog
from switch.sip.digest import Challenge, Credentials, a1_hash, verify
from switch.sip.endpoint import SipEndpoint
from switch.sip.errors import AuthenticationImpossible, CallRefused, SipTimeout, WaitExceeded
from switch.sip.message import Headers, Request, Response
from switch.sip.phone import Phone
from switch.sip.sdp import Audio, describe
from switch.sip.transactions import ServerTransaction, Timers

DOMAIN = "ten.example"
QUICK = Timers(t1_seconds=0.1, t2_seconds=0.8, t4_seconds=1.0)
PASSWORD = "secret"
HASHED = a1_hash("1001", DOMAIN, PASSWORD)


class Registrar:
    """Challenges and checks REGISTER; `fixed_status` overrides its judgement."""

    def __init__(self) -> None:
        self.realm = DOMAIN
        self.fixed_status: int | None = None
        self.requests: list[Request] = []
        self.endpoint: SipEndpoint | None = None

    def receive(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        self.requests.append(request)
        given = request.headers.get("Authorization")
        if self.fixed_status is not None:
            transaction.respond(self.fixed_status)
        elif given is None:
            transaction.respond(401, headers=[("WWW-Authenticate", str(Challenge(self.realm, "nonce-1")))])
        elif verify(Credentials.parse(given), method=request.method, hashed_a1=HASHED):
            contact = f"{request.header('Contact')};expires=120"
            transaction.respond(200, headers=[("Contact", contact)])
        else:
            transaction.respond(403)

    @property
    def address(self) -> tuple[str, int]:
        assert self.endpoint is not None
        return self.endpoint.address


@pytest.fixture
async def registrar() -> AsyncIterator[Registrar]:
    made = Registrar()
    made.endpoint = await SipEndpoint.open("127.0.0.1", on_request=made.receive, timers=QUICK)
    yield made
    made.endpoint.close()


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with Carrier("127.0.0.1", timers=QUICK) as made:
        yield made


def phone_at(server: tuple[str, int], *, password: str = PASSWORD) -> Phone:
    return Phone("1001", DOMAIN, server=server, password=password, timers=QUICK)


async def test_the_right_password_registers(registrar: Registrar) -> None:
    async with phone_at(registrar.address) as phone:
        assert await phone.register() == 200
        assert phone.registered
        assert phone.registered_for_seconds == 120
        assert [request.sequence[0] for request in registrar.requests] == [1, 2]
        assert await phone.unregister() == 200
        assert not phone.registered
        assert registrar.requests[-1].header("Expires") == "0"
        assert registrar.requests[-1].call_id == registrar.requests[0].call_id


async def test_the_canary_registers_with_the_stored_hash_alone(registrar: Registrar) -> None:
    async with Phone("1001", DOMAIN, server=registrar.address, a1_hash=HASHED, timers=QUICK) as phone:
        assert await phone.register() == 200
        assert HASHED not in repr(phone)


async def test_the_wrong_password_is_refused(registrar: Registrar) -> None:
    async with phone_at(registrar.address, password="wrong") as phone:
        assert await phone.register() == 403
        assert not phone.registered


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_refusals_come_back_as_they_are(registrar: Registrar, status: int) -> None:
    registrar.fixed_status = status
    async with phone_at(registrar.address) as phone:
        if status == 401:
            with pytest.raises(AuthenticationImpossible, match="WWW-Authenticate"):
                await phone.register()
        else:
            assert await phone.register() == status


async def test_a_switch_that_is_gone_is_a_timeout(registrar: Registrar) -> None:
    assert registrar.endpoint is not None
    address = registrar.address
    registrar.endpoint.close()
    async with phone_at(address) as phone:
        with pytest.raises(SipTimeout, match="REGISTER"):
            await phone.register(timeout_seconds=0.05)


async def test_a_hash_for_another_realm_is_told(registrar: Registrar) -> None:
    registrar.realm = "other.example"
    async with phone_at(registrar.address) as phone:
        with pytest.raises(AuthenticationImpossible):
            await phone.register()


async def test_message_waiting_notices_and_pings_are_answered(registrar: Registrar) -> None:
    async with phone_at(registrar.address) as phone:
        await phone.register()
        assert registrar.endpoint is not None
        for method in ("NOTIFY", "OPTIONS"):
            headers = Headers(
                [
                    ("From", f"<sip:1001@{DOMAIN}>;tag=switch"),
                    ("To", f"<sip:1001@{DOMAIN}>"),
                    ("Call-ID", method),
                    ("CSeq", f"1 {method}"),
                    ("Event", "message-summary"),
                ]
            )
            request = Request(headers, b"Messages-Waiting: no\r\n", method=method, uri="sip:1001@127.0.0.1")
            response = await registrar.endpoint.request(request, phone.address, timeout_seconds=5)
            assert response.status == 200


def test_exactly_one_secret_is_wanted() -> None:
    with pytest.raises(ValueError, match="either"):
        Phone("1001", DOMAIN, server=("127.0.0.1", 5060))
    with pytest.raises(ValueError, match="either"):
        Phone("1001", DOMAIN, server=("127.0.0.1", 5060), password="a", a1_hash="b")
    with pytest.raises(ValueError, match="32 hexadecimal"):
        Phone("1001", DOMAIN, server=("127.0.0.1", 5060), a1_hash="secret")


async def test_a_call_is_answered_and_hung_up_by_the_caller(carrier: Carrier) -> None:
    async with phone_at(carrier.address) as phone:
        call = await phone.call("13800138000")
        assert (call.status, call.answered, call.is_live) == (200, True, True)
        theirs = await carrier.next_call(5)
        assert theirs.remote == f"sip:1001@{DOMAIN}"
        assert theirs.remote_audio is not None and call.remote_audio is not None
        await call.hangup()
        assert await theirs.wait_ended(5) == "them"
        assert (call.ended_by, phone.calls, carrier.calls) == ("us", (), ())


async def test_the_other_side_hangs_up(carrier: Carrier) -> None:
    carrier.policy = policy.answers(hang_up_after_seconds=0.0)
    async with phone_at(carrier.address) as phone:
        call = await phone.call("13800138000")
        assert await call.wait_ended(5) == "them"


@pytest.mark.parametrize(("chosen", "status"), [(policy.busy(), 486), (policy.rejects(404), 404)])
async def test_a_refused_call_has_its_status(carrier: Carrier, chosen: policy.Policy, status: int) -> None:
    carrier.set_policy("110", chosen)
    async with phone_at(carrier.address) as phone:
        call = await phone.call("110")
        assert (call.status, call.answered, call.ended_by) == (status, False, "them")
        assert (await phone.call("119")).answered


async def test_a_call_nobody_answers_is_withdrawn(carrier: Carrier) -> None:
    carrier.policy = policy.no_answer()
    async with phone_at(carrier.address) as phone:
        call = await phone.call("13800138000", answer_timeout_seconds=0.05)
        assert (call.status, call.ended_by) == (487, "us")
        theirs = await carrier.next_call(5)
        assert await theirs.wait_ended(5) == "them"
        assert theirs.status == 487


async def test_a_call_can_be_withdrawn_while_it_rings(carrier: Carrier) -> None:
    carrier.policy = policy.no_answer()
    async with phone_at(carrier.address) as phone:
        call = await phone.dial("13800138000")
        assert await call.wait_ringing(5) == 180
        with pytest.raises(WaitExceeded):
            await call.wait_settled(0.01)
        await call.hangup()
        assert await call.wait_settled(5) == 487


async def test_the_called_side_can_answer_and_refuse_by_hand(carrier: Carrier) -> None:
    carrier.policy = policy.no_answer()
    async with phone_at(carrier.address) as phone:
        first, second = await phone.dial("1"), await phone.dial("2")
        incoming_first, incoming_second = await carrier.next_call(5), await carrier.next_call(5)
        await incoming_first.wait_ringing(5)
        await incoming_second.wait_ringing(5)
        incoming_first.answer()
        incoming_second.reject(603)
        assert await first.wait_settled(5) == 200
        assert await second.wait_settled(5) == 603
        with pytest.raises(CallRefused):
            incoming_second.answer()


async def test_a_phone_that_vanishes_tells_nobody(carrier: Carrier) -> None:
    async with phone_at(carrier.address) as phone:
        call = await phone.call("13800138000")
        theirs = await carrier.next_call(5)
        phone.vanish()
        assert call.is_ended
        assert not theirs.is_ended
        with pytest.raises(WaitExceeded):
            await theirs.wait_ended(0.05)
        carrier.vanish()


async def test_leaving_hangs_up_what_runs(carrier: Carrier) -> None:
    async with phone_at(carrier.address) as phone:
        await phone.call("13800138000")
        theirs = await carrier.next_call(5)
    assert await theirs.wait_ended(5) == "them"


async def test_changes_during_a_call_are_answered(carrier: Carrier) -> None:
    async with phone_at(carrier.address) as phone:
        await phone.call("13800138000")
        theirs = await carrier.next_call(5)
        dialog = theirs.dialog
        assert dialog is not None

        async def inside(method: str, body: bytes = b"") -> Response:
            request = dialog.create_request(method)
            request.headers.add("Contact", carrier.contact())
            if body:
                request.set_body("application/sdp", body)
            return await carrier.endpoint.request(request, dialog.destination, timeout_seconds=5)

        hold = describe("127.0.0.1", 4000, session_id=9).replace(b"sendrecv", b"sendonly")
        held = await inside("INVITE", hold)
        assert (held.status, Audio.parse(held.body).direction) == (200, "recvonly")
        assert (await inside("INVITE", hold.replace(b"AVP 0 8", b"AVP 9 18"))).status == 488
        assert (await inside("UPDATE")).status == 200
        assert (await inside("INFO")).status == 200
        assert (await inside("REFER")).status == 405
        dialog.local_sequence -= 1
        assert (await inside("INFO")).status == 500
        assert len(phone.calls) == 1


async def test_a_carrier_calls_in(carrier: Carrier, registrar: Registrar) -> None:
    async with phone_at(registrar.address) as phone:
        call = await carrier.call("1001", switch=phone.address, caller_number="13900139000")
        assert call.answered
        theirs = await phone.next_call(5)
        assert theirs.remote == "sip:13900139000@127.0.0.1"


async def test_a_bye_for_a_call_we_do_not_know_is_told_so(carrier: Carrier, registrar: Registrar) -> None:
    assert registrar.endpoint is not None
    headers = Headers(
        [("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>;tag=2"), ("Call-ID", "unknown"), ("CSeq", "1 BYE")]
    )
    request = Request(headers, method="BYE", uri="sip:c@127.0.0.1")
    assert (await registrar.endpoint.request(request, carrier.address, timeout_seconds=5)).status == 481


@pytest.mark.parametrize(
    "broken",
    [
        {"Contact": "<tel:110>"},
        {"Contact": ""},
        {"Contact": "*"},
        {"From": "nonsense"},
        {"From": "<sip:a@b;tag=1"},
        {"To": "<>"},
        {"CSeq": "1 BYE"},
        {"Record-Route": "<sip:"},
    ],
)
async def test_an_invite_that_makes_no_sense_leaves_nothing_behind(
    carrier: Carrier, registrar: Registrar, broken: dict[str, str]
) -> None:
    assert registrar.endpoint is not None
    fields = {"From": "<sip:a@b>;tag=1", "To": "<sip:c@d>", "Call-ID": "x", "CSeq": "1 INVITE"}
    fields |= {"Contact": "<sip:a@127.0.0.1>"} | broken
    carrier.policy = policy.busy()
    request = Request(Headers(fields.items()), method="INVITE", uri="sip:c@127.0.0.1")
    transaction = registrar.endpoint.send(request, carrier.address)
    if "CSeq" not in broken:
        assert (await transaction.final(timeout_seconds=5)).status in (400, 486)
    ping = Request(Headers((fields | {"Call-ID": "y"}).items()), method="OPTIONS", uri="sip:c@127.0.0.1")
    for name, value in (("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>"), ("CSeq", "1 OPTIONS")):
        ping.headers.set(name, value)
    response = await registrar.endpoint.request(ping, carrier.address, timeout_seconds=5)
    assert response.status == 200
    assert carrier.calls == ()


async def test_many_calls_at_once_stay_apart(carrier: Carrier) -> None:
    async with phone_at(carrier.address) as phone:
        calls = await asyncio.gather(*(phone.call(str(number)) for number in range(100)))
        assert all(call.is_live for call in calls)
        await asyncio.gather(*(call.hangup() for call in calls))
        assert phone.calls == ()


def test_an_answer_takes_a_codec_of_the_offer() -> None:
    offer = Audio.parse(describe("127.0.0.1", 4000, session_id=1))
    assert offer.payload_types == ("0", "8", "101")
    answer = Audio.parse(describe("127.0.0.1", 5000, session_id=2, answer_to=offer))
    assert answer == Audio("127.0.0.1", 5000, ("0", "101"))
    held = Audio("127.0.0.1", 4000, ("8",), "sendonly")
    assert Audio.parse(describe("127.0.0.1", 5000, session_id=2, answer_to=held)).direction == "recvonly"


async def test_a_goodbye_right_behind_the_answer_ends_the_call() -> None:
    """A switch may answer and hang up in one breath: both datagrams are there before the caller's task wakes."""

    def answer_and_leave(transaction: ServerTransaction) -> None:
        if transaction.request.method != "INVITE":
            transaction.respond(200)
            return
        offer = Audio.parse(transaction.request.body)
        contact = [("Contact", f"<sip:there@{endpoint.address[0]}:{endpoint.address[1]}>")]
        body = describe(*endpoint.address, session_id=1, version=1, answer_to=offer)
        transaction.respond(200, headers=contact, content_type="application/sdp", body=body)
        dialog = Dialog.as_called(transaction.request, transaction.to_tag, transaction.source)
        endpoint.send(dialog.create_request("BYE"), dialog.destination)

    endpoint = await SipEndpoint.open("127.0.0.1", on_request=answer_and_leave, timers=QUICK)
    phone = phone_at(endpoint.address)
    call = await phone.call("1002")
    assert await call.wait_ended(2) == "them"
    phone.vanish()
    endpoint.close()


async def test_a_call_is_held_and_resumed_and_ends_as_before(carrier: Carrier) -> None:
    async with Carrier("127.0.0.1", timers=QUICK) as other:
        call = await other.call("8613800138000", switch=carrier.address, caller_number="862150001234")
        arrived = await carrier.next_call(1)
        assert await call.hold() == 200
        assert call.remote_audio is not None
        assert call.remote_audio.direction == "recvonly"
        assert await call.resume() == 200
        assert call.remote_audio.direction == "sendrecv"
        await call.hangup()
        assert await arrived.wait_ended(1) == "them"
        with pytest.raises(CallRefused, match="answered and not over"):
            await call.hold()


async def test_keys_are_heard_once_each_and_what_is_no_key_is_refused(carrier: Carrier) -> None:
    async with Carrier("127.0.0.1", timers=QUICK) as other:
        call = await other.call("8613800138000", switch=carrier.address, caller_number="862150001234")
        await call.press("11#")
        assert await carrier.heard_keys(3, timeout_seconds=1) == "11#"
        with pytest.raises(CallRefused, match="no key"):
            await call.press("x")
        with pytest.raises(WaitExceeded, match="'11#'"):
            await carrier.heard_keys(4, timeout_seconds=0.01)
