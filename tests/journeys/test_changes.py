"""Seats come and go while a contract runs (C9, C10, rules 4, 5 and 6)."""

from __future__ import annotations

from tests.world import MOBILE, NOT_FOUND, Answered, Refused, World


async def test_more_seats_with_notice_open_on_their_day_when_they_are_paid(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=2, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    order = await tenant.orders(3, "2026-06-16")
    addition = await tenant.invoice("addition")
    assert addition.dates == ("2026-06-11", "2026-06-16", None)
    # three seats, 15 of June's 30 days, and a month of deposit each
    assert addition.kinds() == {"deposit": "6000.00", "rent": "3000.00"}
    await tenant.pays_everything()
    await world.travel_to("2026-06-15 23:59")
    assert await tenant.seat(3).registers() == NOT_FOUND
    await world.travel_to("2026-06-16 00:00")
    assert [await tenant.seat(number).registers() for number in (1, 3, 5)] == [Answered()] * 3
    assert (await tenant.order(order["order_id"]))["state"] == "done"
    await world.travel_to("2026-07-01 00:03")
    assert (await tenant.invoice("monthly")).kinds() == {"rent": "10000.00"}


async def test_under_the_onsite_preset_an_addition_costs_the_full_month_and_no_deposit(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=2, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    await tenant.orders(3, "2026-06-16")
    assert (await tenant.invoice("addition")).kinds() == {"rent": "6000.00"}


async def test_too_short_a_notice_is_refused_unless_the_operator_waives_it(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    early = await tenant.tries_to_order(1, "2026-06-15")
    assert (early.status_code, early.json()["code"], early.json()["field"]) == (
        422, "notice_too_short", "effective_on",
    )  # fmt: skip
    assert early.json()["earliest"] == "2026-06-16"
    own = await tenant.tries_to_order(1, "2026-06-15", waived_by=tenant.admin)
    assert (own.status_code, own.json()["field"]) == (403, "waive_notice")
    assert await tenant.invoices("addition") == []

    waived = await tenant.tries_to_order(1, "2026-06-11", waived_by=world.operator)
    assert (waived.status_code, waived.json()["notice_waived_by"]) == (201, world.operator.client_id)
    await tenant.pays_everything()
    await world.work()
    assert await tenant.seat(2).calls(MOBILE) == Answered()


async def test_an_unpaid_addition_lapses_at_the_end_of_its_month(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    order = await tenant.orders(2, "2026-06-16")
    await world.travel_to("2026-06-30 23:59")
    assert (await tenant.invoice("addition")).state == "open"
    assert await tenant.standing() == ("active", None)
    assert await tenant.seat(1).calls(MOBILE) == Answered()
    await world.travel_to("2026-07-01 00:03")
    addition = await tenant.invoice("addition")
    assert (addition.state, addition.plain["open"]) == ("void", "0.00")
    assert (await tenant.order(order["order_id"]))["state"] == "lapsed"
    assert (await tenant.invoice("monthly")).kinds() == {"rent": "2000.00"}
    assert (await tenant.balance())["owed"] == "2000.00"
    await tenant.pays_everything()
    await world.work()
    assert await tenant.seat(2).registers() == NOT_FOUND


async def test_an_addition_that_is_cancelled_is_owed_no_more_and_what_was_paid_is_credit(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    order = await tenant.orders(2, "2026-06-16")
    await tenant.pays("1500.00")
    await tenant.admin.does(f"/v1/seat-orders/{order['order_id']}/cancellation", {"reason": "no need after all"})
    assert (await tenant.invoice("addition")).state == "void"
    assert (await tenant.balance())["balance"] == "-1500.00"
    await world.travel_to("2026-07-01 00:03")
    assert (await tenant.balance())["balance"] == "500.00"


async def test_a_return_by_the_20th_costs_seventy_percent_a_later_one_the_whole_month(world: World) -> None:
    early = await world.signs(preset="hosted", seats=3, opens="2026-06-01")
    late = await world.signs(preset="onsite", seats=3, opens="2026-06-01")
    await world.travel_to("2026-05-29 10:00")
    await early.pays_everything()
    await late.pays_everything()
    await world.travel_to("2026-06-11 09:00")
    refused = await early.admin.post(
        "/v1/seat-orders",
        {"contract_id": early.contract_id, "kind": "return", "quantity": 1, "effective_on": "2026-06-15"},
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "notice_too_short")
    await early.returns(2, "2026-06-20")
    await late.returns(2, "2026-06-21")
    await world.travel_to("2026-06-20 23:59")
    assert await early.seat(3).calls(MOBILE) == Answered()
    await world.travel_to("2026-06-21 00:00")
    assert await early.seat(3).registers() == NOT_FOUND
    assert await early.seat(3).calls(MOBILE) == Refused("seat_closed")
    assert await early.seat(3).calls("120") == Answered()
    assert await early.seat(1).calls("1003") == Refused("seat_closed")
    assert await early.seat(1).calls(MOBILE) == Answered()
    assert await late.seat(3).calls(MOBILE) == Answered()
    await world.travel_to("2026-07-01 00:03")
    assert await late.seat(3).registers() == NOT_FOUND
    monthly = await early.invoice("monthly")
    assert monthly.kinds() == {"rent": "2000.00", "return_credit": "-1200.00", "deposit_return": "-4000.00"}
    assert (monthly.total, (await early.balance())["balance"]) == ("-3200.00", "-3200.00")
    assert (await late.invoice("monthly")).kinds() == {"rent": "2000.00"}
    await world.travel_to("2026-08-01 00:03")
    # The credit has paid for a month more, and some of it is still left.
    assert (await early.balance())["balance"] == "-1200.00"
