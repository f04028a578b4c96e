"""Finance's month on the real database: one-off charges, the preview of a run."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from billing import invoice_runs, run_preview
from billing import jobs as billing_jobs
from billing.rules.months import Month
from billing.run_preview import ContractPreview, PreviewedInvoice
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from switch import set_aside_records
from tests.api import Api
from tests.billing.calls import Calls, rate
from tests.billing.finance import charge_body, does, opened, refused
from tests.billing.lease_world import LeaseWorld, morning


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _contents(database: Database) -> dict[str, list[str]]:
    """Every row of every table, but for what signing in leaves."""
    async with database.engine.connect() as connection:
        tables = await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return {
            table: list(await connection.scalars(text(f'SELECT t::text FROM "{table}" AS t ORDER BY 1')))  # noqa: S608 - a name of our own tables
            for table in sorted(tables)
            if table not in {"access_token", "client"}
        }


async def test_a_charge_waits_for_the_next_invoice_and_is_on_it_once(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    charge = await does(finance, "/v1/one-off-charges", charge_body(world))
    assert (charge["state"], charge["billed_on"], charge["amount"], charge["currency"]) == (
        "waiting", None, "800.00", "CNY",
    )  # fmt: skip
    await does(finance, "/v1/one-off-charges", charge_body(world, kind="utilities", amount="12.30", on="2026-04-02"))
    await world.live_to("2026-05-01")
    april, may = await world.invoices("monthly")
    assert (str(april.total), str(may.total)) == ("4800.00", "4012.30")
    finance = await api.client("finance")
    answer = (await finance.get(f"/v1/one-off-charges/{charge['charge_id']}")).json()
    assert (answer["state"], answer["billed_on"]) == ("billed", "2026-04-01")
    late = await finance.post(f"/v1/one-off-charges/{charge['charge_id']}/cancellation", {"reason": "too late"})
    assert refused(late) == (409, "charge_not_cancellable", "charge_id")
    await world.check_conservation()


async def test_data_traffic_is_added_up_and_rounded_once(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    records = [("2026-03-09", "1.2345"), ("2026-03-31", "0.0001"), ("2026-04-01", "9.9999")]
    made = [
        await does(finance, "/v1/one-off-charges", charge_body(world, kind="data", on=on, amount=amount, note="12 GB"))
        for on, amount in records
    ]
    assert [each["amount"] for each in made] == ["1.2345", "0.0001", "9.9999"]
    too_fine = await finance.post("/v1/one-off-charges", charge_body(world, kind="data", amount="0.00001"))
    assert refused(too_fine) == (422, "charge_refused", "amount")
    await world.live_to("2026-05-01")
    april, may = await world.invoices("monthly")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    of_april = (await viewer.get(f"/v1/invoices/{april.invoice_id}")).json()["lines"]
    assert [(each["kind"], each["amount"]) for each in of_april] == [("rent", "4000.00"), ("data", "1.23")]
    assert (str(may.total), str(april.tax)) == ("4010.00", "226.48")
    explained = (await viewer.get(f"/v1/invoices/{april.invoice_id}/lines/2/explain")).json()
    assert (explained["clause"], explained["formula"]) == ("C3, rule 3", "sum of 2 rated amounts")
    assert [each["amount"] for each in explained["charges"]] == ["1.2345", "0.0001"]
    assert (explained["exact"], explained["rounding"]) == ("1.2346", "-0.0046")
    assert explained["words"][0]["en"].startswith("2 data records of March 2026")


async def test_a_cancelled_charge_is_on_no_invoice(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    charge = await does(finance, "/v1/one-off-charges", charge_body(world))
    path = f"/v1/one-off-charges/{charge['charge_id']}/cancellation"
    assert refused(await finance.post(path, {"reason": " "})) == (422, "invalid_input", "reason")
    cancelled = await does(finance, path, {"reason": "agreed otherwise"}, 200)
    assert (cancelled["state"], cancelled["cancellation_reason"]) == ("cancelled", "agreed otherwise")
    assert refused(await finance.post(path, {"reason": "again"})) == (409, "charge_not_cancellable", "charge_id")
    listed = (await finance.get("/v1/one-off-charges", {"state": "cancelled"})).json()["items"]
    assert [each["charge_id"] for each in listed] == [charge["charge_id"]]
    assert (await finance.get("/v1/one-off-charges", {"state": "waiting"})).json()["items"] == []
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    assert str(april.total) == "4000.00"


async def test_what_is_found_damaged_after_the_end_goes_on_a_supplementary_invoice(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-04-20")
    await world.pay("4000.00")
    await world.live_to("2026-05-12")
    finance = await api.client("finance")
    damage = charge_body(world, kind="equipment", on="2026-05-11", amount="350.00", note="desk No. 2")
    await does(finance, "/v1/one-off-charges", damage)
    await world.live_to("2026-06-01")
    [late] = await world.invoices("final")
    assert (str(late.total), late.period, str(late.issued_on), str(late.due_on)) == (
        "350.00", "2026-05", "2026-06-01", "2026-06-10",
    )  # fmt: skip
    await billing_jobs.run_month(world.runtime, month="2026-06")
    await world.live_to("2026-07-01")
    assert len(await world.invoices("final")) == 1


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"kind": "rent"}, 422, "charge_refused", "kind"),
        ({"amount": "0.00"}, 422, "charge_refused", "amount"),
        ({"amount": "-5.00"}, 422, "charge_refused", "amount"),
        ({"amount": "1.005"}, 422, "charge_refused", "amount"),
        ({"amount": "1e3"}, 422, "charge_refused", "amount"),
        ({"amount": "1000000000000"}, 422, "charge_refused", "amount"),
        ({"amount": 800}, 400, "validation_failed", "amount"),
        ({"on": "2026-01-01"}, 422, "charge_refused", "on"),
        ({"on": "2028-01-01"}, 422, "charge_refused", "on"),
        ({"on": "9999-12-31"}, 422, "charge_refused", "on"),
        ({"on": "2026-02-30"}, 400, "validation_failed", "on"),
        ({"note": "  "}, 422, "charge_refused", "note"),
        ({"note": "x" * 501}, 422, "charge_refused", "note"),
        ({"contract_id": "ctr_none"}, 404, "contract_not_found", "contract_id"),
        ({"tenant_id": None}, 422, "invalid_input", "tenant_id"),
        ({"currency": "USD"}, 400, "validation_failed", "currency"),
    ],
)
async def test_a_bad_charge_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await world.sign("onsite", "2026-03-02")
    finance = await api.client("finance")
    assert refused(await finance.post("/v1/one-off-charges", charge_body(world) | wrong)) == (status, code, field)
    assert (await finance.get("/v1/one-off-charges")).json()["items"] == []


async def test_a_tenant_sees_its_own_charges_and_makes_none(world: LeaseWorld, api: Api) -> None:
    await world.sign("onsite", "2026-03-02")
    charge = await does(await api.client("finance"), "/v1/one-off-charges", charge_body(world))
    own, other = await api.client("tenant_admin", world.tenant_id), await api.client("tenant_admin", await api.tenant())
    assert [each["charge_id"] for each in (await own.get("/v1/one-off-charges")).json()["items"]] == [
        charge["charge_id"]
    ]
    assert (await other.get("/v1/one-off-charges")).json()["items"] == []
    assert (await other.get(f"/v1/one-off-charges/{charge['charge_id']}")).status_code == 404
    assert refused(await own.post("/v1/one-off-charges", charge_body(world)))[:2] == (403, "forbidden")
    assert (await (await api.client("finance")).get("/v1/one-off-charges", {"state": "lost"})).status_code == 422


async def test_a_preview_is_what_the_run_then_issues_and_writes_nothing(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    await does(finance, "/v1/one-off-charges", charge_body(world))
    await world.called("2026-03", "12.3456")
    await world.order(1, "2026-03-20")  # never paid: it has lapsed when April is billed
    clock.travel_to(morning(date(2026, 4, 1)))
    finance = await api.client("finance")
    before = await _contents(api.database)
    answer = await finance.get("/v1/invoice-runs/2026-04/preview")
    assert answer.status_code == 200, answer.text
    assert await _contents(api.database) == before
    page = answer.json()
    [found] = page["items"]
    assert (found["tenant_id"], found["contract_id"], found["title"]) == (
        world.tenant_id, world.contract_id, "坐席租赁合同",
    )  # fmt: skip
    assert page["totals"] == [
        {"kind": "rent", "amount": "4000.00"},
        {"kind": "calls", "amount": "12.35"},
        {"kind": "recruitment", "amount": "800.00"},
    ]
    assert (page["total"], page["contracts_due"], page["next"], page["set_aside_records"]) == ("4812.35", 1, None, 0)
    await invoice_runs.run_month(world.runtime, Month(2026, 4))
    [april] = await world.invoices("monthly")
    details = (await finance.get(f"/v1/invoices/{april.invoice_id}")).json()
    [previewed] = found["invoices"]
    for name in ("reason", "period", "issued_on", "due_on", "total", "tax"):
        assert previewed[name] == details[name]
    for shown, issued in zip(previewed["lines"], details["lines"], strict=True):
        assert shown.items() <= issued.items()
    assert (await finance.get("/v1/invoice-runs/2026-04/preview")).json()["items"] == []


async def test_a_preview_shows_months_that_are_behind_and_the_month_to_come(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    clock.travel_to(morning(date(2026, 5, 3)))
    finance = await api.client("finance")
    [found] = (await finance.get("/v1/invoice-runs/2026-05/preview")).json()["items"]
    assert [each["period"] for each in found["invoices"]] == ["2026-04", "2026-05"]
    assert (found["total_before"], found["anomalies"]) == ("4000.00", [])
    [ahead] = (await finance.get("/v1/invoice-runs/2026-06/preview")).json()["items"]
    assert [each["period"] for each in ahead["invoices"]] == ["2026-04", "2026-05", "2026-06"]
    for month in ("2026-07", "9999-12", "2026-13", "July", "2026-7", "1999-12"):
        answer = await finance.get(f"/v1/invoice-runs/{month}/preview")
        assert refused(answer) == (422, "invalid_input", "month"), month


async def test_a_preview_goes_page_by_page_through_all_contracts(api: Api) -> None:
    calls = Calls(api.database)
    clock.travel_to(morning(date(2026, 8, 1)))
    expected = sorted([(tenant_id := await calls.tenant(), await calls.contract(tenant_id)) for _ in range(5)])
    finance = await api.client("finance")
    seen: list[tuple[str, str]] = []
    after: str | None = None
    for size in (2, 2, 1):
        parameters = {"limit": 2} | ({"after": after} if after else {})
        page = (await finance.get("/v1/invoice-runs/2026-08/preview", parameters)).json()
        assert (len(page["items"]), page["contracts_due"]) == (size, 5)
        seen += [(each["tenant_id"], each["contract_id"]) for each in page["items"]]
        after = page["next"]
    assert (seen, after) == (expected, None)
    assert refused(await finance.get("/v1/invoice-runs/2026-08/preview", {"after": "x"}))[2] == "after"
    assert (await finance.get("/v1/invoice-runs/2026-08/preview", {"limit": 51})).status_code == 400


async def test_a_preview_prices_what_waits_and_tells_what_has_no_price(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    calls = Calls(api.database)
    clock.travel_to(morning(date(2026, 4, 1)))
    await calls.deck()
    await calls.call(world.tenant_id, answered="2026-03-16 10:00", milliseconds=60_000)
    await calls.call(world.tenant_id, "442012345678", answered="2026-03-16 10:00")
    async with api.database.transaction(Scope.platform()) as session:
        await set_aside_records.set_aside(session, "node-1", b"{", "it is no JSON")
    page = (await (await api.client("finance")).get("/v1/invoice-runs/2026-04/preview")).json()
    [found] = page["items"]
    assert {"kind": "calls", "amount": "0.60"} in page["totals"]
    assert (found["unrated_calls"], found["anomalies"], page["set_aside_records"]) == (1, ["unrated_calls"], 1)
    assert len(await calls.waiting()) == 2
    assert await calls.charges() == {}


async def test_previews_beside_rating_payments_and_the_run_change_nothing_of_them(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    calls = Calls(api.database)
    clock.travel_to(morning(date(2026, 4, 1)))
    await calls.deck()
    legs = {await calls.call(world.tenant_id, answered="2026-03-16 10:00") for _ in range(20)}
    finance = await api.client("finance")

    async def look() -> None:
        answer = await finance.get("/v1/invoice-runs/2026-04/preview")
        assert answer.status_code == 200, answer.text
        assert all(each["problem"] is None for each in answer.json()["items"])

    await asyncio.gather(
        look(),
        world.pay("100.00"),
        rate(api.database, world.tenant_id, limit=5),
        look(),
        invoice_runs.run_month(world.runtime, Month(2026, 4)),
        world.pay("100.00"),
        look(),
    )
    [april] = await world.invoices("monthly")
    assert (str(april.total), str(april.paid)) == ("4012.00", "200.00")
    assert (await calls.charges()).keys() == legs
    await world.check_conservation()


async def test_a_run_is_added_up_with_the_contracts_to_look_at(world: LeaseWorld, api: Api) -> None:
    await opened(world, 1)
    await opened(LeaseWorld(world.database, world.settings))
    await world.live_to("2026-04-01")
    await invoice_runs.run_month(world.runtime, Month(2026, 4))
    await does(
        await api.client("finance"), "/v1/one-off-charges", charge_body(world, on="2026-04-09", amount="1000.00")
    )
    clock.travel_to(morning(date(2026, 5, 1)))
    finance = await api.client("finance")
    before = await _contents(api.database)
    summary = (await finance.get("/v1/invoice-runs/2026-05/preview/summary")).json()
    assert await _contents(api.database) == before
    assert (summary["contracts_due"], summary["invoices"], summary["total"]) == (2, 2, "7000.00")
    assert summary["totals"] == [
        {"kind": "rent", "amount": "6000.00"},
        {"kind": "recruitment", "amount": "1000.00"},
    ]
    [look] = summary["to_look_at"]
    assert (look["tenant_id"], look["total"], look["total_before"], look["anomalies"]) == (
        world.tenant_id, "3000.00", "2000.00", ["notably_more"],
    )  # fmt: skip
    assert refused(await finance.get("/v1/invoice-runs/2027-05/preview/summary"))[2] == "month"


async def test_a_run_too_large_to_add_up_is_read_page_by_page(
    api: Api, world: LeaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(world)
    clock.travel_to(morning(date(2026, 4, 1)))
    monkeypatch.setattr(run_preview, "SUMMARY_LIMIT_CONTRACTS", 0)
    answer = await (await api.client("finance")).get("/v1/invoice-runs/2026-04/preview/summary")
    assert refused(answer) == (409, "too_many_contracts", "month")


async def test_one_bad_contract_does_not_stop_the_preview(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    bad = await world.contract()
    async with api.database.transaction(Scope.platform()) as session:
        await session.execute(
            text("UPDATE contract SET terms = terms || '{\"due_day\": 99}' WHERE contract_id = :id"),
            {"id": bad.contract_id},
        )
    await opened(good := LeaseWorld(world.database, world.settings))
    clock.travel_to(morning(date(2026, 4, 1)))
    page = (await (await api.client("finance")).get("/v1/invoice-runs/2026-04/preview")).json()
    by_contract = {each["contract_id"]: each for each in page["items"]}
    assert by_contract[bad.contract_id]["anomalies"] == ["cannot_be_made"]
    assert "due_day" in by_contract[bad.contract_id]["problem"]
    assert by_contract[good.contract_id]["total"] == "4000.00"
    assert page["total"] == "4000.00"


async def test_only_finance_and_operators_preview(api: Api) -> None:
    tenant_id = await api.tenant()
    for role in ("tenant_admin", "tenant_viewer"):
        caller = await api.client(role, tenant_id)
        assert (await caller.get("/v1/invoice-runs/2026-04/preview")).status_code == 403
        assert (await caller.get("/v1/invoice-runs/2026-04/preview/summary")).status_code == 403


def _preview_of(total: str | None, before: str | None, unrated: int = 0, problem: str | None = None) -> ContractPreview:
    found = ContractPreview("ten", "ctr", unrated_calls=unrated, problem=problem)
    found.total_before = None if before is None else Decimal(before)
    if total is not None:
        day = date(2026, 4, 1)
        found.invoices.append(PreviewedInvoice("monthly", "2026-04", day, day, Decimal(total), Decimal(0), ()))
    return found


@pytest.mark.parametrize(
    ("found", "anomalies"),
    [
        (_preview_of("100.00", None), ()),
        (_preview_of("100.00", "100.00"), ()),
        (_preview_of("149.99", "100.00"), ()),
        (_preview_of("150.00", "100.00"), ("notably_more",)),
        (_preview_of("50.01", "100.00"), ()),
        (_preview_of("50.00", "100.00"), ("notably_less",)),
        (_preview_of("0.00", "100.00"), ("first_zero",)),
        (_preview_of("-3.00", "100.00"), ("first_zero",)),
        (_preview_of(None, "100.00", unrated=2), ("first_zero", "unrated_calls")),
        (_preview_of(None, "0.00"), ()),
        (_preview_of(None, None), ()),
        (_preview_of(None, "100.00", problem="no terms"), ("cannot_be_made",)),
    ],
)
def test_what_is_worth_a_look(found: ContractPreview, anomalies: tuple[str, ...]) -> None:
    assert run_preview.anomalies_of(found) == anomalies
