"""Seat orders as a tenant and an operator place them (C6, C9, C10, rules 2, 4, 5, 6)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import select

from billing.models import Holding, Invoice
from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from provisioning.order_progress import advance_order
from switch.models import Placement
from tenancy import tenants
from tenancy.webhooks import event_types
from tests.provisioning.world import TODAY, World, travel


async def holdings(world: World, tenant_id: str) -> list[Holding]:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(Holding).where(Holding.tenant_id == tenant_id).order_by(Holding.item, Holding.number)
        return list((await session.execute(query)).scalars())


async def open_invoices(world: World, tenant_id: str) -> list[Invoice]:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(Invoice).where(Invoice.tenant_id == tenant_id, Invoice.voided_at.is_(None))
        return list((await session.execute(query)).scalars())


async def test_seats_open_when_they_are_paid_and_get_extensions_in_order(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    order = await world.placed(tenant_id, contract_id, quantity=3, effective_on=TODAY)
    assert (order["kind"], order["state"], order["quantity"]) == ("opening", "awaiting_payment", 3)
    await world.work()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["ordered"] * 3
    assert await world.accounts(tenant_id) == {}

    await world.pay(tenant_id)
    await world.work()
    seats = await world.seats(tenant_id)
    assert [(seat.state, seat.extension) for seat in seats] == [("open", "1001"), ("open", "1002"), ("open", "1003")]
    accounts = await world.accounts(tenant_id)
    assert {name: account.is_open for name, account in accounts.items()} == {
        "1001": True, "1002": True, "1003": True, "canary": True,
    }  # fmt: skip
    assert [row.opened_on for row in await holdings(world, tenant_id)] == [TODAY] * 3
    shown = (await world.operator.get(f"/v1/seat-orders/{order['order_id']}")).json()
    assert (shown["state"], shown["seat_ids"]) == ("done", [seat.seat_id for seat in seats])


async def test_a_tenants_admin_orders_for_itself_and_for_nobody_else(world: World) -> None:
    ours, theirs = await world.api.tenant("ours"), await world.api.tenant("theirs")
    admin = await world.api.client("tenant_admin", ours)
    contract_id = await world.contract(ours)
    foreign_contract = await world.contract(theirs)
    made = await admin.post(
        "/v1/seat-orders",
        {"contract_id": contract_id, "kind": "add", "quantity": 2, "effective_on": TODAY.isoformat()},
    )
    assert (made.status_code, made.json()["tenant_id"]) == (201, ours)
    foreign = await world.order(theirs, foreign_contract, caller=admin, quantity=1, effective_on=TODAY)
    assert foreign.status_code == 404
    hidden = await world.order(ours, foreign_contract, caller=admin, quantity=1, effective_on=TODAY)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "contract_not_found")
    other = await world.placed(theirs, foreign_contract, quantity=1, effective_on=TODAY)
    assert (await admin.get(f"/v1/seat-orders/{other['order_id']}")).status_code == 404
    assert (await admin.post(f"/v1/seat-orders/{other['order_id']}/cancellation")).status_code == 404
    listed = (await admin.get("/v1/seat-orders")).json()["items"]
    assert [order["order_id"] for order in listed] == [made.json()["order_id"]]
    viewer = await world.api.client("tenant_viewer", ours)
    assert (await world.order(ours, contract_id, caller=viewer, quantity=1, effective_on=TODAY)).status_code == 403


async def test_adding_needs_notice_that_only_an_operator_may_waive(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened()
    soon = TODAY + timedelta(days=4)
    early = await world.order(tenant_id, contract_id, quantity=1, effective_on=soon)
    assert (early.status_code, early.json()["code"], early.json()["earliest"]) == (
        422,
        "notice_too_short",
        "2026-06-13",
    )
    admin = await world.api.client("tenant_admin", tenant_id)
    asked = await world.order(tenant_id, contract_id, caller=admin, quantity=1, effective_on=soon, waive_notice=True)
    assert (asked.status_code, asked.json()["field"]) == (403, "waive_notice")
    waived = await world.placed(tenant_id, contract_id, quantity=1, effective_on=soon, waive_notice=True)
    assert (waived["kind"], waived["notice_waived_by"]) == ("add", world.operator.client_id)
    in_time = await world.placed(
        tenant_id, contract_id, quantity=1, effective_on=TODAY + timedelta(days=5), waive_notice=True
    )
    assert in_time["notice_waived_by"] is None


async def test_what_is_paid_early_opens_when_its_day_comes(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1)
    day = TODAY + timedelta(days=5)
    order = await world.placed(tenant_id, contract_id, quantity=2, effective_on=day)
    await world.work()  # the tenant's credit has paid it
    assert (await world.order_row(order["order_id"])).state == "scheduled"
    travel(day, hour=0)
    await world.periodic()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open"] * 3
    assert [row.opened_on for row in await holdings(world, tenant_id)] == [TODAY, day, day]


async def test_a_worker_that_comes_late_does_not_change_what_is_owed(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1)
    day = TODAY + timedelta(days=5)
    await world.placed(tenant_id, contract_id, quantity=1, effective_on=day)
    travel(day + timedelta(days=3))
    await world.periodic()
    assert [row.opened_on for row in await holdings(world, tenant_id)] == [TODAY, day]


async def test_unpaid_at_the_end_of_the_month_the_order_lapses(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    order = await world.placed(tenant_id, contract_id, quantity=2, effective_on=TODAY)
    travel(date(2026, 6, 30), hour=23)
    await world.periodic()
    assert (await world.order_row(order["order_id"])).state == "awaiting_payment"
    travel(date(2026, 7, 1), hour=0)
    await world.periodic()
    assert (await world.order_row(order["order_id"])).state == "lapsed"
    assert [seat.state for seat in await world.seats(tenant_id)] == ["cancelled"] * 2
    assert await open_invoices(world, tenant_id) == []


async def test_a_cancelled_order_owes_nothing_and_its_extensions_are_not_given_again(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1)
    await world.pay(tenant_id)
    order = await world.placed(tenant_id, contract_id, quantity=2, effective_on=TODAY + timedelta(days=10))
    gone = await world.operator.post(f"/v1/seat-orders/{order['order_id']}/cancellation", {"reason": "not needed"})
    assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")
    again = await world.operator.post(f"/v1/seat-orders/{order['order_id']}/cancellation", {})
    assert (again.status_code, again.json()["code"]) == (409, "seat_order_not_cancellable")
    await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY + timedelta(days=10))
    extensions = [seat.extension for seat in await world.seats(tenant_id)]
    assert extensions == ["1001", "1002", "1003", "1004"]


async def test_what_is_open_cannot_be_cancelled(world: World) -> None:
    tenant_id, _, _ = await world.opened()
    listed = (await world.operator.get("/v1/seat-orders", params={"tenant_id": tenant_id})).json()["items"]
    answer = await world.operator.post(f"/v1/seat-orders/{listed[0]['order_id']}/cancellation", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "seat_order_not_cancellable")


async def test_a_returned_seat_works_until_the_end_of_its_last_day(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened()
    last_day = TODAY + timedelta(days=5)
    order = await world.placed(tenant_id, contract_id, kind="return", seat_ids=[seat_ids[1]], effective_on=last_day)
    assert (order["kind"], order["state"], order["quantity"]) == ("return", "scheduled", 1)
    twice = await world.order(tenant_id, contract_id, kind="return", seat_ids=[seat_ids[1]], effective_on=last_day)
    assert (twice.status_code, twice.json()["code"]) == (409, "seat_returning")
    travel(last_day, hour=23)
    await world.periodic()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open"] * 3
    travel(last_day + timedelta(days=1), hour=0)
    await world.change_node("alpha", state="dead")
    await world.change_node("beta", state="dead")  # nobody listens there; the flush has nowhere to go
    await world.periodic()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open", "closed", "open"]
    accounts = await world.accounts(tenant_id)
    assert [accounts[name].is_open for name in ("1001", "1002", "1003")] == [True, False, True]
    assert (await world.order_row(order["order_id"])).state == "done"
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id, AuditEntry.action == "seats.closed")
        entry = (await session.execute(query)).scalar_one()
    told = event_types.BY_ACTION[entry.action]
    assert told.event_type == "seat.closed"
    assert event_types.data_of(told, tenant_id, entry.object_id, entry.facts) == {
        "tenant_id": tenant_id, "order_id": order["order_id"], "contract_id": contract_id, "item": "seat", "count": 1,
        "seat_ids": [seat_ids[1]],
    }  # fmt: skip


async def test_a_return_by_quantity_takes_those_added_last(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened()
    order = await world.placed(
        tenant_id, contract_id, kind="return", quantity=2, effective_on=TODAY + timedelta(days=5)
    )
    assert order["seat_ids"] == seat_ids[1:]
    more = await world.order(tenant_id, contract_id, kind="return", quantity=2, effective_on=TODAY + timedelta(days=5))
    assert (more.status_code, more.json()["code"], more.json()["field"]) == (409, "seat_not_open", "quantity")


async def test_bad_returns_are_refused_by_name(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened()
    day = TODAY + timedelta(days=5)
    neither = await world.order(tenant_id, contract_id, kind="return", effective_on=day)
    assert (neither.status_code, neither.json()["code"]) == (422, "seat_order_refused")
    unknown = await world.order(tenant_id, contract_id, kind="return", seat_ids=["seat_none"], effective_on=day)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "seat_not_found")
    twice = await world.order(
        tenant_id, contract_id, kind="return", seat_ids=[seat_ids[0], seat_ids[0]], effective_on=day
    )
    assert (twice.status_code, twice.json()["field"]) == (422, "seat_ids")
    early = await world.order(tenant_id, contract_id, kind="return", quantity=1, effective_on=TODAY)
    assert (early.status_code, early.json()["code"]) == (422, "notice_too_short")


async def test_standing_decides_who_may_order(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened()
    async with world.api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant_id, reason="payment_overdue")
    day = TODAY + timedelta(days=5)
    refused = await world.order(tenant_id, contract_id, quantity=1, effective_on=day)
    assert (refused.status_code, refused.json()["code"]) == (409, "tenant_may_not_order")
    await world.placed(tenant_id, contract_id, kind="return", seat_ids=seat_ids[:1], effective_on=day)
    async with world.api.database.transaction(Scope.platform()) as session:
        (await tenants.get(session, tenant_id)).standing = "closed"
    closed = await world.order(tenant_id, contract_id, kind="return", seat_ids=seat_ids[1:], effective_on=day)
    assert (closed.status_code, closed.json()["code"]) == (409, "tenant_may_not_order")


async def test_a_full_cluster_sells_no_more_and_nothing_is_left_of_the_order(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    await world.change_node("alpha", capacity_seats=5)
    await world.change_node("beta", capacity_seats=5)
    full = await world.order(tenant_id, contract_id, quantity=6, effective_on=TODAY)
    assert (full.status_code, full.json()["code"], full.json()["field"]) == (409, "cluster_full", "quantity")
    assert await world.seats(tenant_id) == []
    assert await open_invoices(world, tenant_id) == []
    await world.placed(tenant_id, contract_id, quantity=5, effective_on=TODAY)
    await world.placed(tenant_id, contract_id, item="circuit", quantity=30, effective_on=TODAY)
    more = await world.order(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    assert (more.status_code, more.json()["code"]) == (409, "cluster_full")
    other = await world.api.tenant("another")
    await world.placed(other, await world.contract(other), quantity=5, effective_on=TODAY)
    third = await world.api.tenant("third")
    last = await world.order(third, await world.contract(third), quantity=1, effective_on=TODAY)
    assert (last.status_code, last.json()["code"]) == (409, "cluster_full")


async def test_nothing_is_added_before_something_opens(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    later = await world.order(tenant_id, contract_id, quantity=1, effective_on=TODAY + timedelta(days=10))
    assert (later.status_code, later.json()["code"]) == (409, "opening_missing")


async def test_quantities_and_wrong_fields_are_refused(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"quantity": 0}, "quantity"),
        ({"quantity": 1_000_000}, "quantity"),
        ({}, "quantity"),
        ({"seat_ids": ["seat_x"]}, "seat_ids"),
    ]
    for body, field in bodies:
        answer = await world.order(tenant_id, contract_id, effective_on=TODAY, **body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    wrong = await world.order(tenant_id, contract_id, kind="borrow", quantity=1, effective_on=TODAY)
    assert (wrong.status_code, wrong.json()["field"]) == (400, "kind")
    unknown = await world.order(tenant_id, contract_id, quantity=1, effective_on=TODAY, colour="red")
    assert (unknown.status_code, unknown.json()["field"]) == (400, "colour")


async def test_adds_of_one_day_share_an_invoice(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    first = await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    second = await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    shown = (await world.operator.get(f"/v1/seat-orders/{first['order_id']}")).json()
    assert shown["invoice_id"] == second["invoice_id"] is not None
    assert len(await open_invoices(world, tenant_id)) == 1
    listed = (await world.operator.get("/v1/seat-orders", params={"tenant_id": tenant_id})).json()["items"]
    assert {order["invoice_id"] for order in listed} == {second["invoice_id"]}


async def test_a_tenant_is_placed_with_its_first_order_and_circuits_have_no_phone(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    await world.placed(tenant_id, contract_id, item="circuit", quantity=2, effective_on=TODAY)
    await world.pay(tenant_id)
    await world.work()
    circuits = await world.seats(tenant_id)
    assert [(each.item, each.state, each.extension) for each in circuits] == [("circuit", "open", None)] * 2
    assert await world.accounts(tenant_id) == {}
    await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    async with world.api.database.transaction(Scope.platform()) as session:
        placement = (await session.execute(select(Placement).where(Placement.tenant_id == tenant_id))).scalar_one()
    assert {placement.home_node, placement.spare_node} == {"alpha", "beta"}
    assert placement.serving_node == placement.home_node


async def test_advancing_twice_opens_once(world: World) -> None:
    tenant_id, _, _ = await world.opened()
    before = {name: account.a1_hash for name, account in (await world.accounts(tenant_id)).items()}
    orders = (await world.operator.get("/v1/seat-orders", params={"tenant_id": tenant_id})).json()["items"]
    async with world.api.database.transaction(Scope.platform()) as session:
        await advance_order(session, tenant_id, orders[0]["order_id"])
    await world.periodic()
    assert {name: account.a1_hash for name, account in (await world.accounts(tenant_id)).items()} == before
    assert len(await open_invoices(world, tenant_id)) == 1


async def test_everything_closes_when_the_contract_has_ended(world: World) -> None:
    tenant_id, _, _ = await world.opened(ends_on=date(2026, 6, 20))
    travel(date(2026, 6, 20), hour=23)
    await world.periodic()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open"] * 3
    await world.change_node("alpha", state="dead")
    await world.change_node("beta", state="dead")
    travel(date(2026, 6, 21), hour=0)
    await world.periodic()
    seats = await world.seats(tenant_id)
    assert [(seat.state, seat.closes_on) for seat in seats] == [("closed", date(2026, 6, 20))] * 3
    accounts = await world.accounts(tenant_id)
    assert not any(account.is_open for name, account in accounts.items() if name != "canary")
