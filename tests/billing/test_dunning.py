"""Overdue, suspended, paid, restored: the tenant's standing follows its unpaid invoices (C8, rule 7)."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select

from billing import invoice_runs
from billing import jobs as billing_jobs
from billing.errors import ContractNotOpen
from billing.models import Suspension, UnratedCall
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tenancy import tenants
from tests.billing.lease_world import LeaseWorld, morning


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _opened(world: LeaseWorld, ends_on: str | None = None) -> None:
    """`onsite` (five days of tolerance), two seats open and paid on 2 March 2026; lived to the 1st of April."""
    await world.sign("onsite", "2026-03-02", ends_on=ends_on)
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-03-02")
    await world.live_to("2026-04-01")


async def _dunned_on(world: LeaseWorld, day: str) -> tuple[str, str | None]:
    clock.travel_to(morning(date.fromisoformat(day)))
    await billing_jobs.advance_dunning(world.runtime)
    return await world.standing()


async def test_unpaid_past_the_tolerance_the_tenant_is_suspended(world: LeaseWorld) -> None:
    await _opened(world)
    assert await _dunned_on(world, "2026-04-15") == ("active", None)
    assert await _dunned_on(world, "2026-04-16") == ("suspended", "payment_overdue")
    assert await _dunned_on(world, "2026-04-17") == ("suspended", "payment_overdue")
    [april] = await world.invoices("monthly")
    async with world.database.transaction(Scope.platform()) as session:
        [suspension] = (await session.execute(select(Suspension))).scalars().all()
    assert (suspension.invoice_id, suspension.ended_at) == (april.invoice_id, None)


async def test_the_payment_that_settles_it_restores_in_the_same_transaction(world: LeaseWorld) -> None:
    await _opened(world)
    await _dunned_on(world, "2026-04-16")
    await world.pay("3999.99")
    assert await world.standing() == ("suspended", "payment_overdue")
    await world.pay("0.01")
    assert await world.standing() == ("active", None)
    assert await world.suspensions() == [(date(2026, 4, 16), date(2026, 4, 16))]


async def test_a_reversed_payment_lets_the_suspension_follow(world: LeaseWorld) -> None:
    await _opened(world)
    payment = await world.pay()
    assert await _dunned_on(world, "2026-04-20") == ("active", None)
    await world.reverse(payment)
    assert await world.standing() == ("active", None)
    await billing_jobs.advance_tenant_dunning(world.runtime, tenant_id=world.tenant_id)
    assert await world.standing() == ("suspended", "payment_overdue")


async def test_an_operators_decision_is_not_lifted_by_a_payment(world: LeaseWorld) -> None:
    await _opened(world)
    async with world.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, world.tenant_id, reason="operator_decision")
    assert await _dunned_on(world, "2026-04-16") == ("suspended", "operator_decision")
    await world.pay()
    assert await _dunned_on(world, "2026-04-17") == ("suspended", "operator_decision")


async def test_an_unpaid_addition_suspends_nobody_and_keeps_nobody_suspended(world: LeaseWorld) -> None:
    await _opened(world)
    await world.pay()
    await world.order(1, "2026-04-10")
    assert await _dunned_on(world, "2026-04-29") == ("active", None)


async def test_an_ended_contract_keeps_nobody_suspended(world: LeaseWorld) -> None:
    await _opened(world, ends_on="2026-04-20")
    assert await _dunned_on(world, "2026-04-20") == ("suspended", "payment_overdue")
    assert await _dunned_on(world, "2026-04-21") == ("active", None)


async def test_credit_of_a_lapsed_order_restores_by_itself(world: LeaseWorld) -> None:
    await _opened(world)
    await world.pay()
    await world.order(2, "2026-04-29")
    await world.pay("3900.00")
    await world.live_to("2026-05-01")  # the order lapses, its money pays all of May but 100.00
    [may] = [each for each in await world.invoices("monthly") if each.period == "2026-05"]
    assert str(may.paid) == "3900.00"
    assert await _dunned_on(world, "2026-05-16") == ("suspended", "payment_overdue")
    await world.pay("100.00")
    assert await world.standing() == ("active", None)
    await world.check_conservation()


async def test_the_daily_job_does_what_the_calendar_brings_and_again_changes_nothing(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02")
    await world.order(1, "2026-03-02")
    clock.travel_to(morning(date(2026, 2, 26)))
    for _ in range(2):
        await billing_jobs.advance_month(world.runtime)
    assert len(await world.invoices()) == 1
    await world.pay()
    clock.travel_to(morning(date(2026, 3, 2)))
    await world.open_what_may_open()
    clock.travel_to(morning(date(2026, 5, 3)))  # nobody worked on the 1st of April and May
    for _ in range(2):
        await billing_jobs.advance_month(world.runtime)
    assert [each.period for each in await world.invoices("monthly")] == ["2026-04", "2026-05"]
    await billing_jobs.run_month(world.runtime, month="2026-05")
    assert len(await world.invoices()) == 3


async def test_a_run_released_after_the_fifth_is_due_five_days_later(world: LeaseWorld) -> None:
    await _opened(world)
    clock.travel_to(morning(date(2026, 5, 8)))
    await billing_jobs.advance_month(world.runtime)
    may = (await world.invoices("monthly"))[-1]
    assert (str(may.issued_on), str(may.due_on), str(may.suspends_on)) == ("2026-05-01", "2026-05-13", "2026-05-19")


async def test_late_calls_of_an_ended_contract_go_on_a_supplementary_invoice(world: LeaseWorld) -> None:
    await _opened(world, ends_on="2026-04-20")
    await world.called("2026-04", "1.0000")
    await world.live_to("2026-05-01")
    [final] = await world.invoices("final")
    assert (await world.contract()).state == "ended"
    await world.called("2026-05", "7.1250")
    await world.live_to("2026-06-01")
    first, late = await world.invoices("final")
    assert first.invoice_id == final.invoice_id
    assert (str(late.total), late.period, str(late.issued_on), str(late.due_on)) == (
        "7.13", "2026-05", "2026-06-01", "2026-06-10",
    )  # fmt: skip
    assert (await world.contract()).billed_through == date(2026, 5, 1)


async def test_an_opening_that_is_never_paid_lapses_with_its_contract(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02")
    await world.order(1, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay("100.00")
    await world.live_to("2026-04-01")
    [opening] = await world.invoices()
    assert (opening.void_reason, str(opening.paid)) == ("not paid by the end of its month", "0.00")
    assert (await world.contract()).state == "lapsed"
    assert str((await world.balance()).credit) == "100.00"
    with pytest.raises(ContractNotOpen):
        await world.order(1, "2026-04-10")


async def test_calls_without_a_price_are_counted_by_the_run(world: LeaseWorld) -> None:
    await _opened(world)
    async with world.database.transaction(Scope.platform()) as session:
        session.add(
            UnratedCall(
                tenant_id=world.tenant_id, month=date(2026, 4, 1), leg_id="leg", reason="no_deck", seen_at=clock.now()
            )
        )
    clock.travel_to(morning(date(2026, 5, 1)))
    run = await invoice_runs.run_month(world.runtime, Month(2026, 5))
    assert (run.issued, run.without_lines, run.unrated_calls) == (1, 0, 1)
