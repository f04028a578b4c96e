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
from tests.api import Api
from tests.billing.calls import CHINA, HEADER, Calls, bill_through, contract_now, moment, until_somebody_waits

JULY, AUGUST, SEPTEMBER = date(2026, 7, 1), date(2026, 8, 1), date(2026, 9, 1)


@pytest.fixture
def calls(database: Database) -> Calls:
    return Calls(database)


@pytest.fixture
def runtime(database: Database, settings: Settings) -> jobs.Runtime:
    return jobs.Runtime(database, settings)


async def rate(database: Database, tenant_id: str, limit: int = 100) -> usage.Batch:
    async with database.transaction(Scope.platform()) as session:
        return await usage.rate_batch(session, tenant_id, limit)


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


async def test_charges_are_listed_page_by_page_and_added_up(api: Api, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    contract_id = await calls.contract(tenant_id)
    legs = [await calls.call(tenant_id, milliseconds=1_000) for _ in range(3)]
    legs.append(await calls.call(tenant_id, answered="2026-08-02 09:00"))
    await rate(api.database, tenant_id)
    viewer = await api.client("tenant_viewer", tenant_id)
    first = (await viewer.get("/v1/charges", {"limit": 3})).json()
    second = (await viewer.get("/v1/charges", {"limit": 3, "after": first["next"]})).json()
    assert [item["leg_id"] for item in [*first["items"], *second["items"]]] == [legs[3], legs[2], legs[1], legs[0]]
    assert second["next"] is None
    assert first["items"][1] | {"rated_at": None, "deck_id": None} == {
        "tenant_id": tenant_id,
        "leg_id": legs[2],
        "contract_id": contract_id,
        "month": "2026-07",
        "caller": "862112345678",
        "destination": "8613800138000",
        "answered_at": "2026-07-16T02:00:00Z",
        "deck_id": None,
        "prefix": "86138",
        "billed_seconds": 1,
        "amount": "0.0100",
        "currency": "CNY",
        "rated_at": None,
    }
    sums = (await viewer.get("/v1/charges/summary")).json()["items"]
    assert [(each["month"], each["calls"], each["billed_seconds"], each["amount"]) for each in sums] == [
        ("2026-08", 1, 60, "0.6000"),
        ("2026-07", 3, 3, "0.0300"),
    ]
    july = {"month": "2026-07", "contract_id": contract_id}
    assert len((await viewer.get("/v1/charges", july)).json()["items"]) == 3
    assert len((await viewer.get("/v1/charges", {"leg_id": legs[0]})).json()["items"]) == 1


async def test_a_tenant_sees_its_own_charges_and_unrated_calls_only(api: Api, calls: Calls) -> None:
    ours, theirs = await calls.tenant(), await calls.tenant()
    await calls.deck()
    await calls.contract(theirs)
    await calls.call(theirs)
    await calls.call(theirs, "442012345678")
    await rate(api.database, theirs)
    viewer, finance = await api.client("tenant_viewer", ours), await api.client("finance")
    for path, count in (
        ("/v1/charges", 1),
        ("/v1/charges/summary", 1),
        ("/v1/unrated-calls", 1),
        ("/v1/unrated-calls/summary", 1),
    ):
        assert (await viewer.get(path)).json()["items"] == []
        assert (await viewer.get(path, {"tenant_id": theirs})).status_code == 404
        assert len((await finance.get(path)).json()["items"]) == count
        assert len((await finance.get(path, {"tenant_id": theirs})).json()["items"]) == count


async def test_calls_without_a_price_are_listed_and_counted(api: Api, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    await calls.deck()
    await calls.contract(tenant_id)
    abroad = [await calls.call(tenant_id, "442012345678"), await calls.call(tenant_id, "442012345679")]
    early = await calls.call(tenant_id, answered="2026-05-01 10:00", milliseconds=1_500)
    await rate(api.database, tenant_id)
    viewer = await api.client("tenant_viewer", tenant_id)
    counts = (await viewer.get("/v1/unrated-calls/summary")).json()["items"]
    assert {each["reason"]: each["calls"] for each in counts} == {"no_prefix": 2, "no_contract": 1}
    listed = (await viewer.get("/v1/unrated-calls", {"reason": "no_contract"})).json()["items"]
    assert [(each["leg_id"], each["billable_milliseconds"]) for each in listed] == [(early, 1_500)]
    first = (await viewer.get("/v1/unrated-calls", {"limit": 2})).json()
    second = (await viewer.get("/v1/unrated-calls", {"limit": 2, "after": first["next"]})).json()
    assert [each["leg_id"] for each in [*first["items"], *second["items"]]] == [*reversed(abroad), early]


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/v1/charges", {"month": "July"}, "month"),
        ("/v1/charges", {"month": "2026-13"}, "month"),
        ("/v1/charges", {"after": "nonsense"}, "after"),
        ("/v1/charges", {"after": "WyJhIiwiYiIsImMiXQ"}, "after"),
        ("/v1/charges/summary", {"after": "WyJhIiwiYiIsImMiXQ"}, "after"),
        ("/v1/unrated-calls", {"reason": "bad_weather"}, "reason"),
    ],
)
async def test_a_bad_filter_names_itself(api: Api, path: str, params: dict[str, str], field: str) -> None:
    finance = await api.client("finance")
    answer = await finance.get(path, params)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_finance_gives_a_contract_its_own_deck(api: Api, calls: Calls) -> None:
    tenant_id = await calls.tenant()
    contract_id = await calls.contract(tenant_id)
    deck_id = await calls.deck(is_default=False)
    leg_id = await calls.call(tenant_id)
    await rate(api.database, tenant_id)
    finance = await api.client("finance")
    answer = await finance.post(f"/v1/contracts/{contract_id}/rate-deck", {"rate_deck_id": deck_id})
    assert (answer.status_code, answer.json()["rate_deck_id"]) == (200, deck_id)
    await billing_jobs.rate_calls(jobs.Runtime(api.database, api.settings), tenant_id=tenant_id, retry_unrated=True)
    assert (await calls.charges())[leg_id].deck_id == deck_id
    await finance.post(f"/v1/contracts/{contract_id}/rate-deck", {"rate_deck_id": None})
    assert (await contract_now(api.database, contract_id)).rate_deck_id is None


async def test_an_unknown_deck_or_contract_is_not_found(api: Api, calls: Calls) -> None:
    contract_id = await calls.contract(await calls.tenant())
    finance = await api.client("finance")
    deck = await finance.post(f"/v1/contracts/{contract_id}/rate-deck", {"rate_deck_id": "deck_none"})
    contract = await finance.post("/v1/contracts/ctr_none/rate-deck", {"rate_deck_id": None})
    assert (deck.status_code, deck.json()["field"]) == (404, "rate_deck_id")
    assert (contract.status_code, contract.json()["field"]) == (404, "contract_id")
