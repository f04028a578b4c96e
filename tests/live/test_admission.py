"""What a tenant's calls may do: how many, how fast, where to, how dear; decided at every call, counted at the node."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from infra.kit import clock
from switch.sip.call import Call
from switch.sip.carrier import Carrier
from switch.sip.policy import answers, redirects
from tests.live.customers import Customer, Office
from tests.live.system import LOOPBACK
from tests.live.waiting import until

ANSWER_LIMIT_SECONDS = 10.0
EFFECT_LIMIT_SECONDS = 30.0
QUIET_SECONDS = 1.0
DIALLED, DIALLED_E164 = "13800138000", "8613800138000"
FORWARDED, FORWARDED_E164 = "+86 139 0013 9000", "8613900139000"
OUTSIDE = "13900139999"
EMERGENCY = "110"


async def test_a_tenant_has_no_more_calls_at_once_than_it_may_and_gets_each_back(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer()
    await customer.may(calls_per_tenant=1)
    first, second = await customer.seats[0].registered(), await customer.seats[1].registered()
    node = office.system.nodes[await customer.serving_node()]
    running = await first.call(DIALLED)
    assert running.status == 200
    assert (await second.call(DIALLED)).status == 486
    assert (await second.call(customer.seats[0].extension)).status == 486
    assert (await carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)).status == 486
    in_need = await second.call(EMERGENCY)
    assert in_need.status == 200
    await in_need.hangup()
    assert await customer.refusals(3) == ["too_many_calls"] * 3

    await running.hangup()
    await customer.legs(7)  # its records have come: the channel is gone
    again = await second.call(DIALLED)
    assert again.status == 200
    await again.hangup()


async def test_a_seat_has_no_more_calls_at_once_than_it_may_whoever_calls(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    await customer.may(calls_per_seat=1)
    caller, other = await customer.seats[0].registered(), await customer.seats[1].registered()
    node = office.system.nodes[await customer.serving_node()]
    running = await caller.call(DIALLED)
    assert running.status == 200
    assert (await caller.call(DIALLED)).status == 486
    assert (await other.call(customer.seats[0].extension)).status == 486
    assert (await carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)).status == 486
    colleague = await other.call(DIALLED)
    assert colleague.status == 200
    await colleague.hangup()
    await running.hangup()
    assert await customer.refusals(3) == ["too_many_calls_of_seat"] * 3


async def test_a_tenant_begins_no_more_calls_in_a_second_than_it_may(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=6)
    await customer.may(calls_per_second=1)
    phones = [await seat.registered() for seat in customer.seats]
    calls = await asyncio.gather(*(phone.call(DIALLED) for phone in phones))
    statuses = [call.status for call in calls]
    assert set(statuses) == {200, 503}
    assert statuses.count(503) >= 3, "at most one a second, and they were sent within three"
    assert set(await customer.refusals(statuses.count(503))) == {"too_many_calls_a_second"}
    await asyncio.gather(*(call.hangup() for call in calls))


async def test_where_calls_may_go_is_the_same_in_every_spelling(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    caller = await customer.seats[0].registered()
    await customer.may(barred_prefixes=["+86139", "95588"])
    reasons = {
        "country_not_allowed": ["0012025550123", "+1 202 555 0123", "00 852 2123 4567", "+8821612345678"],
        "destination_barred": ["13900139000", "+8613900139000", "008613900139000", "013900139000", "95588", "01095588"],
        "destination_premium": ["16812345", "+86 168 12345", "010 168 12345", "+861016812345"],
    }
    for reason, spellings in reasons.items():
        for spelling in spellings:
            assert (await caller.call(spelling)).status == 403, (reason, spelling)
    assert carrier.calls == ()
    wanted = [reason for reason, spellings in reasons.items() for _ in spellings]
    assert await customer.refusals(len(wanted)) == wanted

    await customer.may(countries=["CN", "US"], barred_prefixes=None, short_codes_allowed=False)
    allowed = await caller.call("0012025550123")
    assert allowed.status == 200
    await allowed.hangup()
    assert [(await caller.call(code)).status for code in ("95588", "10086", "010 95588")] == [403] * 3
    assert (await customer.refusals(len(wanted) + 3))[-3:] == ["short_codes_not_allowed"] * 3
    help_wanted = await caller.call(EMERGENCY)
    assert help_wanted.status == 200
    await help_wanted.hangup()


async def test_a_phone_that_redirects_a_call_from_outside_to_outside_relays_nothing(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    node = office.system.nodes[await customer.serving_node()]
    for address in (f"sip:{DIALLED}@{LOOPBACK}:{office.system.carrier_port}", f"sip:{DIALLED}@{customer.domain}"):
        phone.policy = redirects(address)
        call = await carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
        assert call.status == 403
    await asyncio.sleep(QUIET_SECONDS)
    assert carrier.calls == ()
    assert await customer.refusals(2) == ["relaying_not_allowed"] * 2
    assert await customer.charges_now() == []


async def test_a_call_from_outside_is_forwarded_to_a_number_of_the_list_and_charged(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    await customer.may(forwarding=[FORWARDED])
    phone = await customer.seats[0].registered(policy=redirects(f"sip:{FORWARDED_E164}@{customer.domain}"))
    node = office.system.nodes[await customer.serving_node()]
    carrier.policy = answers(hang_up_after_seconds=1.2)
    call = await carrier.dial(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
    assert await call.wait_settled(ANSWER_LIMIT_SECONDS) == 200
    forwarded = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    assert forwarded.request is not None
    assert FORWARDED_E164 in forwarded.request.uri
    assert customer.number.removeprefix("+") in forwarded.request.header("From")
    await call.wait_ended(ANSWER_LIMIT_SECONDS)
    (charge,) = await customer.charges(1)
    billed = next(leg for leg in await customer.legs(3) if leg["leg_id"] == charge["leg_id"])
    assert (billed["leg"], billed["direction"], billed["destination"]) == ("gateway", "outbound", FORWARDED_E164)
    assert billed["seat_id"] == customer.seats[0].seat_id
    assert phone.calls == ()

    await customer.may(countries=[])
    carrier.policy = answers()
    refused = await carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
    assert refused.status == 403
    assert await customer.refusals(1) == ["country_not_allowed"]


async def test_a_seat_transfers_its_outside_party_to_colleagues_only(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    agent, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    node = office.system.nodes[await customer.serving_node()]
    outside = await carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
    talk = await agent.next_call(ANSWER_LIMIT_SECONDS)
    assert await talk.transfer(f"<sip:{customer.seats[1].extension}@{customer.domain}>") == 202
    taken = await colleague.next_call(ANSWER_LIMIT_SECONDS)
    await until(_is_live(taken), "the colleague has the call", limit_seconds=ANSWER_LIMIT_SECONDS)
    assert outside.is_live
    assert await taken.transfer(f"<sip:{DIALLED}@{customer.domain}>") == 202
    assert await outside.wait_ended(ANSWER_LIMIT_SECONDS) == "them"
    assert carrier.calls == ()
    assert await customer.refusals(1) == ["relaying_not_allowed"]
    assert await customer.charges_now() == []


@pytest.mark.parametrize("target", [DIALLED, EMERGENCY, "1777", "12", "seat"])
async def test_a_call_out_is_charged_wherever_its_party_is_sent_afterwards(
    office: Office, carrier: Carrier, target: str
) -> None:
    customer = await office.customer()
    agent, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    talk = await agent.call(DIALLED)
    called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    await asyncio.sleep(QUIET_SECONDS)
    number = customer.seats[1].extension if target == "seat" else target
    assert await talk.transfer(f"<sip:{number}@{customer.domain}>") == 202
    if target == "seat":
        await colleague.next_call(ANSWER_LIMIT_SECONDS)
        await asyncio.sleep(QUIET_SECONDS)
        await called.hangup()
    elif target == EMERGENCY:
        rescue = await carrier.next_call(ANSWER_LIMIT_SECONDS)
        await asyncio.sleep(QUIET_SECONDS)
        assert rescue.is_live, "help is not ended as a call from outside to outside"
        await rescue.hangup()
    await called.wait_ended(ANSWER_LIMIT_SECONDS)
    (charge,) = await customer.charges(1)
    assert charge["prefix"] == "86"
    billed = await office.operator.get(f"/v1/calls/{charge['leg_id']}")
    assert (billed["leg"], billed["direction"], billed["destination"]) == ("gateway", "outbound", DIALLED_E164)


async def test_two_parties_from_outside_are_not_joined_unless_the_tenant_forwards_there(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer(seats=1)
    agent = await customer.seats[0].registered()
    node = office.system.nodes[await customer.serving_node()]

    async def joins() -> tuple[Call, Call]:
        came_in = await carrier.call(customer.number, switch=node.external_sip, caller_number=OUTSIDE)
        first = await agent.next_call(ANSWER_LIMIT_SECONDS)
        second = await agent.call(FORWARDED_E164)
        went_out = await carrier.next_call(ANSWER_LIMIT_SECONDS)
        assert second.dialog is not None
        call_id, local_tag, remote_tag = second.dialog.key
        replaces = quote(f"{call_id};to-tag={remote_tag};from-tag={local_tag}", safe="")
        target = f"<sip:{FORWARDED_E164}@{customer.domain}?Replaces={replaces}>"
        assert await first.transfer(target) == 202
        return came_in, went_out

    came_in, went_out = await joins()
    await came_in.wait_ended(ANSWER_LIMIT_SECONDS)
    await went_out.wait_ended(ANSWER_LIMIT_SECONDS)
    assert "relaying_not_allowed" in await customer.refusals(2)
    assert len(await customer.charges(1)) == 1

    await customer.may(forwarding=[FORWARDED])
    came_in, went_out = await joins()
    await asyncio.sleep(3 * QUIET_SECONDS)
    assert came_in.is_live
    assert went_out.is_live
    await came_in.hangup()
    await went_out.wait_ended(ANSWER_LIMIT_SECONDS)
    assert len(await customer.charges(2)) == 2


async def test_a_party_from_outside_is_joined_with_a_colleague_after_a_word_with_him(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer()
    agent, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    first = await agent.call(DIALLED)
    outside = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    second = await agent.call(customer.seats[1].extension)
    taken = await colleague.next_call(ANSWER_LIMIT_SECONDS)
    assert second.dialog is not None
    call_id, local_tag, remote_tag = second.dialog.key
    replaces = quote(f"{call_id};to-tag={remote_tag};from-tag={local_tag}", safe="")
    assert await first.transfer(f"<sip:{customer.seats[1].extension}@{customer.domain}?Replaces={replaces}>") == 202
    await asyncio.sleep(3 * QUIET_SECONDS)
    assert outside.is_live
    assert taken.is_live
    await taken.hangup()
    await outside.wait_ended(ANSWER_LIMIT_SECONDS)
    assert len(await customer.charges(1)) == 1


async def test_a_transfer_to_a_call_on_another_machine_dials_nobody(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    agent = await customer.seats[0].registered()
    talk = await agent.call(DIALLED)
    first = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    port = office.system.carrier_port
    replaces = "Replaces=not-there%40nowhere%3Bto-tag%3Da%3Bfrom-tag%3Db"
    for target in (
        f"<sip:{OUTSIDE}@{LOOPBACK}:{port}?{replaces}>",
        f"<sip:x,sofia/gateway/carrier/{OUTSIDE}@{LOOPBACK}:{port}?{replaces}>",
    ):
        assert await talk.transfer(target) == 202
        await asyncio.sleep(QUIET_SECONDS)
    assert carrier.calls == (first,)
    assert talk.is_live
    await talk.hangup()
    assert len(await customer.charges(1)) == 1


async def test_the_spend_cap_warns_bars_calls_out_and_ends_with_the_day(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    caller, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    carrier.policy = answers(hang_up_after_seconds=0.5)
    call = await caller.call(DIALLED)  # 0.05 and six seconds at 0.60: 0.11
    await call.wait_ended(ANSWER_LIMIT_SECONDS)
    await customer.charges(1)
    try:
        await customer.may(daily_cap="0.13")
        assert [alert["kind"] for alert in await _alerts(customer, 1)] == ["warning"]
        again = await caller.call(DIALLED)
        assert again.status == 200
        await again.wait_ended(ANSWER_LIMIT_SECONDS)
        assert sorted(alert["kind"] for alert in await _alerts(customer, 2)) == ["cap_reached", "warning"]
        await _until_barred(customer, True)

        assert (await caller.call(DIALLED)).status == 403
        assert await customer.refusals(1) == ["daily_cap_reached"]
        internal, in_need = await caller.call(customer.seats[1].extension), await colleague.call(EMERGENCY)
        assert (internal.status, in_need.status) == (200, 200)
        await internal.hangup()
        await in_need.hangup()

        office.system.travel_to(clock.local_midnight(clock.today() + timedelta(days=1)) + timedelta(minutes=1))
        tomorrow = await caller.call(DIALLED)
        assert tomorrow.status == 200
        await tomorrow.hangup()
    finally:
        office.system.travel_to(None)


async def test_a_call_that_is_running_counts_against_the_cap(office: Office, carrier: Carrier) -> None:
    customer = await office.customer()
    await customer.may(daily_cap="0.10")
    caller, colleague = await customer.seats[0].registered(), await customer.seats[1].registered()
    running = await caller.call(DIALLED)
    assert running.status == 200
    await _until_barred(customer, True)
    assert running.is_live
    assert (await colleague.call(DIALLED)).status == 403
    await customer.may(daily_cap=None)
    await _until_barred(customer, False)
    released = await colleague.call(DIALLED)
    assert released.status == 200
    await released.hangup()
    await running.hangup()


async def _alerts(customer: Customer, count: int) -> list[Any]:
    async def look() -> list[Any] | None:
        found = await customer.office.operator.items("/v1/spend-alerts", tenant_id=customer.tenant_id)
        return found if len(found) == count else None

    return await until(look, f"{count} spend alerts of {customer.domain}", limit_seconds=EFFECT_LIMIT_SECONDS)


async def _until_barred(customer: Customer, expected: bool) -> None:
    async def look() -> bool:
        policy = await customer.office.operator.get(f"/v1/tenants/{customer.tenant_id}/call-policy")
        return policy["today"]["is_barred"] is expected

    await until(look, f"barred is {expected} of {customer.domain}", limit_seconds=EFFECT_LIMIT_SECONDS)


def _is_live(call: Any) -> Any:
    async def look() -> bool:
        return bool(call.is_live)

    return look
