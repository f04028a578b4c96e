"""An unpaid order is moved to another day: its invoice is void, and issued again for that day (rule 5)."""

from __future__ import annotations

from typing import Any

import httpx

from tests.billing.histories import add, document, pay
from tests.journeys.test_calculator_agrees import in_order, plain
from tests.world import NOT_FOUND, Answered, Customer, World


async def moves(tenant: Customer, order: dict[str, Any], day: str, **body: Any) -> httpx.Response:
    return await tenant.admin.post(f"/v1/seat-orders/{order['order_id']}/move", {"effective_on": day} | body)


async def test_an_addition_moved_to_the_next_month_is_priced_by_its_new_day_and_keeps_what_was_paid(
    world: World,
) -> None:
    tenant = await world.tenant(preset="hosted", seats=2, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    order = await tenant.orders(3, "2026-06-16")
    await tenant.pays("1500.00")
    await world.travel_to("2026-06-12 09:00")
    path = f"/v1/seat-orders/{order['order_id']}/move"
    shown = await tenant.admin.does(f"{path}/preview", {"effective_on": "2026-07-17"})
    assert (shown["paid_by_credit"], len(shown["replaces"])) == ("1500.00", 1)
    assert (await tenant.order(order["order_id"]))["effective_on"] == "2026-06-16"

    moved = await tenant.admin.does(path, {"effective_on": "2026-07-17"})
    assert (moved["effective_on"], moved["ordered_on"], moved["state"]) == (
        "2026-07-17", "2026-06-12", "awaiting_payment",
    )  # fmt: skip
    assert moved["seat_ids"] == order["seat_ids"]
    before, addition = await tenant.invoices("addition")
    assert (before.state, before.plain["void_reason"]) == ("void", "moved to 2026-07-17")
    assert (addition.dates, addition.plain["period"]) == (("2026-06-12", "2026-07-17", None), "2026-07")
    # three seats, 15 of July's 31 days, and a month of deposit each
    assert addition.kinds() == {"deposit": "6000.00", "rent": "2903.23"}
    assert addition.total == shown["invoice"]["total"]
    assert (await tenant.balance())["owed"] == shown["to_pay"] == "7403.23"

    await world.travel_to("2026-07-01 00:03")  # the month of its first day is over: nothing lapses any more
    assert (await tenant.order(order["order_id"]))["state"] == "awaiting_payment"
    assert (await tenant.invoice("monthly")).kinds() == {"rent": "4000.00"}
    await tenant.pays_everything()
    await world.travel_to("2026-07-16 23:59")
    assert await tenant.seat(3).registers() == NOT_FOUND
    await world.travel_to("2026-07-17 00:00")
    assert await tenant.seat(3).registers() == Answered()


async def test_a_move_keeps_the_notice_unless_the_operator_waives_it(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    order = await tenant.orders(1, "2026-06-20")
    early = await moves(tenant, order, "2026-06-15")
    assert (early.status_code, early.json()["code"], early.json()["earliest"]) == (
        422, "notice_too_short", "2026-06-16",
    )  # fmt: skip
    own = await moves(tenant, order, "2026-06-15", waive_notice=True)
    assert (own.status_code, own.json()["field"]) == (403, "waive_notice")
    same = await moves(tenant, order, "2026-06-20")
    assert (same.status_code, same.json()["field"]) == (422, "effective_on")
    assert [each.state for each in await tenant.invoices("addition")] == ["open"]

    body = {"effective_on": "2026-06-11", "waive_notice": True}
    waived = await world.operator.does(f"/v1/seat-orders/{order['order_id']}/move", body)
    assert waived["notice_waived_by"] == world.operator.client_id
    await tenant.pays_everything()
    await world.work()
    assert await tenant.seat(2).registers() == Answered()


async def test_what_is_paid_returned_or_gone_is_not_moved(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=2, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    paid = await tenant.orders(1, "2026-06-20")
    await tenant.pays_everything()
    gone = await tenant.orders(1, "2026-06-20")
    await tenant.admin.does(f"/v1/seat-orders/{gone['order_id']}/cancellation", {})
    given_back = await tenant.returns(1, "2026-06-25")
    for order in (paid, gone, given_back):
        refused = await moves(tenant, order, "2026-06-28")
        assert (refused.status_code, refused.json()["code"]) == (409, "order_not_movable")


async def test_the_others_on_the_invoice_stay_where_they_are(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    stays, goes = await tenant.orders(2, "2026-06-16"), await tenant.orders(1, "2026-06-16")
    assert (await moves(tenant, goes, "2026-06-23")).status_code == 200
    standing = [each for each in await tenant.invoices("addition") if each.state == "open"]
    assert [(each.dates[1], each.total) for each in standing] == [("2026-06-16", "4000.00"), ("2026-06-23", "2000.00")]
    charged_by = [(await tenant.order(each["order_id"]))["invoice_id"] for each in (stays, goes)]
    assert charged_by == [each.plain["invoice_id"] for each in standing]


async def test_an_unpaid_opening_moves_as_a_whole_and_the_contracts_first_day_with_it(world: World) -> None:
    tenant = await world.signs(preset="hosted", seats=2, opens="2026-06-08")
    circuits = await tenant.orders(3, "2026-06-08", item="circuit")
    await world.travel_to("2026-06-04 09:00")
    assert (await tenant.invoice("opening")).dates[0] == "2026-06-03"
    listed = (await tenant.admin.ask("/v1/seat-orders"))["items"]
    assert (await moves(tenant, circuits, "2026-07-20")).status_code == 200
    assert {(await tenant.order(each["order_id"]))["effective_on"] for each in listed} == {"2026-07-20"}
    assert (await tenant.admin.ask(f"/v1/contracts/{tenant.contract_id}"))["opens_on"] == "2026-07-20"
    assert [each.state for each in await tenant.invoices("opening")] == ["void"]
    assert (await tenant.balance())["owed"] == "0.00"

    await world.travel_to("2026-07-15 09:00")
    opening = [each for each in await tenant.invoices("opening") if each.state == "open"]
    # 20 July is a Monday; two seats, 12 of July's 31 days, and a month of deposit each
    assert [each.dates for each in opening] == [("2026-07-15", "2026-07-17", None)]
    assert opening[0].kinds() == {"deposit": "4000.00", "rent": "1548.39"}
    back = await moves(tenant, circuits, "2026-07-16")  # an opening needs no notice
    assert back.status_code == 200
    opening = [each for each in await tenant.invoices("opening") if each.state == "open"]
    assert [each.dates[:2] for each in opening] == [("2026-07-15", "2026-07-15")]
    await tenant.pays_everything()
    await world.travel_to("2026-07-16 00:00")
    assert await tenant.seat(2).registers() == Answered()


async def test_an_opening_does_not_pass_what_is_added_after_it(world: World) -> None:
    tenant = await world.signs(preset="hosted", seats=1, opens="2026-06-08")
    opening = (await tenant.admin.ask("/v1/seat-orders"))["items"][0]
    addition = await tenant.orders(2, "2026-06-20")
    refused = await moves(tenant, opening, "2026-06-20")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
        409, "order_not_movable", "effective_on",
    )  # fmt: skip
    before = await moves(tenant, addition, "2026-06-05")
    assert before.status_code == 422
    # Moved to the first day it is one of what opens with the contract, on one invoice.
    joined = await moves(tenant, addition, "2026-06-08")
    assert (joined.status_code, joined.json()["kind"]) == (200, "opening")
    await world.travel_to("2026-06-03 09:00")
    assert (await tenant.invoice("opening")).kinds()["deposit"] == "6000.00"


async def test_a_moved_order_costs_what_the_calculator_says_of_an_order_of_that_day(world: World) -> None:
    terms = {"volume": [{"from": 5, "rent": "1777.77"}]}
    tenant = await world.signs(preset="hosted", seats=3, opens="2026-06-08", terms=terms)
    await world.travel_to("2026-06-04 10:00")
    opening = await tenant.invoice("opening")
    await tenant.pays(opening.total)
    await world.travel_to("2026-06-10 09:00")
    order = await tenant.orders(3, "2026-06-17")
    await world.travel_to("2026-06-12 09:00")
    assert (await moves(tenant, order, "2026-07-09")).status_code == 200
    await world.travel_to("2026-07-02 09:00")
    owed = (await tenant.balance())["owed"]
    await tenant.pays(owed)
    await world.travel_to("2026-08-01 09:00")
    events = [
        add("2026-06-08", 3),
        pay("2026-06-04", opening.total),
        add("2026-07-09", 3, ordered_on="2026-06-12"),
        pay("2026-07-02", owed),
    ]
    question = document("hosted", "2026-06-08", "2026-08-01", events, terms)
    quoted = await tenant.admin.does("/v1/quotes", question)
    lived = [each.plain for each in await tenant.invoices() if each.state != "void"]
    assert sorted(map(plain, lived), key=in_order) == [plain(each) for each in quoted["invoices"]]
    assert (await tenant.balance())["balance"] == quoted["balance"]
