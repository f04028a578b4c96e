"""Calls become money: priced by the deck in force, charged exactly once, on exactly one invoice."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text

from billing import jobs as billing_jobs
from billing import usage
from billing.rules.deck_csv import read_deck
from infra.kit import jobs
from infra.kit.database import Database, Scope
from infra.kit.problems import Unavailable
from infra.kit.settings import Settings
from switch.models import NewCall
from tests.billing.calls import CHINA, HEADER, Calls, bill_through, moment, rate, until_somebody_waits

JULY, AUGUST, SEPTEMBER = date(2026, 7, 1), date(2026, 8, 1), date(2026, 9, 1)


@pytest.fixture
def calls(database: Database) -> Calls:
    return Calls(database)


@pytest.fixture
def runtime(database: Database, settings: Settings) -> jobs.Runtime:
    return jobs.Runtime(database, settings)


async def test_a_call_is_charged_by_the_default_deck(database: Database, calls: Calls) -> None:
    tenant_id, deck_id = await calls.tenant(), await calls.deck()
    contract_id = await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id, "862155556666", milliseconds=61_000)
    batch = await rate(database, tenant_id)
    charge = (await calls.charges())[leg_id]
    assert (batch.taken, batch.charged, batch.unrated) == (1, 1, 0)
    assert (charge.contract_id, charge.deck_id, charge.prefix) == (contract_id, deck_id, "86")
    assert (charge.month, charge.billing_month) == (JULY, JULY)
    assert (charge.billed_seconds, charge.amount) == (66, Decimal("0.4300"))
    assert await calls.waiting() == []


async def test_a_started_second_bills_whole(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id, milliseconds=60_001)
    await rate(database, tenant_id)
    charge = (await calls.charges())[leg_id]
    assert (charge.billed_seconds, charge.amount) == (61, Decimal("0.6100"))


async def test_the_contracts_own_deck_comes_before_the_default(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    own = await calls.deck(f"{HEADER}\n86,Own,,1.20,60,60\n", is_default=False)
    await calls.contract(tenant_id, deck_id=own)
    leg_id = await calls.call(tenant_id)
    await rate(database, tenant_id)
    charge = (await calls.charges())[leg_id]
    assert (charge.deck_id, charge.amount) == (own, Decimal("1.2000"))


async def test_the_row_valid_at_the_moment_of_answer_prices_the_call(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck(f"{HEADER},valid_from,valid_to\n86,Old,,0.60,1,1,,2026-07-15\n86,New,,0.90,1,1,2026-07-16,\n")
    await calls.contract(tenant_id)
    before = await calls.call(tenant_id, answered="2026-07-15 23:59")
    after = await calls.call(tenant_id, answered="2026-07-16 00:00")
    await rate(database, tenant_id)
    charges = await calls.charges()
    assert (charges[before].amount, charges[after].amount) == (Decimal("0.6000"), Decimal("0.9000"))


async def test_without_contract_deck_or_prefix_a_call_is_kept_with_the_reason(database: Database, calls: Calls) -> None:
    nobody, undecked, covered = await calls.tenant(), await calls.tenant(), await calls.tenant()
    await calls.contract(undecked, deck_id="deck_gone")
    await calls.contract(covered)
    await calls.deck()
    legs = [
        await calls.call(nobody),
        await calls.call(undecked),
        await calls.call(covered, "442012345678"),
        await calls.call(covered, answered="2026-05-31 23:59"),
    ]
    for tenant_id in (nobody, undecked, covered):
        await rate(database, tenant_id)
    reasons = await calls.reasons()
    assert [reasons[leg] for leg in legs] == ["no_contract", "no_deck", "no_prefix", "no_contract"]
    assert await calls.charges() == {}


async def test_a_leg_whose_record_is_missing_does_not_vanish(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    async with database.transaction(Scope.platform()) as session:
        session.add(NewCall(tenant_id=tenant_id, month=JULY, leg_id="ghost"))
    await rate(database, tenant_id)
    assert await calls.reasons() == {"ghost": "no_record"}


async def test_a_charge_beyond_every_invoice_is_set_aside(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck(f"{HEADER}\n86,Slip of the pen,,999999999999,1,1\n")
    await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id, milliseconds=3_600_000)
    await rate(database, tenant_id)
    assert await calls.reasons() == {leg_id: "too_large"}


async def test_a_contract_not_yet_open_pays_no_calls(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id, state="signed")
    leg_id = await calls.call(tenant_id)
    await rate(database, tenant_id)
    assert await calls.reasons() == {leg_id: "no_contract"}


async def test_among_several_contracts_the_oldest_in_force_pays(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    younger = await calls.contract(tenant_id, opens_on="2026-07-01")
    older = await calls.contract(tenant_id, opens_on="2026-06-01", ends_on="2026-07-16", state="ended")
    last_day = await calls.call(tenant_id, answered="2026-07-16 23:59")
    day_after = await calls.call(tenant_id, answered="2026-07-17 00:00")
    await rate(database, tenant_id)
    charges = await calls.charges()
    assert (charges[last_day].contract_id, charges[day_after].contract_id) == (older, younger)


def test_no_contract_is_in_force_before_the_first_or_in_a_gap() -> None:
    span = usage.ContractSpan("ctr_1", moment("2026-06-01 00:00"), moment("2026-07-01 00:00"), None, None)
    assert usage.contract_for(moment("2026-05-31 23:59"), [span]) is None
    assert usage.contract_for(moment("2026-06-01 00:00"), [span]) == span
    assert usage.contract_for(moment("2026-07-01 00:00"), [span]) is None


@pytest.mark.parametrize(
    ("billed_through", "month", "expected"),
    [(None, JULY, JULY), (JULY, AUGUST, AUGUST), (JULY, JULY, AUGUST), (AUGUST, JULY, SEPTEMBER)],
)
def test_a_call_goes_on_the_first_invoice_not_yet_made(
    billed_through: date | None, month: date, expected: date
) -> None:
    span = usage.ContractSpan("ctr_1", datetime(2026, 1, 1, tzinfo=UTC), None, None, billed_through)
    assert span.billing_month(month) == expected


def test_legs_of_different_months_and_contracts_are_posted_apart() -> None:
    spans = [
        usage.ContractSpan("ctr_1", moment("2026-06-01 00:00"), moment("2026-07-16 00:00"), "deck_1", None),
        usage.ContractSpan("ctr_2", moment("2026-07-16 00:00"), None, "deck_1", JULY),
    ]
    legs = [
        usage.Leg(JULY, "a", "8613800138000", moment("2026-07-15 12:00"), 1_000),
        usage.Leg(JULY, "b", "8613800138000", moment("2026-07-16 12:00"), 1_000),
        usage.Leg(AUGUST, "c", "8613800138000", moment("2026-08-01 12:00"), 1_000),
    ]
    postings = usage.price(legs, spans, {"deck_1": read_deck(CHINA)}).postings.values()
    assert [(each.contract_id, each.month, each.billing_month, each.leg_ids) for each in postings] == [
        ("ctr_1", JULY, JULY, ["a"]),
        ("ctr_2", JULY, AUGUST, ["b"]),
        ("ctr_2", AUGUST, AUGUST, ["c"]),
    ]


async def test_a_leg_that_comes_again_keeps_its_one_charge(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id)
    await rate(database, tenant_id)
    await calls.deck(f"{HEADER}\n86,Dearer,,9.00,60,60\n")
    async with database.transaction(Scope.platform()) as session:
        session.add(NewCall(tenant_id=tenant_id, month=JULY, leg_id=leg_id))
    await rate(database, tenant_id)
    assert (await calls.charges())[leg_id].amount == Decimal("0.6000")
    assert await calls.waiting() == []


async def test_a_batch_that_is_cut_off_leaves_everything_as_it_was(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id)
    with pytest.raises(RuntimeError):
        async with database.transaction(Scope.platform()) as session:
            await usage.rate_batch(session, tenant_id)
            raise RuntimeError("the worker dies before the commit")
    assert (await calls.waiting(), await calls.charges()) == ([leg_id], {})
    assert (await rate(database, tenant_id)).charged == 1


async def test_two_workers_at_once_take_different_legs(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id)
    legs = {await calls.call(tenant_id) for _ in range(6)}
    async with (
        database.transaction(Scope.platform()) as one,
        database.transaction(Scope.platform()) as other,
    ):
        first = await usage.rate_batch(one, tenant_id, 4)
        second = await usage.rate_batch(other, tenant_id, 4)
    assert (first.charged, second.charged) == (4, 2)
    assert set(await calls.charges()) == legs


async def test_after_the_monthly_run_a_late_call_goes_on_the_next_invoice(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id, billed_through="2026-07-01")
    late, timely = await calls.call(tenant_id), await calls.call(tenant_id, answered="2026-08-01 00:00")
    await rate(database, tenant_id)
    charges = await calls.charges()
    assert (charges[late].month, charges[late].billing_month) == (JULY, AUGUST)
    assert (charges[timely].month, charges[timely].billing_month) == (AUGUST, AUGUST)


async def test_the_monthly_run_waits_for_a_batch_that_is_being_rated(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    contract_id = await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id)
    async with database.transaction(Scope.platform()) as rating:
        await usage.rate_batch(rating, tenant_id)
        with pytest.raises(Unavailable) as waited_in_vain:
            async with database.transaction(Scope.platform()) as monthly_run:
                await monthly_run.execute(text("SET LOCAL lock_timeout = '50ms'"))
                await bill_through(monthly_run, tenant_id, contract_id, "2026-07-01")
        assert "lock timeout" in str(waited_in_vain.value.__cause__)
    async with database.transaction(Scope.platform()) as monthly_run:
        await bill_through(monthly_run, tenant_id, contract_id, "2026-07-01")
    assert (await calls.charges())[leg_id].billing_month == JULY


async def test_a_batch_waits_for_the_monthly_run_and_sees_what_it_has_billed(database: Database, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    contract_id = await calls.contract(tenant_id)
    leg_id = await calls.call(tenant_id)
    async with database.transaction(Scope.platform()) as monthly_run:
        await bill_through(monthly_run, tenant_id, contract_id, "2026-07-01")
        rating = asyncio.create_task(rate(database, tenant_id))
        await until_somebody_waits(database)
        assert not rating.done()
    assert (await rating).charged == 1
    assert (await calls.charges())[leg_id].billing_month == AUGUST


async def test_the_job_rates_the_calls_of_every_tenant(runtime: jobs.Runtime, calls: Calls) -> None:
    await calls.deck()
    legs: set[str] = set()
    for _ in range(3):
        tenant_id = await calls.tenant()
        await calls.contract(tenant_id)
        legs |= {await calls.call(tenant_id), await calls.call(tenant_id, answered="2026-08-01 00:00")}
    await billing_jobs.rate_calls(runtime)
    assert set(await calls.charges()) == legs


async def test_a_tenant_that_cannot_be_rated_does_not_stop_the_others(runtime: jobs.Runtime, calls: Calls) -> None:
    await calls.deck()
    broken, sound = await calls.tenant(), await calls.tenant()
    await calls.contract(broken, deck_id=await calls.unreadable_deck())
    await calls.contract(sound)
    stuck, rated = await calls.call(broken), await calls.call(sound)
    with pytest.raises(billing_jobs.RatingFailed, match=broken):
        await billing_jobs.rate_calls(runtime)
    assert (set(await calls.charges()), await calls.waiting()) == ({rated}, [stuck])


async def test_a_deck_upload_has_calls_without_a_price_tried_again(runtime: jobs.Runtime, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.contract(tenant_id)
    legs = {await calls.call(tenant_id) for _ in range(3)}
    abroad = await calls.call(tenant_id, "442012345678")
    await billing_jobs.rate_calls(runtime)
    assert set((await calls.reasons()).values()) == {"no_deck"}
    await calls.deck()
    async with runtime.database.transaction(Scope.platform()) as session:
        query = "SELECT args FROM procrastinate_jobs WHERE task_name = 'billing.rate_calls' AND status = 'todo'"
        (arguments,) = (await session.execute(text(query))).scalars()
    await billing_jobs.rate_calls(runtime, **arguments)
    assert set(await calls.charges()) == legs
    assert await calls.reasons() == {abroad: "no_prefix"}


async def test_the_schedule_finds_a_call_that_a_change_has_missed(runtime: jobs.Runtime, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    leg_id = await calls.call(tenant_id)
    await billing_jobs.rate_calls(runtime)
    await calls.deck()
    await calls.contract(tenant_id)
    await billing_jobs.rate_calls(runtime)
    assert await calls.reasons() == {leg_id: "no_contract"}
    await billing_jobs.retry_unrated_calls(runtime)
    assert set(await calls.charges()) == {leg_id}


async def test_a_walk_through_calls_without_a_price_goes_on_behind_its_last_leg(
    database: Database, calls: Calls
) -> None:
    tenant_id = await calls.tenant()
    legs = [await calls.call(tenant_id) for _ in range(5)]
    await rate(database, tenant_id)
    seen: list[int] = []
    after = usage.FIRST
    while True:
        async with database.transaction(Scope.platform()) as session:
            batch = await usage.rate_batch(session, tenant_id, 2, work=usage.UnratedCall, after=after)
        if batch.taken == 0:
            break
        seen.append(batch.unrated)
        after = batch.last
    assert seen == [2, 2, 1]
    assert set(await calls.reasons()) == set(legs)
