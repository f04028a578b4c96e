"""The release of a month by finance, on the real database (rule 3): in order, once, and whole however often it dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import jobs as billing_jobs
from billing import run_preview
from billing.models import Contract, Holding, Invoice, InvoiceLine
from billing.rules.months import Month
from billing.runs import releases
from billing.runs.models import InvoiceRun
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.settings import SettingRefused, Settings, load
from switch import set_aside_records
from tests.api import Api, Caller
from tests.billing.calls import Calls
from tests.billing.finance import charge_body, does, opened, refused
from tests.billing.lease_world import LeaseWorld, morning
from tests.mortal import Killed, MortalDatabase, copy_of

APRIL = "/v1/invoice-runs/2026-04"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An installation whose finance releases months."""
    return load(
        {
            "SEATLINE_DATA_DIRECTORY": str(tmp_path / "data"),
            "SEATLINE_DATABASE_URL": database_url,
            "SEATLINE_MONTHLY_RELEASE": "finance",
        }
    )


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _april(world: LeaseWorld, *, day: int = 1) -> None:
    """A lease since 2 March, and a morning of April with what its schedule brings."""
    await opened(world)
    await _morning_of(world, date(2026, 4, day))


async def _morning_of(world: LeaseWorld, day: date) -> None:
    clock.travel_to(morning(day))
    await billing_jobs.advance_month(world.runtime)


async def _released(world: LeaseWorld, finance: Caller, path: str = APRIL, **body: Any) -> dict[str, Any]:
    """A month released, and its job done."""
    answer = await does(finance, f"{path}/release", body, 200)
    await billing_jobs.run_released_month(world.runtime, month=path.rpartition("/")[2])
    return answer


async def test_nothing_goes_out_before_finance_releases_it(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    assert await world.invoices("monthly") == []
    finance = await api.client("finance")
    [waiting] = (await finance.get("/v1/invoice-runs")).json()["items"]
    assert (waiting["month"], waiting["state"], waiting["contracts_due"]) == ("2026-04", "waiting", 1)
    early = await finance.post("/v1/invoice-runs", {"month": "2026-04"})
    assert refused(early) == (409, "month_not_released", "month")
    preview = (await finance.get(f"{APRIL}/preview")).json()
    figures = {"contracts_due": preview["contracts_due"], "expected_total": preview["total"]}
    released = await _released(world, finance, note="all seen", **figures)
    assert (released["state"], released["released_by"], released["note"]) == ("running", finance.client_id, "all seen")
    [april] = await world.invoices("monthly")
    assert (str(april.total), str(april.due_on)) == ("4000.00", "2026-04-10")
    [run] = (await finance.get("/v1/invoice-runs")).json()["items"]
    assert run["total"] == "4000.00"
    assert (run["state"], run["issued"], run["contracts_due"], run["set_aside"]) == ("finished", 1, 0, 0)
    assert (await finance.get(APRIL)).json() == run
    again = await finance.post(f"{APRIL}/release", {})
    assert refused(again) == (409, "invoice_run_released", "month")
    await billing_jobs.run_released_month(world.runtime, month="2026-04")
    await billing_jobs.advance_month(world.runtime)
    assert len(await world.invoices("monthly")) == 1


async def test_released_late_it_is_due_five_days_after(world: LeaseWorld, api: Api) -> None:
    await _april(world, day=5)
    await does(await api.client("finance"), f"{APRIL}/release", {}, 200)
    clock.travel_to(morning(date(2026, 4, 9)))  # nobody worked for days: what counts is the release
    await billing_jobs.advance_month(world.runtime)
    [april] = await world.invoices("monthly")
    assert (str(april.issued_on), str(april.due_on)) == ("2026-04-01", "2026-04-10")
    await _morning_of(world, date(2026, 5, 6))
    await _released(world, await api.client("finance"), "/v1/invoice-runs/2026-05")
    may = (await world.invoices("monthly"))[1]
    assert (str(may.issued_on), str(may.due_on)) == ("2026-05-01", "2026-05-11")


async def test_months_go_out_in_their_order_and_none_that_has_not_begun(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    await _morning_of(world, date(2026, 5, 3))
    finance = await api.client("finance")
    assert [each["month"] for each in (await finance.get("/v1/invoice-runs")).json()["items"]] == ["2026-05", "2026-04"]
    for month, code in (("2026-06", "month_not_begun"), ("2026-05", "month_out_of_order"), ("2026-03", None)):
        answer = await finance.post(f"/v1/invoice-runs/{month}/release", {})
        assert refused(answer)[1:] == (code or "month_out_of_order", "month")
    assert refused(await finance.post("/v1/invoice-runs/April/release", {}))[1] == "invalid_input"
    assert await world.invoices("monthly") == []
    await _released(world, finance)
    await _released(world, finance, "/v1/invoice-runs/2026-05")
    assert [each.period for each in await world.invoices("monthly")] == ["2026-04", "2026-05"]
    assert [each["month"] for each in (await finance.get("/v1/invoice-runs", {"limit": 1})).json()["items"]] == [
        "2026-05"
    ]
    assert refused(await finance.get("/v1/invoice-runs/2026-06")) == (404, "invoice_run_not_found", "month")


async def test_a_run_that_has_changed_since_it_was_looked_at_is_not_released(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    finance = await api.client("finance")
    await does(finance, "/v1/one-off-charges", charge_body(world))
    answer = await finance.post(f"{APRIL}/release", {"expected_total": "4000.00"})
    assert refused(answer) == (409, "preview_outdated", "expected_total")
    assert (answer.json()["total"], answer.json()["contracts_due"]) == ("4800.00", 1)
    assert refused(await finance.post(f"{APRIL}/release", {"contracts_due": 2}))[2] == "contracts_due"
    assert refused(await finance.post(f"{APRIL}/release", {"expected_total": "4e3"}))[1] == "release_refused"
    assert refused(await finance.post(f"{APRIL}/release", {"note": "x" * 501})) == (422, "invalid_input", "note")
    assert (await finance.get(APRIL)).json()["state"] == "waiting"
    await _released(world, finance, contracts_due=1, expected_total="4800.00")
    assert str((await world.balance()).owed) == "4800.00"


async def test_two_who_release_at_once_release_it_once(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    finance = await api.client("finance")
    answers = await asyncio.gather(*(finance.post(f"{APRIL}/release", {}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_what_waits_too_long_is_told(world: LeaseWorld) -> None:
    await opened(world)
    with structlog.testing.capture_logs() as logged:
        await _morning_of(world, date(2026, 4, 1))
        assert [each for each in logged if each["event"] == "invoice_run.waiting_for_release"] == []
        await _morning_of(world, date(2026, 4, 2))
    told = [each for each in logged if each["event"] == "invoice_run.waiting_for_release"]
    assert [(each["log_level"], each["month"]) for each in told] == [("warning", "2026-04")]


async def test_openings_and_ends_do_not_wait_for_a_release(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-03-31")
    await world.sign("hosted", "2026-04-07", on="2026-03-20")
    await world.order(2, "2026-04-07")
    await _morning_of(world, date(2026, 4, 2))
    assert [each.reason for each in await world.invoices()] == ["opening"]
    async with world.database.transaction(Scope.platform()) as session:
        states = (await session.execute(select(Contract.state).order_by(Contract.opens_on))).scalars().all()
    assert states == ["ended", "signed"]


async def test_one_bad_account_is_set_aside_with_its_reason_and_tried_again(world: LeaseWorld, api: Api) -> None:
    await opened(bad := LeaseWorld(world.database, world.settings))
    await _april(world, day=3)
    await _set_due_day(world.database, bad, 99)
    finance = await api.client("finance")
    await _released(world, finance)
    run = (await finance.get(APRIL)).json()
    assert (run["state"], run["issued"], run["contracts_due"], run["set_aside"]) == ("finished", 1, 1, 1)
    [aside] = (await finance.get(f"{APRIL}/set-aside")).json()["items"]
    assert (aside["contract_id"], aside["reason"], aside["times"]) == (bad.contract_id, "failed", 1)
    assert "due_day" in aside["problem"]
    await billing_jobs.advance_month(world.runtime)
    await does(finance, f"{APRIL}/retry", {}, 200)
    await billing_jobs.run_released_month(world.runtime, month="2026-04")
    assert (await finance.get(f"{APRIL}/set-aside")).json()["items"][0]["times"] == 2
    await _set_due_day(world.database, bad, 10)
    clock.travel_to(morning(date(2026, 4, 8)))
    finance = await api.client("finance")
    await does(finance, f"{APRIL}/retry", {}, 200)
    await billing_jobs.run_released_month(world.runtime, month="2026-04")
    [mended], [good] = await bad.invoices("monthly"), await world.invoices("monthly")
    assert (str(mended.due_on), str(good.due_on)) == ("2026-04-13", "2026-04-10")
    assert refused(await finance.post(f"{APRIL}/retry", {})) == (409, "nothing_set_aside", "month")
    assert refused(await finance.post("/v1/invoice-runs/2026-05/retry", {})) == (404, "invoice_run_not_found", "month")
    [resolved] = (await finance.get(f"{APRIL}/set-aside", {"resolved": True})).json()["items"]
    assert resolved["resolved_at"] is not None


async def test_only_finance_releases_and_no_tenant_sees_a_run(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    operator, admin = await api.client("platform_operator"), await api.client("tenant_admin", world.tenant_id)
    assert (await operator.get(APRIL)).status_code == 200
    for caller in (operator, admin):
        for what in ("release", "retry"):
            assert (await caller.post(f"{APRIL}/{what}", {})).status_code == 403
    for path in ("/v1/invoice-runs", APRIL, f"{APRIL}/set-aside"):
        assert (await admin.get(path)).status_code == 403


async def test_a_voided_month_is_made_again_by_a_retry(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    finance = await api.client("finance")
    await _released(world, finance)
    [april] = await world.invoices("monthly")
    await does(finance, f"/v1/invoices/{april.invoice_id}/void", {"reason": "wrong"}, 200)
    await _morning_of(world, date(2026, 4, 20))
    assert await world.invoices("monthly", void=False) == []
    await does(await api.client("finance"), f"{APRIL}/retry", {}, 200)
    await billing_jobs.run_released_month(world.runtime, month="2026-04")
    [made] = await world.invoices("monthly", void=False)
    assert (str(made.issued_on), str(made.due_on)) == ("2026-04-01", "2026-04-25")


async def test_a_preview_tells_of_records_that_are_missing(world: LeaseWorld, api: Api) -> None:
    await _april(world)
    async with api.database.transaction(Scope.platform()) as session:
        await set_aside_records.set_aside(
            session, "node-1", f'{{"tenant": "{world.tenant_id}"'.encode(), "it is no JSON"
        )
    finance = await api.client("finance")
    [found] = (await finance.get(f"{APRIL}/preview")).json()["items"]
    assert (found["incomplete_records"], found["anomalies"]) == (1, ["incomplete_records"])
    [look] = (await finance.get(f"{APRIL}/preview/summary")).json()["to_look_at"]
    assert look["incomplete_records"] == 1


def test_production_waits_for_finance_and_development_does_not(tmp_path: Path) -> None:
    kept = {"SEATLINE_DATA_DIRECTORY": str(tmp_path)}
    assert load(kept).monthly_release == "automatic"
    live = kept | {
        "SEATLINE_ENVIRONMENT": "production",
        "SEATLINE_DATABASE_URL": "postgresql://db/seatline",
        "SEATLINE_SECRET_KEY": load(kept).secret_key,
    }
    assert load(live).monthly_release == "finance"
    assert load(live | {"SEATLINE_MONTHLY_RELEASE": "automatic"}).monthly_release == "automatic"
    with pytest.raises(SettingRefused, match="SEATLINE_MONTHLY_RELEASE"):
        load(kept | {"SEATLINE_MONTHLY_RELEASE": "sometimes"})


async def test_killed_at_any_point_and_started_again_it_issues_the_same(world: LeaseWorld, settings: Settings) -> None:
    await _three_leases(world)
    await world.database.engine.dispose()
    undisturbed, transactions = await _run_to_the_end(world, settings, lambda url: Database(url, pool_size=2))
    assert transactions > 8
    assert len(undisturbed[0]) == 3
    points = [(number, False) for number in range(1, transactions + 1)] + [(transactions, True)]
    for number, after in points:  # behind a commit is as before the next one's
        made, _ = await _run_to_the_end(world, settings, lambda url, n=number, a=after: MortalDatabase(url, n, after=a))
        assert made == undisturbed, f"killed {'behind' if after else 'before'} commit {number}"


async def _three_leases(world: LeaseWorld) -> None:
    """One with calls, a return, a charge and an unpaid order; one that has ended; one that cannot be billed."""
    await opened(world, 3, deposit="500.00")
    await world.pay("123.45")
    await world.give_back([3], "2026-03-15")
    await world.order(2, "2026-03-20")
    calls = Calls(world.database)
    await calls.deck()
    for day in (10, 11, 12):
        await calls.call(world.tenant_id, answered=f"2026-03-{day} 10:00")
    await opened(ended := LeaseWorld(world.database, world.settings), ends_on="2026-03-25", deposit="700.00")
    await opened(bad := LeaseWorld(world.database, world.settings))
    await _set_due_day(world.database, bad, 99)
    clock.travel_to(morning(date(2026, 4, 7)))
    async with world.database.transaction(Scope.platform()) as session:
        await releases.release(session, Month(2026, 4))
    assert ended.tenant_id != bad.tenant_id


async def _run_to_the_end(
    world: LeaseWorld, settings: Settings, database_of: Callable[[str], Database]
) -> tuple[tuple[list[Any], ...], int]:
    """Carry the run out in a copy of the world; one that dies is started again two days later. What it has made."""
    with copy_of(world.database.url) as url:
        clock.travel_to(morning(date(2026, 4, 7)))
        first, counted = database_of(url), 0
        begun = first.transaction

        @asynccontextmanager
        async def counting(scope: Scope) -> AsyncGenerator[AsyncSession]:
            nonlocal counted
            counted += 1
            async with begun(scope) as session:
                yield session

        first.transaction = counting
        try:
            await releases.carry_out(Runtime(first, settings), Month(2026, 4))
        except Killed:
            clock.travel_to(clock.now() + timedelta(days=2))
        await first.close()
        second = Database(url, pool_size=2)
        await releases.carry_out(Runtime(second, settings), Month(2026, 4))
        async with second.transaction(Scope.platform()) as session:
            made = await _everything_made(session)
        await second.close()
    return made, counted


async def _everything_made(session: AsyncSession) -> tuple[list[Any], ...]:
    """All that a run writes, but for ids and moments."""
    columns = (
        Invoice.tenant_id, Invoice.number, Invoice.reason, Invoice.issued_on, Invoice.due_on, Invoice.total,
        Invoice.tax, Invoice.paid, Invoice.suspends_on, Invoice.void_reason,
    )  # fmt: skip
    line = (InvoiceLine.kind, InvoiceLine.quantity, InvoiceLine.amount, InvoiceLine.formula)
    of_invoice = (InvoiceLine.tenant_id == Invoice.tenant_id) & (InvoiceLine.invoice_id == Invoice.invoice_id)
    lines = select(Invoice.tenant_id, Invoice.number, *line).join(InvoiceLine, of_invoice)
    holdings = (Holding.contract_id, Holding.number, Holding.lapsed, Holding.deposit_returned, Holding.opened_on)
    run = (InvoiceRun.month, InvoiceRun.state)
    queries = (
        select(*columns).where(Invoice.reason != "opening").order_by(Invoice.tenant_id, Invoice.number),
        lines.order_by(Invoice.tenant_id, Invoice.number, InvoiceLine.line_number),
        select(*holdings).order_by(Holding.contract_id, Holding.number),
        select(*run),
        select(Contract.contract_id, Contract.billed_through, Contract.state).order_by(Contract.contract_id),
        text("SELECT contract_id, reason, resolved_at FROM set_aside_contract ORDER BY 1"),
        text("SELECT account, sum(amount) FROM posting GROUP BY 1 ORDER BY 1"),
        text("SELECT count(*), sum(amount) FROM charge"),
    )
    results = [await session.execute(query) for query in queries]
    return tuple([tuple(row) for row in result] for result in results)


async def _set_due_day(database: Database, world: LeaseWorld, day: int) -> None:
    """A contract as damage would have it, and mended."""
    async with database.transaction(Scope.platform()) as session:
        await session.execute(
            text("UPDATE contract SET terms = jsonb_set(terms, '{due_day}', to_jsonb(CAST(:day AS int))) "
                 "WHERE contract_id = :id"),
            {"id": world.contract_id, "day": day},
        )  # fmt: skip


def test_the_anomalies_are_told_in_a_fixed_order() -> None:
    found = run_preview.ContractPreview("ten", "ctr", unrated_calls=1, incomplete_records=1)
    assert run_preview.anomalies_of(found) == ("unrated_calls", "incomplete_records")


async def test_one_opening_that_cannot_be_charged_does_not_keep_others_from_theirs(world: LeaseWorld) -> None:
    bad = LeaseWorld(world.database, world.settings)
    for lease in (bad, world):
        await lease.sign("hosted", "2026-04-07", on="2026-03-20")
        await lease.order(2, "2026-04-07")
    await _set_due_day(world.database, bad, 99)
    await _morning_of(world, date(2026, 4, 2))
    assert (await bad.invoices(), [each.reason for each in await world.invoices()]) == ([], ["opening"])
    await _set_due_day(world.database, bad, 10)
    await billing_jobs.advance_month(world.runtime)
    assert [each.reason for each in await bad.invoices()] == ["opening"]
