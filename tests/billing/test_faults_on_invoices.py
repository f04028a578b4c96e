"""Faults on the invoices of the monthly run: credited once, late ones on the next invoice (C11, rules 3, 9 and 11)."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from billing import books, contracts, dunning, invoice_runs, run_preview
from billing.outages import faults
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tenancy import tenants
from tests.billing.finance import opened
from tests.billing.lease_world import LeaseWorld
from tests.billing.outage_world import at, credited, ends, reported


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def test_a_fault_of_the_operator_is_credited_on_the_next_invoice(world: LeaseWorld) -> None:
    await opened(world, 3)
    await world.live_to("2026-03-20")
    await reported(world, "2026-03-09 10:00", "2026-03-10 10:00:01", numbers=[1, 2])
    await reported(world, "2026-03-12 10:00", "2026-03-12 14:00")  # repaired in time
    await reported(world, "2026-03-12 10:00", "2026-03-14 10:00", cause="tenant")
    await reported(world, "2026-03-13 10:00", "2026-03-14 10:00", cause="force_majeure")
    await reported(world, "2026-03-15 10:00", "2026-03-16 10:00", cause=None)  # nobody has decided yet
    await world.live_to("2026-05-01")
    # Two started days of two seats: 2 x 2000.00 x 2 / 30.
    assert await credited(world) == {"2026-04": "-266.67"}


async def test_a_late_finding_is_credited_with_what_is_missing(world: LeaseWorld) -> None:
    await opened(world, 1)
    await world.live_to("2026-03-20")
    await reported(world, "2026-03-09 10:00", "2026-03-09 20:00")
    await world.live_to("2026-04-02")
    await reported(world, "2026-03-09 12:00", "2026-03-10 12:00", cause="tenant")
    late = await reported(world, "2026-03-12 10:00", "2026-03-13 06:00")
    await world.live_to("2026-05-03")
    # 10 h were a started day; 30 h in all are two, so one more is due.
    assert await credited(world) == {"2026-04": "-66.67", "2026-05": "-66.67"}
    async with world.database.transaction(Scope.platform()) as session:
        await faults.reclassify(
            session, tenant_id=world.tenant_id, fault_id=late.fault_id, cause="tenant", reason="their router"
        )
    await world.live_to("2026-06-01")
    assert await credited(world) == {"2026-04": "-66.67", "2026-05": "-66.67"}, "nothing is clawed back"


async def test_a_report_decided_on_after_the_run_is_credited_then(world: LeaseWorld) -> None:
    await opened(world, 1)
    await world.live_to("2026-03-20")
    fault = await reported(world, "2026-03-09 10:00", "2026-03-09 20:00", cause=None)
    await world.live_to("2026-05-02")
    assert await credited(world) == {}
    async with world.database.transaction(Scope.platform()) as session:
        await faults.confirm(
            session, tenant_id=world.tenant_id, fault_id=fault.fault_id, cause="operator", reason="our switch"
        )
    await world.live_to("2026-06-01")
    assert await credited(world) == {"2026-06": "-66.67"}
    await world.live_to("2026-07-01")
    assert await credited(world) == {"2026-06": "-66.67"}


async def test_a_fault_that_lasts_counts_to_the_end_of_each_month_and_once(world: LeaseWorld) -> None:
    await opened(world, 1)
    await world.live_to("2026-03-30")
    fault = await reported(world, "2026-03-30 00:00")
    await world.live_to("2026-04-05")
    assert await credited(world) == {"2026-04": "-133.33"}
    await ends(world, fault, "2026-04-04 00:00")
    await world.live_to("2026-06-01")
    assert await credited(world) == {"2026-04": "-133.33", "2026-05": "-200.00"}


async def test_a_fault_too_short_at_the_run_is_credited_for_its_month_once_it_is_long_enough(world: LeaseWorld) -> None:
    await opened(world, 1)
    await world.live_to("2026-03-31")
    clock.travel_to(at("2026-03-31 23:30"))
    fault = await reported(world, "2026-03-31 23:00")
    await world.live_to("2026-04-02")
    assert await credited(world) == {}
    await ends(world, fault, "2026-04-01 03:30")
    await world.live_to("2026-06-01")
    assert await credited(world) == {"2026-05": "-133.33"}  # a started day of March and one of April


async def test_a_fault_found_after_the_end_goes_on_a_supplementary_invoice(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02", ends_on="2026-04-30")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-05-03")
    [final] = await world.invoices("final")
    await reported(world, "2026-04-09 10:00", "2026-04-09 20:00", numbers=[2])
    await world.live_to("2026-07-01")
    assert await credited(world) == {"2026-05": "-66.67"}
    finals = await world.invoices("final")
    assert [(each.period, str(each.total)) for each in finals] == [
        ("2026-04", str(final.total)),
        ("2026-05", "-66.67"),
    ]
    assert (await world.suspensions()) == []
    await world.check_conservation()


async def test_a_lasting_fault_makes_no_invoices_after_the_end(world: LeaseWorld) -> None:
    await opened(world, 1, ends_on="2026-03-31")
    await world.live_to("2026-03-31")
    fault = await reported(world, "2026-03-31 00:00")
    await world.live_to("2026-06-02")
    assert await credited(world) == {"2026-03": "-66.67"}
    await ends(world, fault, "2026-06-01 00:00")
    await world.live_to("2026-08-01")
    assert await credited(world) == {"2026-03": "-66.67"}
    assert len(await world.invoices("final")) == 1


@pytest.mark.parametrize(
    ("is_paid", "is_stopped", "credit"),
    [(True, False, "-133.33"), (True, True, "-133.33"), (False, False, None), (False, True, None)],
)
async def test_debt_takes_time_out_of_a_fault_and_the_operators_own_decision_does_not(
    world: LeaseWorld, is_paid: bool, is_stopped: bool, credit: str | None
) -> None:
    """Rule 9 leaves out the time the tenant was suspended, and rule 7 says when it is: while an invoice is overdue."""
    await opened(world, 1)
    await world.live_to("2026-04-02")
    if is_paid:
        await world.pay()
    await world.live_to("2026-04-18")
    if is_stopped:
        async with world.database.transaction(Scope.platform()) as session:
            await tenants.suspend(session, world.tenant_id, reason="operator_decision")
    assert (await world.standing())[0] == ("active" if is_paid and not is_stopped else "suspended")
    await world.live_to("2026-04-23")
    await reported(world, "2026-04-20 10:00", "2026-04-22 09:00")
    if is_stopped:
        async with world.database.transaction(Scope.platform()) as session:
            await tenants.lift_decision(session, world.tenant_id)
            await dunning.advance(session, world.tenant_id, clock.today())
    assert (await world.standing())[0] == ("active" if is_paid else "suspended")
    if not is_paid:
        await world.pay()
    await world.live_to("2026-05-02")
    assert await credited(world) == ({} if credit is None else {"2026-05": credit})


async def test_the_preview_shows_the_credit_and_stores_nothing(world: LeaseWorld) -> None:
    await opened(world, 1)
    await world.live_to("2026-03-20")
    await reported(world, "2026-03-09 10:00", "2026-03-09 20:00")
    for _ in range(2):
        async with world.database.transaction(Scope.platform()) as session:
            found = await run_preview.preview_contract(session, Month(2026, 4), world.tenant_id, world.contract_id)
            assert str(found.total) == "1933.33"
    await invoice_runs.run_month(world.runtime, Month(2026, 4))
    await world.live_to("2026-04-01")
    assert await credited(world) == {"2026-04": "-66.67"}


async def _statements_of_a_book(world: LeaseWorld) -> int:
    """How many statements it takes to load the book of April, with faults known in time and late ones."""
    statements: list[str] = []

    def count(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    async with world.database.transaction(Scope.platform()) as session:
        contract = await contracts.get_contract(session, world.tenant_id, world.contract_id)
        engine = world.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", count)
        try:
            book = await books.load_book(session, contract, Month(2026, 5))
        finally:
            event.remove(engine, "before_cursor_execute", count)
    assert len(book.faults) == 4
    assert [str(month) for month in book.late_fault_months] == ["2026-03"]
    assert all(holding.fault_credits for holding in book.holdings)
    return len(statements)


async def test_a_large_contract_takes_no_more_statements_than_a_small_one(world: LeaseWorld) -> None:
    large = LeaseWorld(world.database, world.settings)
    for each, seats in ((world, 2), (large, 100)):
        await opened(each, seats)
        await each.live_to("2026-03-20")
        await reported(each, "2026-03-09 10:00", "2026-03-10 20:00")
        await each.live_to("2026-04-20")
        await reported(each, "2026-03-12 10:00", "2026-03-13 20:00")
        for day in ("10", "15"):
            await reported(each, f"2026-04-{day} 10:00", f"2026-04-{day} 20:00", numbers=list(range(1, seats + 1)))
    assert await _statements_of_a_book(large) == await _statements_of_a_book(world)
