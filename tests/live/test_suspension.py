"""A suspended tenant: nothing registers, nothing calls, what runs is ended; emergency numbers pass (rule 7)."""

from __future__ import annotations

from datetime import timedelta

from infra.kit import clock
from switch.sip.carrier import Carrier
from tests.live.customers import Customer, Office
from tests.live.waiting import until

ANSWER_LIMIT_SECONDS = 10.0
EFFECT_LIMIT_SECONDS = 15.0
CLEARED_WITHIN_SECONDS = 8.0
DIALLED = "13800138000"
EMERGENCY = "110"
FORBIDDEN = 403


async def test_from_the_suspension_on_nothing_registers_and_nothing_calls_but_emergencies(
    office: Office, carrier: Carrier
) -> None:
    customer = await office.customer()
    caller, called = await customer.seats[0].registered(), await customer.seats[1].registered()
    node = office.system.nodes[await customer.serving_node()]
    await customer.suspend()

    assert await caller.register() == FORBIDDEN
    assert (await caller.call(DIALLED)).status == FORBIDDEN
    assert (await caller.call(customer.seats[1].extension)).status == FORBIDDEN
    into = await carrier.call(customer.number, switch=node.external_sip, caller_number="13900139000")
    assert into.status == FORBIDDEN
    assert called.calls == ()
    assert carrier.calls == ()

    emergency = await caller.call(EMERGENCY)
    assert emergency.status == 200
    arrived = await carrier.next_call(ANSWER_LIMIT_SECONDS)
    assert arrived.request is not None
    assert EMERGENCY in arrived.request.uri
    await emergency.hangup()
    legs = await customer.legs(5)
    refused = [leg["refusal"] for leg in legs if leg["refusal"] is not None]
    assert refused == ["tenant_suspended"] * 3
    assert sorted(leg["leg"] for leg in legs if leg["direction"] == "emergency") == ["caller", "gateway"]
    assert await customer.charges_now() == []


async def test_a_suspension_ends_live_calls_within_seconds_but_no_emergency_call(
    office: Office, carrier: Carrier
) -> None:
    customer, other = await office.customer(), await office.customer(seats=1)
    caller = await customer.seats[0].registered()
    in_need = await customer.seats[1].registered()
    bystander = await other.seats[0].registered()
    ordinary, emergency = await caller.call(DIALLED), await in_need.call(EMERGENCY)
    untouched = await bystander.call(DIALLED)
    assert (ordinary.status, emergency.status, untouched.status) == (200, 200, 200)

    await customer.suspend()
    assert await ordinary.wait_ended(CLEARED_WITHIN_SECONDS) == "them"
    await customer.canary(["refused", "refused"])
    assert emergency.is_live
    assert untouched.is_live
    await emergency.hangup()
    await untouched.hangup()
    ended = next(leg for leg in await customer.legs(4) if leg["leg"] == "gateway" and leg["direction"] == "outbound")
    assert ended["hangup_cause"] == "MANAGER_REQUEST"
    assert len(await customer.charges(1)) == 1


async def test_after_the_restoration_the_same_phones_register_and_call_again(office: Office) -> None:
    customer = await office.customer()
    caller, called = await customer.seats[0].registered(), await customer.seats[1].registered()
    await customer.suspend()
    assert (await caller.register(), await called.register()) == (FORBIDDEN, FORBIDDEN)
    await customer.canary(["refused", "refused"])
    await customer.restore()
    assert (await caller.register(), await called.register()) == (200, 200)
    call = await caller.call(customer.seats[1].extension)
    assert call.status == 200
    await call.hangup()
    checks = await customer.canary(["accepted", "refused"])
    assert not any(check["is_alarm"] for check in checks)


async def test_the_canary_says_how_soon_a_suspension_took_effect(office: Office) -> None:
    customer = await office.customer(seats=1)
    await customer.suspend()
    checks = await customer.canary(["refused", "refused"])
    assert {check["node"] for check in checks} == set(office.system.nodes)
    assert not any(check["is_alarm"] for check in checks)
    assert all(0 <= check["seconds_to_effect"] < EFFECT_LIMIT_SECONDS for check in checks)
    assert {check["lookup"] for check in checks} == {"not_found"}
    assert {check["registration"] for check in checks} == {"refused 403"}


async def test_who_does_not_pay_is_suspended_and_whoever_pays_is_back(office: Office, carrier: Carrier) -> None:
    customer = await office.customer(seats=1, grace_days=15)
    caller = await customer.seats[0].registered()
    try:
        await falls_behind(office, customer)
        assert await caller.register() == FORBIDDEN
        assert (await caller.call(DIALLED)).status == FORBIDDEN
        emergency = await caller.call(EMERGENCY)
        assert emergency.status == 200
        await emergency.hangup()

        await customer.pay_everything()
        assert await customer.standing() == "active"
        assert await caller.register() == 200
        call = await caller.call(DIALLED)
        assert call.status == 200
        await call.hangup()
        checks = await customer.canary(["accepted", "refused"])
        assert not any(check["is_alarm"] for check in checks)
    finally:
        office.system.travel_to(None)


async def falls_behind(office: Office, customer: Customer) -> None:
    """Travel past the day on which the next month's unpaid invoice suspends; the system suspends by itself."""
    first = (clock.today().replace(day=1) + timedelta(days=32)).replace(day=1)
    office.system.travel_to(clock.local_midnight(first) + timedelta(hours=9))

    async def reconciled() -> bool:
        return await office.has_reconciled(f"{first - timedelta(days=1):%Y-%m}")

    await until(reconciled, "every node is counted to the month's end", limit_seconds=EFFECT_LIMIT_SECONDS)
    # It goes out by itself within a minute; finance does not wait for that.
    await office.finance.post("/v1/invoice-runs", month=f"{first:%Y-%m}")

    async def invoiced() -> list[object]:
        invoices = await office.finance.items("/v1/invoices", tenant_id=customer.tenant_id)
        return [invoice for invoice in invoices if invoice["reason"] == "monthly"]

    await until(invoiced, "the monthly invoice", limit_seconds=EFFECT_LIMIT_SECONDS)
    office.system.travel_to(clock.local_midnight(first + timedelta(days=27)) + timedelta(hours=9))

    async def is_suspended() -> bool:
        return await customer.standing() == "suspended"

    await until(is_suspended, "the suspension", limit_seconds=EFFECT_LIMIT_SECONDS)
