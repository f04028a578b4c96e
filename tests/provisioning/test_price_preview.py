"""What an order costs or gives back is shown before it is confirmed, to the fen, and nothing is written (C9, C10)."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import text

from tests.api import Caller
from tests.provisioning.world import TODAY, World


async def preview(caller: Caller, contract_id: str, **body: Any) -> Any:
    whole: dict[str, Any] = {"contract_id": contract_id, "kind": "add"} | body
    whole["effective_on"] = whole["effective_on"].isoformat()
    return await caller.post("/v1/seat-orders/preview", whole)


async def rows(world: World) -> dict[str, int]:
    """How many rows every table has."""
    async with world.api.database.engine.connect() as connection:
        tables = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return {
            table: (await connection.execute(text(f'SELECT count(*) FROM "{table}"'))).scalar_one()  # noqa: S608
            for table in tables.scalars().all()
        }


async def invoice_of(world: World, order: dict[str, Any]) -> dict[str, Any]:
    shown = (await world.operator.get(f"/v1/seat-orders/{order['order_id']}")).json()
    return (await world.operator.get(f"/v1/invoices/{shown['invoice_id']}")).json()


async def test_the_preview_of_an_addition_is_the_invoice_that_follows(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=3)
    admin = await world.api.client("tenant_admin", tenant_id)
    before = await rows(world)
    answer = await preview(admin, contract_id, quantity=2, effective_on=date(2026, 6, 20))
    assert answer.status_code == 200, answer.text
    assert await rows(world) == before
    order = await world.placed(tenant_id, contract_id, quantity=2, effective_on=date(2026, 6, 20))
    made, expected = await invoice_of(world, order), answer.json()["invoice"]
    assert made["total"] == expected["total"] == "5466.67"  # two deposits, and 11 of 30 days' rent of both
    for name in ("reason", "period", "issued_on", "due_on", "tax"):
        assert made[name] == expected[name]
    for line, shown in zip(made["lines"], expected["lines"], strict=True):
        assert {name: line[name] for name in shown} == shown


async def test_credit_and_unpaid_orders_of_the_day_are_told(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1, preset="onsite")
    admin = await world.api.client("tenant_admin", tenant_id)
    day = date(2026, 6, 20)
    paid = (await preview(admin, contract_id, quantity=2, effective_on=day)).json()
    assert (paid["invoice"]["total"], paid["paid_by_credit"], paid["to_pay"]) == ("4000.00", "4000.00", "0.00")

    poor = await world.api.tenant("poor")
    lease = await world.contract(poor, preset="onsite")
    await world.placed(poor, lease, quantity=1, effective_on=TODAY)
    await world.pay(poor, "2000.00")
    await world.work()
    first = await world.placed(poor, lease, quantity=1, effective_on=day)
    number = (await invoice_of(world, first))["number"]
    second = (await preview(await world.api.client("tenant_admin", poor), lease, quantity=2, effective_on=day)).json()
    assert (second["invoice"]["total"], second["replaces"], second["to_pay"]) == ("6000.00", [number], "6000.00")
    assert (await invoice_of(world, first))["state"] == "open"


async def test_an_opening_is_previewed_before_its_invoice_is_due_to_be_made(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    opens_on = date(2026, 7, 16)
    contract_id = await world.contract(tenant_id, opens_on=opens_on)
    admin = await world.api.client("tenant_admin", tenant_id)
    answer = (await preview(admin, contract_id, quantity=2, effective_on=opens_on)).json()
    assert (answer["kind"], answer["invoice"]["reason"]) == ("opening", "opening")
    assert (answer["invoice"]["issued_on"], answer["invoice"]["due_on"]) == ("2026-07-13", "2026-07-15")
    assert answer["to_pay"] == "6064.52"  # two deposits and 16 of 31 days
    await world.placed(tenant_id, contract_id, quantity=2, effective_on=opens_on)
    again = (await preview(admin, contract_id, quantity=1, effective_on=opens_on)).json()
    assert again["to_pay"] == "9096.77"  # what is ordered already is on the same invoice


async def test_a_return_tells_what_it_gives_back(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=3)
    admin = await world.api.client("tenant_admin", tenant_id)
    early = {"kind": "return", "seat_ids": seat_ids[:2], "effective_on": date(2026, 6, 20)}
    answer = (await preview(admin, contract_id, **early)).json()
    assert (answer["invoice"], answer["to_pay"], answer["quantity"]) == (None, "0.00", 2)
    assert answer["returned"] == {
        "credited_on": "2026-07-01",
        "rent_credit": "920.00",  # 30 % of 23 days' rent of two
        "deposit": "4000.00",
        "currency": "CNY",
        "is_estimate": False,
    }
    late = (await preview(admin, contract_id, **(early | {"effective_on": date(2026, 6, 21)}))).json()
    assert late["returned"]["rent_credit"] == "0.00"
    ahead = (await preview(admin, contract_id, **(early | {"effective_on": date(2026, 8, 20)}))).json()
    assert (ahead["returned"]["rent_credit"], ahead["returned"]["is_estimate"]) == ("1200.00", True)
    assert [seat.closes_on for seat in await world.seats(tenant_id)] == [None] * 3


async def test_what_refuses_the_order_refuses_its_preview(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1)
    other, foreign_contract, _ = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    viewer = await world.api.client("tenant_viewer", tenant_id)
    day = date(2026, 6, 20)

    async def code(caller: Caller, contract: str, **body: Any) -> tuple[int, str]:
        answer = await preview(caller, contract, **({"quantity": 1, "effective_on": day} | body))
        return answer.status_code, answer.json()["code"]

    assert await code(admin, contract_id, effective_on=date(2026, 6, 12)) == (422, "notice_too_short")
    for name in ("alpha", "beta"):
        await world.change_node(name, capacity_seats=20)
    assert await code(admin, contract_id, quantity=100) == (409, "cluster_full")
    assert await code(admin, contract_id, quantity=0) == (422, "seat_order_refused")
    assert await code(admin, foreign_contract) == (404, "contract_not_found")
    assert await code(admin, contract_id, tenant_id=other) == (404, "not_found")
    assert await code(admin, contract_id, waive_notice=True) == (403, "forbidden")
    assert await code(viewer, contract_id) == (403, "forbidden")
    waived = {"tenant_id": tenant_id, "waive_notice": True, "quantity": 1, "effective_on": TODAY}
    assert (await preview(world.operator, contract_id, **waived)).status_code == 200
    assert len(await world.seats(tenant_id)) == 1


async def test_a_preview_with_a_key_is_answered_again(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    body = {"contract_id": contract_id, "kind": "add", "quantity": 1, "effective_on": "2026-06-20"}
    first = await admin.post("/v1/seat-orders/preview", body, key="look")
    again = await admin.post("/v1/seat-orders/preview", body, key="look")
    assert (first.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert first.content == again.content
