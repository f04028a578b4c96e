"""Whoever guesses passwords is seen, and what a phone says of itself reaches no emergency service."""

from __future__ import annotations

from typing import Any

from switch.sip.carrier import Carrier
from switch.sip.uri import SipUri
from tests.live.customers import Office
from tests.live.waiting import until

FORBIDDEN = 403
GUESSES = 5
COUNTED_LIMIT_SECONDS = 15.0
ANSWER_LIMIT_SECONDS = 5.0


async def test_wrong_passwords_are_counted_by_name_and_address(office: Office) -> None:
    customer = await office.customer(seats=1)
    seat = customer.seats[0]
    guessing = await seat.phone(password="a guess")
    for _ in range(GUESSES):
        assert await guessing.register() == FORBIDDEN

    async def counted() -> list[Any] | None:
        found = await office.operator.items("/v1/refused-sign-ins", tenant_id=customer.tenant_id)
        return found if sum(row["attempts"] for row in found) >= GUESSES else None

    found = await until(counted, "the refusals are counted", limit_seconds=COUNTED_LIMIT_SECONDS)
    assert {(row["username"], row["domain"], row["node"], row["source"]) for row in found} == {
        (seat.extension, customer.domain, await customer.serving_node(), "127.0.0.1")
    }
    assert sum(row["attempts"] for row in found) == GUESSES


async def test_an_emergency_call_without_a_number_of_the_tenants_shows_none(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    call = await phone.call("110")
    assert call.status == 200
    await call.hangup()
    await office.operator.delete(f"/v1/phone-numbers/{customer.number}")
    call = await phone.call("110")
    assert call.status == 200
    await call.hangup()
    shown = [(await carrier.next_call(ANSWER_LIMIT_SECONDS)).remote for _ in range(2)]
    assert [SipUri.parse(each).user for each in shown] == [customer.number.removeprefix("+"), "anonymous"]
