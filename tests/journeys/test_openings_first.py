"""A contract opens with its opening, deposit and first month paid: additions wait for it, or go with it (C4, C6)."""

from __future__ import annotations

from typing import Any

import pytest

from billing import order_ends
from provisioning import order_progress
from tenancy.webhooks.event_types import BY_ACTION
from tests.billing.histories import add, document, pay
from tests.journeys.test_calculator_agrees import in_order, plain
from tests.journeys.test_moved_orders import moves
from tests.world import NOT_FOUND, Answered, Customer, World

DEPOSIT = {"deposit": "10000.00"}


async def signed(world: World, **contract: Any) -> tuple[Customer, dict[str, Any], dict[str, Any]]:
    """A contract for one seat from 8 June, and five more from the 9th that are paid: tenant, opening, addition."""
    tenant = await world.signs(preset="onsite", seats=1, opens="2026-06-08", terms=DEPOSIT | contract)
    opening = (await tenant.admin.ask("/v1/seat-orders"))["items"][0]
    addition = await tenant.orders(5, "2026-06-09")
    await tenant.pays_everything()
    return tenant, opening, addition


async def shown(tenant: Customer, order: dict[str, Any]) -> tuple[str, str | None]:
    found = await tenant.order(order["order_id"])
    return found["state"], found["held_back_by"]


async def test_a_paid_addition_waits_for_the_opening_and_opens_with_its_payment(world: World) -> None:
    tenant, _, addition = await signed(world)
    await world.travel_to("2026-06-12 09:00")
    assert await shown(tenant, addition) == ("scheduled", "opening")
    assert await tenant.seat(2).registers() == NOT_FOUND
    assert (await tenant.admin.ask(f"/v1/contracts/{tenant.contract_id}"))["state"] == "signed"
    opening = await tenant.invoice("opening")
    assert opening.kinds() == {"deposit": "10000.00", "rent": "2000.00"}
    await tenant.pays(opening.total)
    await world.work()
    assert [await tenant.seat(number).registers() for number in (1, 2)] == [Answered()] * 2
    assert await shown(tenant, addition) == ("done", None)

    await world.travel_to("2026-07-02 09:00")
    events = [
        add("2026-06-08", 1),
        add("2026-06-09", 5, ordered_on=addition["ordered_on"]),
        pay(addition["ordered_on"], "10000.00"),
        pay("2026-06-12", "12000.00"),
    ]
    question = document("onsite", "2026-06-08", "2026-07-02", events, DEPOSIT)
    quoted = await tenant.admin.does("/v1/quotes", question)
    lived = [each.plain for each in await tenant.invoices()]
    assert sorted(map(plain, lived), key=in_order) == [plain(each) for each in quoted["invoices"]]


async def test_additions_lapse_with_an_opening_that_is_not_paid_and_their_money_is_credit(world: World) -> None:
    tenant, opening, addition = await signed(world)
    later = await tenant.orders(1, "2026-08-20")
    await tenant.pays("2000.00")
    ordered_on = addition["ordered_on"]
    await world.travel_to("2026-07-01 09:00")
    assert [(await shown(tenant, each))[0] for each in (opening, addition, later)] == ["lapsed"] * 3
    assert {each.state for each in await tenant.invoices()} == {"void"}
    assert (await tenant.admin.ask(f"/v1/contracts/{tenant.contract_id}"))["state"] == "lapsed"
    assert (await tenant.balance())["credit"] == "12000.00"
    assert await tenant.seat(2).registers() == NOT_FOUND
    events = [
        add("2026-06-08", 1),
        add("2026-06-09", 5, ordered_on=ordered_on),
        add("2026-08-20", 1, ordered_on=ordered_on),
        pay(ordered_on, "12000.00"),
    ]
    quoted = await tenant.admin.does("/v1/quotes", document("onsite", "2026-06-08", "2026-07-01", events, DEPOSIT))
    lived = [each.plain for each in await tenant.invoices()]
    assert sorted(map(plain, lived), key=in_order) == [plain(each) for each in quoted["invoices"]]
    assert (await tenant.balance())["balance"] == quoted["balance"]


async def test_an_opening_is_not_cancelled_while_additions_wait_for_it(world: World) -> None:
    tenant, opening, addition = await signed(world)
    path = "/v1/seat-orders/{}/cancellation"
    refused = await tenant.admin.post(path.format(opening["order_id"]), {})
    assert (refused.status_code, refused.json()["code"]) == (409, "opening_needed")
    assert addition["order_id"] in refused.json()["detail"]
    await tenant.admin.does(path.format(addition["order_id"]), {})
    await tenant.admin.does(path.format(opening["order_id"]), {})
    assert (await tenant.balance())["credit"] == "10000.00"


async def test_an_addition_left_waiting_for_an_opening_that_is_gone_lapses_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, opening, addition = await signed(world)
    with monkeypatch.context() as before:  # as cancellations were before they asked what waits
        before.setattr(order_ends, "_check_nothing_waits_for_it", _nothing)
        before.setattr(order_ends, "_let_go_without_opening", _nothing)
        await tenant.admin.does(f"/v1/seat-orders/{opening['order_id']}/cancellation", {})
    assert (await tenant.balance())["credit"] == "0.00"
    await world.travel_to("2026-06-09 00:00")
    assert await shown(tenant, addition) == ("lapsed", None)
    assert (await tenant.balance())["credit"] == "10000.00"
    trail = (await tenant.admin.ask("/v1/audit", limit=200))["items"]
    lapsed = [each for each in trail if each["action"] == "seat_order.lapsed"]
    assert [each["facts"]["reason"] for each in lapsed] == [order_progress.WHY_GONE]
    told = BY_ACTION["seat_order.lapsed"]
    assert {*told.facts} <= {*lapsed[0]["facts"]}, "webhooks say so too"


async def _nothing(*_: object) -> list[object]:
    return []


async def test_what_joins_a_paid_opening_does_not_open_the_contract_without_its_deposit(world: World) -> None:
    tenant = await world.signs(preset="onsite", seats=1, opens="2026-06-08", terms=DEPOSIT)
    opening = (await tenant.admin.ask("/v1/seat-orders"))["items"][0]
    await world.travel_to("2026-06-03 09:00")
    await tenant.pays_everything()
    await tenant.orders(2, "2026-06-08")
    await tenant.pays_everything()
    refused = await tenant.admin.post(f"/v1/seat-orders/{opening['order_id']}/cancellation", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "opening_needed")
    await world.travel_to("2026-06-08 00:00")
    assert [await tenant.seat(number).registers() for number in (1, 3)] == [Answered()] * 2


async def test_an_opening_that_finance_voids_takes_its_additions_along(world: World) -> None:
    tenant, opening, addition = await signed(world)
    await world.travel_to("2026-06-10 09:00")
    invoice = await tenant.invoice("opening")
    body = {"reason": "they went elsewhere"}
    await world.finance.does(f"/v1/invoices/{invoice.plain['invoice_id']}/void", body)
    await world.work()
    assert [(await shown(tenant, each))[0] for each in (opening, addition)] == ["lapsed"] * 2
    assert (await tenant.balance())["credit"] == "10000.00"


async def test_an_unpaid_opening_moves_once_the_addition_before_its_new_day_is_cancelled(world: World) -> None:
    tenant, opening, addition = await signed(world)
    await world.travel_to("2026-06-12 09:00")
    assert (await moves(tenant, opening, "2026-06-20")).status_code == 409
    await tenant.admin.does(f"/v1/seat-orders/{addition['order_id']}/cancellation", {})
    assert (await moves(tenant, opening, "2026-06-20")).status_code == 200
    await world.travel_to("2026-06-17 09:00")
    assert (await tenant.balance())["owed"] == "2000.00"  # 12000.00 less what the addition had cost
