"""Under `onsite` nothing opens before the tenant's papers are complete (C19)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import httpx
from sqlalchemy import select

from billing import jobs as billing_jobs
from billing.models import Holding, RentCharge
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from tests import papers
from tests.api import Caller
from tests.provisioning.test_orders import open_invoices
from tests.provisioning.world import TODAY, World, travel


def sender(caller: Caller) -> papers.Send:
    async def send(method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        return await caller.http.request(method, path, headers=caller.headers | (headers or {}), **more)

    return send


async def paid(world: World, **contract: Any) -> tuple[str, str, str]:
    """A tenant under `onsite` that has ordered two seats for today and paid: tenant, contract, order."""
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id, preset="onsite", **contract)
    order = await world.placed(tenant_id, contract_id, quantity=2, effective_on=TODAY)
    await world.pay(tenant_id, "4000.00")
    await world.work()
    return tenant_id, contract_id, order["order_id"]


async def opened_on(world: World, tenant_id: str) -> list[date | None]:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(Holding.opened_on).where(Holding.tenant_id == tenant_id).order_by(Holding.number)
        return list((await session.execute(query)).scalars())


async def shown(world: World, order_id: str) -> tuple[str, str | None]:
    operator = await world.api.client("platform_operator")
    order = (await operator.get(f"/v1/seat-orders/{order_id}")).json()
    return order["state"], order["held_back_by"]


async def test_paid_seats_wait_for_the_last_paper_and_open_at_once_with_it(world: World) -> None:
    tenant_id, _, order_id = await paid(world)
    assert await shown(world, order_id) == ("scheduled", "papers")
    assert {seat.state for seat in await world.seats(tenant_id)} == {"ordered"}
    travel(TODAY + timedelta(days=3))
    await world.periodic()
    send = sender(await world.api.client("platform_operator"))
    waiting = [await papers.hand_in(send, tenant_id, kind) for kind in papers.KINDS]
    await world.work()
    for paper in waiting[:2]:
        await papers.accept(send, paper)
    await world.work()
    assert await shown(world, order_id) == ("scheduled", "papers")
    await papers.accept(send, waiting[2])
    await world.work()
    assert await shown(world, order_id) == ("done", None)
    assert {seat.state for seat in await world.seats(tenant_id)} == {"open"}
    assert await opened_on(world, tenant_id) == [TODAY + timedelta(days=3)] * 2  # what is not open is not held
    operator = await world.api.client("platform_operator")
    told = (await operator.get("/v1/audit", {"tenant_id": tenant_id, "limit": 200})).json()["items"]
    assert [each["action"] for each in told].count("seat_order.held_back") == 1


async def test_papers_that_are_there_before_hold_nothing_up_and_hosted_needs_none(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id, preset="onsite")
    await papers.hand_in_all(sender(world.operator), tenant_id)
    await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    await world.pay(tenant_id)
    await world.work()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open"]
    for preset in ("hosted", "onsite"):
        other, _, _ = await world.opened(1, preset=preset, terms={"papers_required": False})
        assert [seat.state for seat in await world.seats(other)] == ["open"]


async def test_an_addition_waits_too_when_a_paper_has_lapsed_but_what_is_open_stays_open(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id, preset="onsite")
    send = sender(world.operator)
    for kind in papers.KINDS:
        until = (TODAY + timedelta(days=9)).isoformat()
        await papers.accept(send, await papers.hand_in(send, tenant_id, kind, valid_until=until))
    await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    more = await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY + timedelta(days=10))
    await world.pay(tenant_id)
    await world.work()
    travel(TODAY + timedelta(days=10))
    await world.periodic()
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open", "ordered"]
    assert await shown(world, more["order_id"]) == ("scheduled", "papers")


async def test_the_months_run_neither_opens_nor_charges_what_waits_for_papers(world: World) -> None:
    tenant_id, contract_id, order_id = await paid(world)
    travel(date(2026, 7, 1), hour=1)
    await billing_jobs.advance_month(Runtime(world.api.database, world.api.settings))
    await world.periodic()
    assert await shown(world, order_id) == ("scheduled", "papers")
    assert await opened_on(world, tenant_id) == [None, None]
    travel(date(2026, 7, 14))
    await papers.hand_in_all(sender(await world.api.client("platform_operator")), tenant_id)
    await world.work()
    assert await opened_on(world, tenant_id) == [date(2026, 7, 14)] * 2
    travel(date(2026, 8, 1), hour=1)
    await billing_jobs.advance_month(Runtime(world.api.database, world.api.settings))
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(RentCharge.month).where(RentCharge.contract_id == contract_id).order_by(RentCharge.month)
        months = list((await session.execute(query)).scalars())
    assert months == [date(2026, 6, 1)] * 2 + [date(2026, 8, 1)] * 2


async def test_what_waits_for_papers_can_be_cancelled_and_its_money_is_credit(world: World) -> None:
    tenant_id, _, order_id = await paid(world)
    gone = await world.operator.post(f"/v1/seat-orders/{order_id}/cancellation", {"reason": "no licence"})
    assert (gone.status_code, gone.json()["state"], gone.json()["held_back_by"]) == (200, "cancelled", None)
    assert await open_invoices(world, tenant_id) == []
    finance = await world.api.client("finance")
    assert (await finance.get(f"/v1/tenants/{tenant_id}/balance")).json()["credit"] == "4000.00"


async def test_without_papers_at_the_end_of_the_contract_it_lapses_and_its_money_is_credit(world: World) -> None:
    tenant_id, _, order_id = await paid(world, ends_on=date(2026, 6, 20))
    travel(date(2026, 6, 21), hour=1)
    await world.periodic()
    assert await shown(world, order_id) == ("lapsed", None)
    assert {seat.state for seat in await world.seats(tenant_id)} == {"cancelled"}
    travel(date(2026, 7, 1), hour=1)
    await billing_jobs.advance_month(Runtime(world.api.database, world.api.settings))
    finance = await world.api.client("finance")
    assert (await finance.get(f"/v1/tenants/{tenant_id}/balance")).json()["credit"] == "4000.00"


async def test_the_month_may_close_before_anybody_lapses_it_and_credits_its_money_once(world: World) -> None:
    tenant_id, _, order_id = await paid(world, ends_on=date(2026, 6, 20), terms={"deposit": "500.00"})
    await world.pay(tenant_id, "500.00")
    travel(date(2026, 7, 1), hour=1)
    await billing_jobs.advance_month(Runtime(world.api.database, world.api.settings))
    await world.periodic()
    assert await shown(world, order_id) == ("lapsed", None)
    finance = await world.api.client("finance")
    assert (await finance.get(f"/v1/tenants/{tenant_id}/balance")).json()["credit"] == "4500.00"
