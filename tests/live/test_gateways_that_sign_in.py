"""Gateways whose carrier wants to know who calls: nodes sign in there, and show where they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.live.customers import Office
from tests.live.test_gateways import DIALLED, KNOWN_LIMIT_SECONDS, LiveGateway, gateway
from tests.live.waiting import until

USER, PASSWORD = "trunk-1", "only the carrier knows"
SIGNS_IN: Mapping[str, Any] = {"username": USER, "password": PASSWORD, "registers": True}


async def seen(signing_in: LiveGateway) -> set[tuple[str, str]]:
    """How the nodes see it: its state, and FreeSWITCH's word for the registration."""
    return {(each["state"], each["registration"]) for each in await signing_in.states()}


async def becomes_signed_in(signing_in: LiveGateway) -> None:
    """Wait until every node is signed in."""

    async def is_so() -> bool:
        return await seen(signing_in) == {("up", "REGED")}

    await until(is_so, "every node is signed in", limit_seconds=KNOWN_LIMIT_SECONDS)


async def test_a_gateway_that_registers_is_shown_as_registered_and_takes_calls(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    async with gateway(office, "signing-in", accounts={USER: PASSWORD}, **SIGNS_IN) as signing_in:
        await becomes_signed_in(signing_in)
        assert "signing-in" in signing_in.sign_ins.contacts[USER]
        assert signing_in.sign_ins.refused == 0
        call = await phone.call(DIALLED)
        assert (call.status, len(signing_in.carrier.calls)) == (200, 1)
        await call.hangup()
        await signing_in.change(is_enabled=False)

        async def is_signed_out() -> bool:
            return signing_in.sign_ins.contacts == {}

        await until(is_signed_out, "the nodes have signed out", limit_seconds=KNOWN_LIMIT_SECONDS)


async def test_a_gateway_that_cannot_sign_in_is_shown_down_with_the_carriers_words_until_it_can(
    office: Office,
) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    wrong = {**SIGNS_IN, "password": "a wrong one"}
    async with (
        gateway(office, "refused", accounts={USER: PASSWORD}, begins="down", priority=1, **wrong) as refused,
        gateway(office, "second", priority=2) as second,
    ):

        async def is_waiting() -> bool:
            return await seen(refused) == {("down", "FAIL_WAIT")}

        await until(is_waiting, "every node was refused", limit_seconds=KNOWN_LIMIT_SECONDS)
        assert {each["problem"] for each in await refused.states()} == {"403 Forbidden"}
        assert refused.sign_ins.refused >= 1
        call = await phone.call(DIALLED)
        assert (call.status, len(second.carrier.calls), refused.carrier.calls) == (200, 1, ())
        await call.hangup()

        await refused.change(password=PASSWORD)
        await becomes_signed_in(refused)
        assert {each["problem"] for each in await refused.states()} == {None}
        again = await phone.call(DIALLED)
        assert (again.status, len(refused.carrier.calls)) == (200, 1)
        await again.hangup()
