"""Whoever does not pay is cut off after the tolerance, and is back with the payment (C8, rules 7 and 8)."""

from __future__ import annotations

import pytest

from tests.world import LANDLINE, MOBILE, NOT_FOUND, Answered, Refused, World

SUSPENDED = Refused("tenant_suspended")
OVERDUE = ("suspended", "payment_overdue")
ACTIVE = ("active", None)


@pytest.mark.parametrize(
    ("preset", "days_before", "last_moment", "cut_off"),
    [
        ("onsite", "2026-07-10 09:00", "2026-07-15 23:59", "2026-07-16 00:00"),
        ("hosted", "2026-07-20 09:00", "2026-07-25 23:59", "2026-07-26 00:00"),
    ],
)
async def test_unpaid_past_the_tolerance_nobody_can_call(
    world: World, preset: str, days_before: str, last_moment: str, cut_off: str
) -> None:
    tenant = await world.signs(preset=preset, seats=3, opens="2026-06-01")
    other = await world.signs(preset=preset, seats=1, opens="2026-06-01")
    await world.travel_to("2026-05-29 10:00")
    await tenant.pays_everything()
    await other.pays_everything()
    await world.travel_to("2026-07-01 09:00")
    await other.pays_everything()

    await world.travel_to(days_before)
    await world.travel_to(last_moment, day_by_day=True)
    assert await tenant.standing() == ACTIVE
    assert await tenant.seat(1).calls(MOBILE) == Answered()
    await world.travel_to(cut_off)
    assert await tenant.standing() == OVERDUE
    for number in (1, 2, 3):
        assert await tenant.seat(number).registers() == NOT_FOUND
        assert await tenant.seat(number).calls(MOBILE) == SUSPENDED
    assert await tenant.seat(1).calls(LANDLINE) == SUSPENDED
    assert await tenant.seat(1).calls("1002") == SUSPENDED
    for emergency in ("110", "119", "120", "122"):
        assert await tenant.seat(2).calls(emergency) == Answered()
    add = await tenant.tries_to_order(1, "2026-08-20")
    assert (add.status_code, add.json()["code"]) == (409, "tenant_may_not_order")
    # The neighbour notices nothing of it.
    assert await other.standing() == ACTIVE
    assert await other.seat(1).registers() == Answered()
    assert await other.seat(1).calls(MOBILE) == Answered()

    await tenant.pays("5999.99")
    await world.work()
    assert await tenant.standing() == OVERDUE
    assert await tenant.seat(1).calls(MOBILE) == SUSPENDED
    await tenant.pays("0.01")
    # It is back with the payment's commit, before any job has run.
    assert await tenant.standing() == ACTIVE
    assert await tenant.seat(1).registers() == Answered()
    assert await tenant.seat(1).calls(MOBILE) == Answered()
    await world.work()
    assert await tenant.standing() == ACTIVE
    assert {each.state for each in await other.invoices()} == {"paid"}
    done_to_other = {each["action"] for each in (await other.admin.ask("/v1/audit", limit=200))["items"]}
    assert "invoice.issued" in done_to_other
    assert not done_to_other & {"tenant.suspended", "tenant.active"}


async def test_rent_goes_on_while_suspended_and_only_full_payment_of_what_is_overdue_restores(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=1, opened="2026-06-01")
    await world.travel_to("2026-08-02 09:00")
    assert await tenant.standing() == OVERDUE
    assert [each.total for each in await tenant.invoices("monthly")] == ["2000.00", "2000.00"]
    # August's invoice is not due yet: July's alone keeps the tenant suspended.
    await tenant.pays("2000.00")
    assert await tenant.standing() == ACTIVE
    assert [each.state for each in await tenant.invoices("monthly")] == ["paid", "open"]
    await world.travel_to("2026-08-15 23:59")
    assert await tenant.seat(1).calls(MOBILE) == Answered()
    await world.travel_to("2026-08-16 00:00")
    assert await tenant.seat(1).calls(MOBILE) == SUSPENDED


async def test_a_payment_that_was_recorded_by_mistake_is_reversed_and_the_tenant_suspended_again(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=1, opened="2026-06-01")
    await world.travel_to("2026-07-16 00:00")
    assert await tenant.standing() == OVERDUE
    payment = await tenant.pays_everything()
    await world.work()
    assert await tenant.seat(1).calls(MOBILE) == Answered()
    reversal = f"/v1/payments/{payment['payment_id']}/reversal"
    await world.finance.does(reversal, {"reason": "another customer's money"})
    await world.work()
    assert await tenant.standing() == OVERDUE
    assert await tenant.seat(1).calls(MOBILE) == SUSPENDED
    assert (await tenant.balance())["owed"] == "2000.00"
    again = await world.finance.post(reversal, {"reason": "once more"})
    assert (again.status_code, again.json()["code"]) == (409, "payment_reversed")
    shown = await tenant.admin.ask(f"/v1/payments/{payment['payment_id']}")
    assert shown["reversal_reason"] == "another customer's money"
    await tenant.pays_everything()
    assert await tenant.seat(1).calls(MOBILE) == Answered()


async def test_what_is_paid_too_much_pays_the_next_invoice(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=1, opened="2026-06-01")
    await tenant.pays("3500.00")
    assert (await tenant.balance())["credit"] == "3500.00"
    await world.travel_to("2026-07-01 00:03")
    july = await tenant.invoice("monthly", "2026-07")
    assert (july.state, july.plain["paid_on"]) == ("paid", "2026-07-01")
    assert (await tenant.balance())["credit"] == "1500.00"
    await world.travel_to("2026-08-01 00:03")
    august = await tenant.invoice("monthly", "2026-08")
    assert (august.state, august.plain["paid"], august.plain["open"]) == ("open", "1500.00", "500.00")
    await world.travel_to("2026-08-26 00:00")
    assert await tenant.seat(1).calls(MOBILE) == SUSPENDED
    await tenant.pays("500.00")
    assert await tenant.seat(1).calls(MOBILE) == Answered()


async def test_an_operators_own_suspension_is_not_lifted_by_a_payment(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=1, opened="2026-06-01")
    await world.travel_to("2026-07-12 09:00")
    await world.operator.does(f"/v1/tenants/{tenant.tenant_id}/suspension", {"note": "sub-letting"})
    assert await tenant.seat(1).calls(MOBILE) == SUSPENDED
    await world.travel_to("2026-07-16 00:00")
    await tenant.pays_everything()
    await world.work()
    assert await tenant.standing() == ("suspended", "operator_decision")
    assert await tenant.seat(1).calls(MOBILE) == SUSPENDED
    assert await tenant.seat(1).calls("119") == Answered()
