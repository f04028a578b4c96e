"""Payments on the real database: oldest first, credit, reversal, and never one fen twice."""

from __future__ import annotations

import asyncio
import random
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoice_runs, leases, ledger, payments
from billing.contracts import get_contract
from billing.models import Allocation, Charge, Invoice, Payment
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _opened(world: LeaseWorld, seats: int = 2) -> None:
    """`onsite`, open on 2 March 2026 and paid; lived up to that day."""
    await world.sign("onsite", "2026-03-02")
    await world.order(seats, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-03-02")


async def test_the_oldest_due_is_paid_first_and_the_rest_is_credit(world: LeaseWorld) -> None:
    await _opened(world)
    await world.live_to("2026-05-01")
    april, may = await world.invoices("monthly")
    await world.pay("5000.00")
    april, may = await world.invoices("monthly")
    assert (str(april.paid), str(may.paid), str(april.paid_on)) == ("4000.00", "1000.00", "2026-05-01")
    await world.pay("3500.00")
    account = await world.balance()
    assert (str(account.owed), str(account.credit)) == ("0.00", "500.00")
    await world.live_to("2026-06-01")
    june = (await world.invoices("monthly"))[-1]
    assert (str(june.paid), june.paid_on) == ("500.00", None)
    await world.check_conservation()


async def test_an_order_is_settled_by_credit_at_once_and_wakes_provisioning(world: LeaseWorld) -> None:
    await _opened(world)
    await world.pay("2500.00")
    order_id = await world.order(1, "2026-03-20")
    async with world.database.transaction(Scope.platform()) as session:
        assert await leases.is_order_paid(session, tenant_id=world.tenant_id, order_id=order_id)
        woken = await session.connection()
        names = (await woken.exec_driver_sql("SELECT task_name FROM procrastinate_jobs")).scalars().all()
    assert names.count("provisioning.advance_orders") == 2  # the opening, this addition
    assert (await world.balance()).credit == Decimal("500.00")


async def test_a_reversed_payment_opens_its_invoices_again_and_stays_to_be_seen(world: LeaseWorld) -> None:
    await _opened(world)
    await world.live_to("2026-04-01")
    wrong = await world.pay("4100.00")
    right = await world.pay("60.00")
    await world.reverse(wrong)
    [april] = await world.invoices("monthly")
    assert (str(april.paid), april.paid_on) == ("60.00", None)
    async with world.database.transaction(Scope.platform()) as session:
        rows = (await session.execute(select(Allocation).where(Allocation.source_id == wrong.payment_id))).scalars()
        assert all(row.undone_at is not None for row in rows)
        kept = await payments.find(session, wrong.payment_id, world.tenant_id)
        assert (kept.reversal_reason, right.reversed_at) == ("recorded twice", None)
    await world.check_conservation()


async def test_adds_of_one_day_share_one_invoice(world: LeaseWorld) -> None:
    await _opened(world)
    first = await world.order(1, "2026-03-20")
    second = await world.order(2, "2026-03-20")
    third = await world.order(1, "2026-03-21")
    made_again, both = await world.invoices("addition", void=True), await world.invoices("addition", void=False)
    assert [str(each.total) for each in made_again] == ["2000.00"]
    assert [str(each.total) for each in both] == ["6000.00", "2000.00"]
    async with world.database.transaction(Scope.platform()) as session:
        shared = [await leases.order_invoice(session, world.tenant_id, each) for each in (first, second, third)]
    assert shared[0] is not None
    assert shared[0] is shared[1]
    assert shared[0] is not shared[2]
    await world.cancel(first)
    assert [str(each.total) for each in await world.invoices("addition", void=False)] == ["2000.00", "4000.00"]
    await world.check_conservation()


async def test_a_cancelled_order_owes_nothing_and_what_was_paid_is_credit(world: LeaseWorld) -> None:
    await _opened(world)
    order_id = await world.order(1, "2026-03-20")
    await world.pay("700.00")
    await world.cancel(order_id)
    await world.cancel(order_id)
    account = await world.balance()
    assert (str(account.owed), str(account.credit)) == ("0.00", "700.00")
    await world.check_conservation()


async def test_an_order_that_is_open_cannot_be_cancelled(world: LeaseWorld) -> None:
    await _opened(world)
    with pytest.raises(leases.OrderInForce):
        await world.cancel(world.orders[0])


async def test_a_payment_after_the_month_does_not_revive_a_lapsed_order(world: LeaseWorld) -> None:
    await _opened(world)
    order_id = await world.order(1, "2026-03-20")
    await world.pay("700.00")
    clock.travel_to(clock.now().replace(month=4, day=2))
    await world.pay("1300.00", value_on=date(2026, 3, 31))
    async with world.database.transaction(Scope.platform()) as session:
        assert not await leases.is_order_paid(session, tenant_id=world.tenant_id, order_id=order_id)
    assert (await world.balance()).credit == Decimal("2000.00")
    await world.check_conservation()


async def test_nothing_opens_unpaid(world: LeaseWorld) -> None:
    await _opened(world)
    order_id = await world.order(1, "2026-03-20")
    clock.travel_to(clock.now().replace(month=3, day=20))
    with pytest.raises(leases.OrderNotPaid):
        async with world.database.transaction(Scope.platform()) as session:
            await leases.open_holdings(session, tenant_id=world.tenant_id, order_id=order_id, on=clock.today())


async def test_what_is_not_open_cannot_be_returned(world: LeaseWorld) -> None:
    await _opened(world)
    await world.give_back([2], "2026-03-20")
    for numbers in ([2], [3], []):
        with pytest.raises(leases.NotReturnable):
            await world.give_back(numbers, "2026-03-21")


async def test_payments_at_once_never_use_a_fen_twice(world: LeaseWorld) -> None:
    await _opened(world)
    await world.live_to("2026-04-01")
    await asyncio.gather(*(world.pay("1500.00") for _ in range(5)))
    account = await world.balance()
    assert (str(account.owed), str(account.credit)) == ("0.00", "3500.00")
    await world.check_conservation()


async def test_payments_reversals_orders_and_the_run_at_once(world: LeaseWorld) -> None:
    await _opened(world)
    advance = await world.pay("3000.00")
    clock.travel_to(clock.now().replace(month=4, day=1))
    april = Month(2026, 4)
    await asyncio.gather(
        world.pay("1111.11"),
        invoice_runs.run_month(world.runtime, april),
        world.reverse(advance),
        invoice_runs.run_month(world.runtime, april),
        world.order(2, "2026-04-20"),
        world.pay("2222.22"),
    )
    assert len(await world.invoices("monthly")) == 1
    await world.check_conservation()


async def test_a_call_rated_during_the_run_is_on_this_invoice_or_left_for_the_next(world: LeaseWorld) -> None:
    await _opened(world)
    clock.travel_to(clock.now().replace(month=4, day=1))
    async with world.database.transaction(Scope.platform()) as session:
        held = await get_contract(session, world.tenant_id, world.contract_id)
        await session.refresh(held, with_for_update={"read": True})
        running = asyncio.create_task(invoice_runs.run_month(world.runtime, Month(2026, 4)))
        await _somebody_waits_for_us(session)
        assert held.billed_through is None
        session.add(
            Charge(
                tenant_id=world.tenant_id, month=date(2026, 3, 1), leg_id="leg", contract_id=world.contract_id,
                billing_month=date(2026, 3, 1), deck_id="deck", prefix="86", billed_seconds=6,
                amount=Decimal("12.3400"), rated_at=clock.now(),
            )
        )  # fmt: skip
    await running
    assert [str(each.total) for each in await world.invoices("monthly")] == ["4012.34"]


async def _somebody_waits_for_us(session: AsyncSession, most_looks: int = 10_000) -> None:
    """Look until another transaction is blocked by a lock that this one holds."""
    blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    for _ in range(most_looks):
        if await session.scalar(blocked):
            return
    raise AssertionError("nobody waits")


async def test_one_bad_contract_does_not_stop_the_run(
    world: LeaseWorld, database: Database, settings: Settings
) -> None:
    await _opened(world)
    other = LeaseWorld(database, settings)
    await _opened(other)
    async with database.transaction(Scope.platform()) as session:
        broken = await get_contract(session, world.tenant_id, world.contract_id)
        broken.terms = {**broken.terms, "due_day": 31}
    clock.travel_to(clock.now().replace(month=4, day=1))
    run = await invoice_runs.run_month(world.runtime, Month(2026, 4))
    assert (run.issued, run.set_aside) == (1, [world.contract_id])
    async with database.transaction(Scope.platform()) as session:
        mended = await get_contract(session, world.tenant_id, world.contract_id)
        mended.terms = {**mended.terms, "due_day": 10}
    again = await invoice_runs.run_month(world.runtime, Month(2026, 4))
    assert (again.issued, again.set_aside) == (1, [])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_money_is_conserved_whatever_happens(world: LeaseWorld, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a history that can be told again
    await _opened(world, seats=chance.randint(1, 5))
    recorded: list[Payment] = []
    orders: list[str] = []
    for step in range(40):
        match chance.randrange(6):
            case 0 | 1:
                recorded.append(await world.pay(f"{chance.randint(1, 9000)}.{chance.randint(0, 99):02d}"))
            case 2 if recorded:
                await world.reverse(recorded.pop(chance.randrange(len(recorded))))
            case 3:
                day = clock.today().replace(day=28)
                orders.append(await world.order(chance.randint(1, 3), day.isoformat()))
            case 4 if orders:
                order_id = orders.pop(chance.randrange(len(orders)))
                try:
                    await world.cancel(order_id)
                except leases.OrderInForce:
                    assert not await world.waiting(order_id)
            case _:
                clock.travel_to(clock.now().replace(day=1, month=clock.today().month + (step % 8 == 7)))
                await world.begin(clock.today())
        await world.check_conservation()


async def _signed_over_http(api: Api) -> tuple[str, str]:
    tenant_id = await api.tenant("anxin")
    operator = await api.client("platform_operator")
    body = {"tenant_id": tenant_id, "preset": "hosted", "title": "租赁", "opens_on": str(clock.today())}
    made = await operator.post("/v1/contracts", body)
    assert made.status_code == 201, made.text
    contract_id = made.json()["contract_id"]
    async with api.database.transaction(Scope.platform()) as session:
        await leases.order_holdings(
            session, tenant_id=tenant_id, contract_id=contract_id, item="seat", quantity=3,
            ordered_on=clock.today(), effective_on=clock.today(), order_id="ord_1", opening=True,
        )  # fmt: skip
    return tenant_id, contract_id


async def test_the_whole_way_over_http(api: Api) -> None:
    tenant_id, contract_id = await _signed_over_http(api)
    finance, viewer = await api.client("finance"), await api.client("tenant_viewer", tenant_id)
    [invoice] = (await viewer.get("/v1/invoices", {"state": "open", "contract_id": contract_id})).json()["items"]
    assert (invoice["reason"], invoice["currency"]) == ("opening", "CNY")
    detail = (await viewer.get(f"/v1/invoices/{invoice['invoice_id']}")).json()
    assert [line["kind"] for line in detail["lines"]] == ["deposit", "rent"]
    assert detail["lines"][1]["clause"] == "C6, rule 2"
    pdf = await viewer.get(f"/v1/invoices/{invoice['invoice_id']}/pdf")
    assert (pdf.status_code, pdf.headers["content-type"], pdf.content[:5]) == (200, "application/pdf", b"%PDF-")
    body: dict[str, Any] = {
        "tenant_id": tenant_id, "amount": invoice["open"], "value_on": str(clock.today()), "reference": "R-1",
    }  # fmt: skip
    first, again = await finance.post("/v1/payments", body, key="k"), await finance.post("/v1/payments", body, key="k")
    assert (first.status_code, again.json()) == (201, first.json())
    clash = await finance.post("/v1/payments", body)
    assert (clash.status_code, clash.json()["code"], clash.json()["field"]) == (
        409, "payment_reference_used", "reference",
    )  # fmt: skip
    account = (await viewer.get(f"/v1/tenants/{tenant_id}/balance")).json()
    assert (account["owed"], account["credit"], account["currency"]) == ("0.00", "0.00", "CNY")
    payment_id = first.json()["payment_id"]
    reversed_ = await finance.post(f"/v1/payments/{payment_id}/reversal", {"reason": "another tenant's"})
    assert reversed_.json()["reversal_reason"] == "another tenant's"
    assert (await finance.post(f"/v1/payments/{payment_id}/reversal", {"reason": "x"})).status_code == 409
    assert (await finance.post("/v1/payments", body)).status_code == 201
    queued = await finance.post("/v1/invoice-runs", {"month": f"{clock.today():%Y-%m}"})
    assert (queued.status_code, queued.json()["state"]) == (202, "queued")
    actions = [entry["action"] for entry in (await viewer.get("/v1/audit")).json()["items"]]
    assert {"contract.signed", "invoice.issued", "payment.recorded", "payment.reversed"} <= set(actions)


async def test_an_unpaid_orders_invoice_can_be_voided_and_no_other(api: Api) -> None:
    tenant_id, _ = await _signed_over_http(api)
    finance = await api.client("finance")
    [invoice] = (await finance.get("/v1/invoices", {"tenant_id": tenant_id})).json()["items"]
    path = f"/v1/invoices/{invoice['invoice_id']}/void"
    voided = await finance.post(path, {"reason": "ordered by mistake"})
    assert (voided.json()["state"], voided.json()["open"]) == ("void", "0.00")
    assert (await finance.post(path, {"reason": "again"})).json()["code"] == "invoice_not_voidable"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"amount": "0.00"}, 422, "amount"),
        ({"amount": "1.234"}, 422, "amount"),
        ({"amount": "-5"}, 422, "amount"),
        ({"amount": "1e3"}, 422, "amount"),
        ({"amount": 5}, 400, "amount"),
        ({"amount": "99999999999999"}, 422, "amount"),
        ({"value_on": "2999-01-01"}, 422, "value_on"),
        ({"value_on": "yesterday"}, 400, "value_on"),
        ({"channel": "cash"}, 422, "channel"),
        ({"colour": "red"}, 400, "colour"),
        ({"reference": "x" * 201}, 422, "reference"),
        ({"currency": "USD"}, 422, "currency"),
    ],
)
async def test_a_payment_that_cannot_be_is_refused_by_field(
    api: Api, change: dict[str, Any], status: int, field: str
) -> None:
    finance, tenant_id = await api.client("finance"), await api.tenant()
    body = {"tenant_id": tenant_id, "amount": "10.00", "value_on": str(clock.today())} | change
    answer = await finance.post("/v1/payments", body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


async def test_only_finance_records_payments_and_nobody_sees_another_tenants(api: Api) -> None:
    tenant_id, contract_id = await _signed_over_http(api)
    stranger = await api.client("tenant_admin", await api.tenant("stranger"))
    operator, finance = await api.client("platform_operator"), await api.client("finance")
    [invoice] = (await finance.get("/v1/invoices", {"tenant_id": tenant_id})).json()["items"]
    body = {"tenant_id": tenant_id, "amount": "10.00", "value_on": str(clock.today())}
    assert (await operator.post("/v1/payments", body)).status_code == 403
    payment = (await finance.post("/v1/payments", body)).json()
    for path in (
        f"/v1/invoices/{invoice['invoice_id']}",
        f"/v1/invoices/{invoice['invoice_id']}/pdf",
        f"/v1/payments/{payment['payment_id']}",
        f"/v1/contracts/{contract_id}",
        f"/v1/tenants/{tenant_id}/balance",
    ):
        assert (await stranger.get(path)).status_code == 404, path
    for path in ("/v1/invoices", "/v1/payments", "/v1/contracts"):
        assert (await stranger.get(path)).json()["items"] == []


async def test_a_tenants_own_role_changes_no_money(api: Api) -> None:
    """Its requests reach the ledger only through services that take the platform's role for it."""
    tenant_id, contract_id = await _signed_over_http(api)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with api.database.transaction(Scope.tenant(tenant_id)) as session:
            await leases.order_holdings(
                session, tenant_id=tenant_id, contract_id=contract_id, item="seat", quantity=1,
                ordered_on=clock.today(), effective_on=clock.today(), order_id="ord_2", opening=True,
            )  # fmt: skip
    async with api.database.transaction(Scope.tenant(tenant_id)) as session:
        assert (await ledger.balance(session, tenant_id)).owed > 0
        with pytest.raises(ProgrammingError, match="permission denied"):
            await session.execute(update(Invoice).values(paid=Invoice.total))
