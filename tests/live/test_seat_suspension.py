"""One seat that its tenant suspends: its phone is out at once, but for help; the others go on (C20, rule 7)."""

from __future__ import annotations

from switch.sip.carrier import Carrier
from tests.live.customers import Office
from tests.live.waiting import until

GONE_LIMIT_SECONDS = 15.0
ANSWER_LIMIT_SECONDS = 10.0
DIALLED = "13800138000"
EMERGENCY = "110"
FORBIDDEN = 403


async def test_a_suspended_seat_is_out_at_once_and_back_with_the_same_password(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer()
    seat = customer.seats[0]
    phone, colleague = await seat.registered(), await customer.seats[1].registered()
    await office.operator.post(f"/v1/seats/{seat.seat_id}/suspension", reason="on leave")

    assert await phone.register() == FORBIDDEN
    assert (await phone.call(DIALLED)).status == FORBIDDEN
    assert carrier.calls == ()
    emergency = await phone.call(EMERGENCY)
    assert emergency.status == 200
    await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await emergency.hangup()
    own = await colleague.call(DIALLED)
    assert own.status == 200
    await own.hangup()

    async def only_the_colleague() -> bool:
        items = await office.operator.items("/v1/live/registrations", tenant_id=customer.tenant_id)
        return [each["username"] for each in items] == [customer.seats[1].extension]

    await until(only_the_colleague, "the end of the seat's registration", limit_seconds=GONE_LIMIT_SECONDS)
    await office.operator.post(f"/v1/seats/{seat.seat_id}/resumption")
    assert await phone.register() == 200


async def test_a_seat_suspended_during_its_call_goes_on_talking_and_sends_it_nowhere(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer()
    seat, other = customer.seats
    agent, colleague = await seat.registered(), await other.registered()
    talk = await agent.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await office.operator.post(f"/v1/seats/{seat.seat_id}/suspension", reason="on leave")
    assert (talk.is_live, called.is_live) == (True, True)
    assert await talk.transfer(f"<sip:{other.extension}@{customer.domain}>") == 202
    assert await called.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert colleague.calls == ()
