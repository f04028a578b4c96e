"""A thousand seats at once, and a process that dies half-way."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import func, select

from billing import leases
from billing.models import Invoice, RentCharge
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning import order_progress
from provisioning.errors import OrdersNotAdvanced
from switch.models import SipAccount
from tests.provisioning.world import TODAY, World

MANY = 1_000
LIMIT_SECONDS = 20.0
"""Far above the few seconds it takes, so that a busy machine fails no test; one round trip a seat would pass it."""


async def count_accounts(world: World, tenant_id: str) -> int:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(func.count()).where(
            SipAccount.tenant_id == tenant_id, SipAccount.is_open, SipAccount.kind == "seat"
        )
        return (await session.execute(query)).scalar_one()


async def test_a_thousand_seats_open_in_seconds(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    began = time.monotonic()
    await world.placed(tenant_id, contract_id, quantity=MANY, effective_on=TODAY)
    await world.pay(tenant_id, "10000000.00")
    await world.work()
    assert await count_accounts(world, tenant_id) == MANY
    assert time.monotonic() - began < LIMIT_SECONDS
    assert {seat.state for seat in await world.seats(tenant_id)} == {"open"}


@pytest.mark.parametrize("breaks", ["open_accounts", "open_holdings", "audit"])
async def test_a_process_that_dies_while_opening_leaves_nothing_half_done(
    world: World, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    await world.placed(tenant_id, contract_id, quantity=5, effective_on=TODAY)
    await world.pay(tenant_id)

    async def die(*_: object, **__: object) -> None:
        raise RuntimeError("the process ends here")

    module, name = {
        "open_accounts": (order_progress.accounts, "open_accounts"),
        "open_holdings": (leases, "open_holdings"),
        "audit": (order_progress.audit, "record"),
    }[breaks]
    with monkeypatch.context() as patched:
        patched.setattr(module, name, die)
        with pytest.raises(OrdersNotAdvanced):
            await order_progress.advance_tenant(Runtime(world.api.database, world.api.settings), tenant_id)
    assert {seat.state for seat in await world.seats(tenant_id)} == {"ordered"}
    assert await count_accounts(world, tenant_id) == 0
    await world.work()
    assert {seat.state for seat in await world.seats(tenant_id)} == {"open"}
    assert await count_accounts(world, tenant_id) == 5
    async with world.api.database.transaction(Scope.platform()) as session:
        charged = (await session.execute(select(func.count()).select_from(RentCharge))).scalar_one()
        issued = (await session.execute(select(func.count()).select_from(Invoice))).scalar_one()
    assert (charged, issued) == (5, 1)


async def test_two_workers_at_once_open_each_seat_once(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    await world.placed(tenant_id, contract_id, quantity=20, effective_on=TODAY)
    await world.pay(tenant_id)
    runtime = Runtime(world.api.database, world.api.settings)
    await asyncio.gather(*(order_progress.advance_tenant(runtime, tenant_id) for _ in range(3)))
    assert await count_accounts(world, tenant_id) == 20
    audit = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id, "limit": 200})).json()["items"]
    assert [entry["action"] for entry in audit].count("seat_order.done") == 1


async def test_orders_of_two_tenants_at_once_do_not_overbook_the_cluster(world: World) -> None:
    await world.change_node("alpha", capacity_seats=10)
    await world.change_node("beta", capacity_seats=6)
    renters = [await world.api.tenant(f"t{index}") for index in range(3)]
    signed = [(renter, await world.contract(renter)) for renter in renters]
    answers = await asyncio.gather(
        *(world.order(renter, contract_id, quantity=6, effective_on=TODAY) for renter, contract_id in signed)
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409]


async def test_orders_of_one_tenant_at_once_get_extensions_of_their_own(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id)
    answers = await asyncio.gather(
        *(world.order(tenant_id, contract_id, quantity=4, effective_on=TODAY) for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    extensions = [seat.extension for seat in await world.seats(tenant_id)]
    assert sorted(map(str, extensions)) == [str(number) for number in range(1001, 1017)]
