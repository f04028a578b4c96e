"""What was paid for orders stays with them while one of them goes, and is given back once (rules 4, 5 and 8)."""

from __future__ import annotations

from typing import Any

from tests.journeys.test_moved_orders import moves
from tests.journeys.test_openings_first import shown
from tests.world import Answered, Customer, World


async def two_paid_orders(world: World) -> tuple[Customer, dict[str, Any], dict[str, Any]]:
    """Ten seats, and orders of five and of one for 15 July on one paid invoice; July's own invoice is open."""
    tenant = await world.tenant(preset="onsite", seats=10, opened="2026-06-01")
    await world.travel_to("2026-06-29 09:00")
    five, one = await tenant.orders(5, "2026-07-15"), await tenant.orders(1, "2026-07-15")
    await tenant.pays_everything()
    await world.travel_to("2026-07-01 09:00")
    return tenant, five, one


async def live(tenant: Customer) -> list[tuple[str, str, str]]:
    """The invoices that count: reason, total, paid."""
    return [
        (each.plain["reason"], each.total, each.plain["paid"])
        for each in await tenant.invoices()
        if each.state != "void" and each.plain["issued_on"] >= "2026-06-25"
    ]


async def test_cancelling_one_of_two_paid_orders_leaves_the_other_paid(world: World) -> None:
    tenant, five, one = await two_paid_orders(world)
    await tenant.admin.does(f"/v1/seat-orders/{one['order_id']}/cancellation", {})
    await world.work()
    # What the other does not need goes to the oldest due, as all credit does.
    assert sorted(await live(tenant)) == [("addition", "10000.00", "10000.00"), ("monthly", "20000.00", "2000.00")]
    assert await shown(tenant, five) == ("scheduled", None)
    await world.travel_to("2026-07-15 00:00")
    assert await shown(tenant, five) == ("done", None)
    assert await tenant.seat(11).registers() == Answered()


async def test_a_part_that_was_paid_stays_with_the_order_that_is_left(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=10, opened="2026-06-01")
    await world.travel_to("2026-06-29 09:00")
    await tenant.orders(5, "2026-07-15")
    one = await tenant.orders(1, "2026-07-15")
    await tenant.pays("7000.00")
    await world.travel_to("2026-07-01 09:00")
    await tenant.admin.does(f"/v1/seat-orders/{one['order_id']}/cancellation", {})
    assert sorted(await live(tenant)) == [("addition", "10000.00", "7000.00"), ("monthly", "20000.00", "0.00")]


async def test_a_moved_orders_part_payment_is_used_for_it(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=10, opened="2026-06-01")
    await world.travel_to("2026-06-25 09:00")
    order = await tenant.orders(5, "2026-07-05")
    await tenant.pays("9000.00")
    await world.travel_to("2026-07-01 09:00")
    shown_before = await tenant.admin.does(
        f"/v1/seat-orders/{order['order_id']}/move/preview", {"effective_on": "2026-07-20"}
    )
    assert shown_before["paid_by_credit"] == "9000.00"
    assert (await moves(tenant, order, "2026-07-20")).status_code == 200
    assert sorted(await live(tenant)) == [("addition", "10000.00", "9000.00"), ("monthly", "20000.00", "0.00")]


async def test_of_two_orders_the_one_that_stays_keeps_the_part_that_was_paid_and_the_moved_one_gets_the_rest(
    world: World,
) -> None:
    tenant = await world.tenant(preset="onsite", seats=10, opened="2026-06-01")
    await world.travel_to("2026-06-25 09:00")
    await tenant.orders(2, "2026-07-05")
    goes = await tenant.orders(3, "2026-07-05")
    await tenant.pays("9000.00")
    await world.travel_to("2026-07-01 09:00")
    assert (await moves(tenant, goes, "2026-07-20")).status_code == 200
    assert sorted(await live(tenant)) == [
        ("addition", "4000.00", "4000.00"), ("addition", "6000.00", "5000.00"), ("monthly", "20000.00", "0.00"),
    ]  # fmt: skip


async def test_what_joins_a_partly_paid_order_leaves_it_what_was_paid(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=10, opened="2026-06-01")
    await world.travel_to("2026-07-01 09:00")
    payment = await tenant.pays_everything()
    await tenant.orders(1, "2026-07-15")
    await tenant.pays("1500.00")
    await world.finance.does(f"/v1/payments/{payment['payment_id']}/reversal", {"reason": "another tenant's money"})
    assert sorted(await live(tenant)) == [("addition", "2000.00", "1500.00"), ("monthly", "20000.00", "0.00")]
    await tenant.orders(1, "2026-07-15")
    assert sorted(await live(tenant)) == [("addition", "4000.00", "1500.00"), ("monthly", "20000.00", "0.00")]


async def test_an_order_does_not_join_an_unpaid_one_whose_invoice_has_a_fapiao(world: World) -> None:
    tenant = await world.tenant(preset="onsite", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    await tenant.orders(1, "2026-06-20")
    later = await tenant.orders(1, "2026-06-25")
    unpaid = (await tenant.invoices("addition"))[0]
    path = f"/v1/invoices/{unpaid.plain['invoice_id']}/fapiao"
    fapiao = await world.finance.does(
        path, {"number": "25312000000000000002", "issued_on": "2026-06-11", "amount": "2000.00"}
    )
    for refused in (await tenant.tries_to_order(1, "2026-06-20"), await moves(tenant, later, "2026-06-20")):
        assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_voidable")
    assert [each.state for each in await tenant.invoices("addition")] == ["open", "open"]
    await world.finance.does(f"/v1/fapiao/{fapiao['fapiao_id']}/void", {"reason": "issued too early"})
    await tenant.orders(1, "2026-06-20")
    assert sorted(await live_additions(tenant)) == ["2000.00", "4000.00"]


async def live_additions(tenant: Customer) -> list[str]:
    return [each.total for each in await tenant.invoices("addition") if each.state != "void"]
