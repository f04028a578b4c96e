"""A tenant tends its seats by itself: price first, hand-out by link, people, suspension, tables (C9, C10, C20)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from tests.world import MOBILE, NOT_FOUND, Answered, Customer, Refused, World


async def seat_ids(tenant: Customer) -> dict[str, str]:
    """Seat ids by extension."""
    items = (await tenant.admin.ask("/v1/seats", item="seat", limit=200))["items"]
    return {each["extension"]: each["seat_id"] for each in items}


async def applied(tenant: Customer, table: str, *, dry_run: bool) -> dict[str, Any]:
    """A table in GBK, as a Chinese Excel saves it."""
    path = f"/v1/seat-table?dry_run={str(dry_run).lower()}"
    headers = {"content-type": "text/csv"}
    answer = await tenant.admin.send("POST", path, content=table.encode("gbk"), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_price_is_shown_before_an_order_and_is_the_one_on_the_invoice(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=2, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    wanted = {"contract_id": tenant.contract_id, "kind": "add", "quantity": 3, "effective_on": "2026-06-16"}
    shown = await tenant.admin.does("/v1/seat-orders/preview", wanted)
    assert await tenant.invoices("addition") == []
    order = await tenant.admin.does("/v1/seat-orders", wanted)
    invoice = await tenant.invoice("addition")
    assert (shown["to_pay"], shown["invoice"]["due_on"]) == (invoice.plain["total"], invoice.plain["due_on"])
    await tenant.admin.does(f"/v1/seat-orders/{order['order_id']}/cancellation", {"reason": "too dear"})
    assert (await tenant.invoice("addition")).state == "void"


async def test_the_new_user_of_a_seat_gets_in_by_the_link_and_the_old_one_no_more(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=1, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    path = f"/v1/seats/{(await seat_ids(tenant))['1001']}"
    wang = await tenant.admin.does(f"{path}/person", {"person": {"name": "王芳", "number": "A17"}})
    assert await tenant.seat(1).accepts(wang["credentials"]["password"])
    await tenant.admin.does(f"{path}/person", {"person": {"name": "李雷", "number": "A18"}})
    link = urlsplit((await tenant.admin.does(f"{path}/hand-outs", {"language": "en"}))["url"])
    page = await world.api.http.post(link.path, data={"secret": link.fragment})
    password = re.search(r"Password</th><td[^>]*><strong>([^<]*)", page.text)
    assert password is not None
    assert await tenant.seat(1).accepts(password.group(1))
    assert not await tenant.seat(1).accepts(wang["credentials"]["password"])
    assert (await world.api.http.post(link.path, data={"secret": link.fragment})).status_code == 410


async def test_a_seat_that_its_tenant_suspends_calls_nobody_but_for_help_and_is_paid_on(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=2, opened="2026-06-01")
    await world.has_prices()
    await world.travel_to("2026-06-11 09:00")
    path = f"/v1/seats/{(await seat_ids(tenant))['1001']}"
    assert await tenant.seat(1).calls(MOBILE) == Answered()
    await tenant.admin.does(f"{path}/suspension", {"reason": "on leave"})
    assert await tenant.seat(1).registers() == NOT_FOUND
    assert await tenant.seat(1).calls(MOBILE) == Refused("seat_closed")
    assert await tenant.seat(1).calls("110") == Answered()
    assert await tenant.seat(2).calls(MOBILE) == Answered()
    assert await tenant.standing() == ("active", None)
    await tenant.admin.does(f"{path}/resumption")
    assert await tenant.seat(1).registers() == Answered()


async def test_a_table_says_what_it_will_do_and_then_does_it(world: World) -> None:
    tenant = await world.tenant(preset="hosted", seats=3, opened="2026-06-01")
    await world.travel_to("2026-06-11 09:00")
    table = (
        "分机号,操作,分组,姓名,生效日期,原因\n"
        "1001,,电销一部,王芳,,\n"
        "1002,停用,,,,休假\n"
        "1003,退回,,,2026-06-20,\n"
        ",新增,电销一部,李雷,2026-06-16,\n"
    )
    trial = await applied(tenant, table, dry_run=True)
    assert (trial["is_acceptable"], trial["done"]) == (True, 4)
    assert await tenant.seat(2).registers() == Answered()
    done = await applied(tenant, table, dry_run=False)
    assert done["orders"] == trial["orders"]
    assert await tenant.seat(2).registers() == NOT_FOUND
    await tenant.pays(next(each["to_pay"] for each in done["orders"] if each["kind"] == "add"))
    assert (await tenant.invoice("addition")).state == "paid"
    returned = next(each["returned"] for each in done["orders"] if each["kind"] == "return")
    assert (returned["credited_on"], returned["rent_credit"], returned["deposit"]) == (
        "2026-07-01",
        "600.00",
        "2000.00",
    )
