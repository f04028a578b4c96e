"""A run goes through the tenants several at once, the contracts of each one after another."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from billing import invoice_runs
from billing.contracts import get_contract
from billing.rules.months import Month
from billing.runs.walk import tenant_by_tenant
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.problems import Unavailable
from infra.kit.settings import Settings
from tests.billing.lease_world import LeaseWorld, morning

TENANTS = 9


async def test_no_more_than_so_many_tenants_at_once_and_each_of_them_once() -> None:
    under_way: set[str] = set()
    most = 0
    done: list[tuple[str, str]] = []

    async def bill(tenant_id: str, contract_ids: list[str]) -> None:
        nonlocal most
        assert tenant_id not in under_way
        under_way.add(tenant_id)
        most = max(most, len(under_way))
        for contract_id in contract_ids:
            await asyncio.sleep(0)
            done.append((tenant_id, contract_id))
        under_way.remove(tenant_id)

    due = [(f"ten_{tenant}", f"ctr_{contract}") for tenant in range(TENANTS) for contract in range(1 + tenant % 3)]
    await tenant_by_tenant(due, bill, at_once=3)
    assert most == 3
    assert sorted(done) == due
    assert [each for each in done if each[0] == "ten_2"] == [("ten_2", f"ctr_{number}") for number in range(3)]


async def test_an_error_ends_the_walk_and_leaves_nothing_under_way() -> None:
    begun: list[str] = []
    undone: list[str] = []
    first_is_waiting = asyncio.Event()

    async def bill(tenant_id: str, _: list[str]) -> None:
        begun.append(tenant_id)
        if tenant_id == "ten_1":
            await first_is_waiting.wait()
            raise Unavailable("The database does not answer.")
        first_is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            undone.append(tenant_id)

    with pytest.raises(Unavailable):
        await tenant_by_tenant([(f"ten_{number}", "ctr") for number in range(TENANTS)], bill, at_once=2)
    assert begun == ["ten_0", "ten_1"]
    assert undone == ["ten_0"]


async def test_many_tenants_are_invoiced_at_once_and_one_that_fails_stays_alone(
    database: Database, settings: Settings
) -> None:
    worlds = [LeaseWorld(database, settings) for _ in range(TENANTS)]
    for world in worlds:
        await world.sign("hosted", "2026-05-01", on="2026-04-11")
        await world.order(2, "2026-05-01")
    await worlds[0].begin(date(2026, 4, 30))
    for world in worlds:
        await world.pay()
    await worlds[0].begin(date(2026, 5, 1))
    for world in worlds:
        await world.open_what_may_open()
    broken = worlds[4]
    async with database.transaction(Scope.platform()) as session:
        contract = await get_contract(session, broken.tenant_id, broken.contract_id)
        contract.terms = {**contract.terms, "due_day": 31}
    clock.travel_to(morning(date(2026, 6, 1)))
    run = await invoice_runs.run_month(broken.runtime, Month(2026, 6))
    assert (run.issued, run.set_aside) == (TENANTS - 1, [broken.contract_id])
    for world in worlds:
        numbers = [invoice.number for invoice in await world.invoices("monthly")]
        assert numbers == ([] if world is broken else ["2026-0002"])
