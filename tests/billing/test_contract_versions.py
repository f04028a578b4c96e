"""Terms that change while a contract lasts (C15): from a day on, for what comes after it, signed by both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing import contracts
from billing.agreements import amendments
from billing.agreements.checks import Signed
from billing.agreements.errors import TermsOverlap
from billing.models import Invoice
from billing.rules.contract_versions import changed_terms
from billing.rules.quote_document import read_quote
from billing.rules.simulation import simulate
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.agreements import agreed_end, amendment
from tests.billing.finance import does, opened, refused
from tests.billing.histories import add, document, give_back, pay
from tests.billing.lease_world import LeaseWorld, morning


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def amend(world: LeaseWorld, api: Api, effective_on: str, terms: dict[str, Any], **other: Any) -> dict[str, Any]:
    body = amendment(effective_on, terms, **other)
    return await does(await api.client("finance"), f"/v1/contracts/{world.contract_id}/amendments", body)


async def invoice_of(world: LeaseWorld, period: str, reason: str = "monthly") -> Invoice:
    [found] = [each for each in await world.invoices(reason, void=False) if each.period == period]
    return found


async def test_more_rent_from_september_on_leaves_august_untouched(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.live_to("2026-07-15")
    version = await amend(world, api, "2026-09-01", {"rent_per_seat": "2500.00"})
    assert (version["version"], version["state"], version["terms"]["rent_per_seat"]) == (2, "agreed", "2500.00")
    await world.live_to("2026-08-01")
    august = await invoice_of(world, "2026-08")
    assert str(august.total) == "4000.00"
    await world.live_to("2026-09-01")
    assert str((await invoice_of(world, "2026-09")).total) == "5000.00"
    unchanged = await invoice_of(world, "2026-08")
    assert (unchanged.total, unchanged.tax, unchanged.due_on) == (august.total, august.tax, august.due_on)
    viewer = await api.client("tenant_viewer", world.tenant_id)
    shown = (await viewer.get(f"/v1/contracts/{world.contract_id}")).json()
    assert (shown["version"], shown["terms"]["rent_per_seat"]) == (2, "2500.00")
    assert [(each["version"], each["state"]) for each in shown["versions"]] == [(1, "past"), (2, "in_force")]
    assert [each["terms"]["rent_per_seat"] for each in shown["versions"]] == ["2000.00", "2500.00"]


async def test_an_order_keeps_the_price_of_its_order_day(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.live_to("2026-07-15")
    await amend(world, api, "2026-09-01", {"rent_per_seat": "2500.00"})
    await world.live_to("2026-08-31")
    await world.order(1, "2026-09-05")
    await world.live_to("2026-09-01")
    await world.order(1, "2026-09-06")
    additions = {each.issued_on: str(each.total) for each in await world.invoices("addition")}
    assert additions == {date(2026, 8, 31): "2000.00", date(2026, 9, 1): "2500.00"}


async def test_another_tolerance_holds_for_the_invoices_dated_under_it(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.live_to("2026-03-20")
    await amend(world, api, "2026-05-01", {"grace_days": 20, "due_day": 15})
    await world.live_to("2026-05-02")
    april, may = await invoice_of(world, "2026-04"), await invoice_of(world, "2026-05")
    assert (str(april.due_on), str(april.suspends_on)) == ("2026-04-10", "2026-04-16")
    assert (str(may.due_on), str(may.suspends_on)) == ("2026-05-15", "2026-06-05")
    assert (await world.standing())[0] == "suspended"  # April's invoice is as overdue as it was


async def test_a_month_is_credited_by_the_terms_it_was_charged_under(world: LeaseWorld, api: Api) -> None:
    await opened(world, 3)
    await world.live_to("2026-03-20")
    new = {"return_charge": "0.10", "tax_rates": {"rent": "0.09"}, "rent_per_seat": "3000.00"}
    await amend(world, api, "2026-05-01", new)
    await world.live_to("2026-04-02")
    await world.give_back([3], "2026-04-15")
    await world.live_to("2026-05-01")
    may = await invoice_of(world, "2026-05")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    lines = (await viewer.get(f"/v1/invoices/{may.invoice_id}")).json()["lines"]
    assert [(line["kind"], line["amount"]) for line in lines] == [("rent", "6000.00"), ("return_credit", "-600.00")]
    # 6,000.00 with 9 % and a credit of what 6 % was charged for.
    assert may.tax == Decimal("495.41") - Decimal("33.96")


async def test_in_the_middle_of_a_month_orders_change_at_once_and_rent_with_the_next_first(
    world: LeaseWorld, api: Api
) -> None:
    await opened(world)
    await world.live_to("2026-03-20")
    await amend(world, api, "2026-05-12", {"rent_per_seat": "2200.00"})
    await world.live_to("2026-05-11")
    await world.order(1, "2026-05-20")
    await world.live_to("2026-05-12")
    await world.order(1, "2026-05-20")
    await world.live_to("2026-06-01")
    assert [str(each.total) for each in await world.invoices("addition")] == ["2000.00", "2200.00"]
    assert str((await invoice_of(world, "2026-05")).total) == "4000.00"
    assert str((await invoice_of(world, "2026-06")).total) == "4400.00"


@pytest.mark.parametrize("preset", ["hosted", "onsite"])
async def test_the_stored_run_and_the_calculator_agree_about_changing_terms(
    world: LeaseWorld, api: Api, preset: str
) -> None:
    first = {"rent_per_seat": "1777.77", "volume": [{"from": 4, "rent": "1666.66"}]}
    changes = {
        "2026-04-15": {"return_charge": "0.5", "return_cutoff_day": 10},
        "2026-06-01": {"volume": [], "rent_per_seat": "1999.99", "proration": "daily", "due_day": 12},
        "2026-07-20": {"deposit": "0.00", "tax_rates": {"rent": "0.13"}, "return_cutoff_day": 28},
    }
    await world.sign(preset, "2026-03-02", first)
    await world.order(3, "2026-03-02")
    await world.live_to("2026-02-27")
    await world.pay()
    await world.live_to("2026-03-03")
    for effective_on, terms in changes.items():
        await amend(world, api, effective_on, terms)
    events = [add("2026-03-02", 3), pay("2026-02-27")]
    for ordered_on, on in (("2026-04-14", "2026-05-04"), ("2026-06-08", "2026-06-20"), ("2026-07-19", "2026-07-25")):
        await world.live_to(ordered_on)
        await world.order(2, on)
        await world.pay()
        events += [add(on, 2, ordered_on=ordered_on), pay(ordered_on, _total((await world.invoices("addition"))[-1]))]
        await world.live_to(on)
    for number, on in ((1, "2026-08-10"), (4, "2026-08-27")):
        await world.live_to(on)
        await world.give_back([number], on)
        events.append(give_back(on, [number]))
    await world.live_to("2026-09-03")
    # The calculator's `all` and what was owed on the day are the same sum; payments are told by their amounts.
    events = [each for each in events if each["type"] != "pay"]
    events += [pay(str(each.value_on), str(each.amount)) for each in await world.payments()]
    question = read_quote(document(preset, "2026-03-02", "2026-09-03", events, first))
    terms, later = question.contract.terms, {}
    for effective_on, overrides in changes.items():
        terms = changed_terms(terms, overrides)
        later[date.fromisoformat(effective_on)] = terms
    story = simulate(replace(question.contract, later_terms=later), question.events, question.until)
    drafts = [each.draft for each in story.invoices]
    told = [(d.reason, d.issued_on, d.due_on, d.total, d.tax, d.suspends_on) for d in drafts]
    lived = [
        (each.reason, each.issued_on, each.due_on, each.total, each.tax, each.suspends_on)
        for each in await world.invoices(void=False)
    ]
    assert sorted(lived, key=str) == sorted(told, key=str)
    assert len(lived) > 9


def _total(invoice: Invoice) -> str:
    return str(invoice.total)


async def test_a_version_is_cancelled_until_it_holds(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await amend(world, api, "2026-05-01", {"grace_days": 9})
    await amend(world, api, "2026-07-01", {"rent_per_seat": "2100.00"})
    finance = await api.client("finance")
    path = f"/v1/contracts/{world.contract_id}/amendments"
    reason = {"reason": "both think better of it"}
    first = await finance.post(f"{path}/2/cancellation", reason)
    assert refused(first) == (409, "contract_version_not_cancellable", "version")
    assert "Version 3" in first.json()["detail"]
    assert refused(await finance.post(f"{path}/3/cancellation", {"reason": " "}))[1:] == ("agreement_refused", "reason")
    assert (await does(finance, f"{path}/3/cancellation", reason, 200))["state"] == "cancelled"
    again = await finance.post(f"{path}/3/cancellation", reason)
    assert refused(again) == (409, "contract_version_not_cancellable", "version")
    unknown = await finance.post(f"{path}/7/cancellation", reason)
    assert refused(unknown) == (404, "contract_version_not_found", "version")
    fourth = await amend(world, api, "2026-07-01", {"rent_per_seat": "2200.00"})
    assert (fourth["version"], fourth["terms"]["grace_days"]) == (4, 9)
    await world.live_to("2026-07-01")
    finance = await api.client("finance")
    late = await finance.post(f"{path}/4/cancellation", reason)
    assert refused(late) == (409, "contract_version_not_cancellable", "version")
    assert str((await invoice_of(world, "2026-07")).total) == "4400.00"


async def test_of_two_amendments_at_once_the_second_sees_the_first(world: LeaseWorld) -> None:
    await opened(world)
    effective_on = date(2026, 5, 1)
    signed = Signed(reason="prices", by_operator="王经理", by_tenant="李总")

    async def amend_once(rent: str) -> str:
        try:
            async with world.database.transaction(Scope.platform()) as session:
                # As a request does: read before the lock.
                await contracts.find_contract(session, world.contract_id, None)
                version = await amendments.amend(
                    session,
                    tenant_id=world.tenant_id,
                    contract_id=world.contract_id,
                    effective_on=effective_on,
                    noticed_on=clock.today(),
                    overrides={"rent_per_seat": rent},
                    signed=signed,
                )
        except TermsOverlap:
            return "overlap"
        return str(version.version)

    answers = await asyncio.gather(*(amend_once(f"21{number}0.00") for number in range(4)))
    assert sorted(answers) == ["2", "overlap", "overlap", "overlap"]


async def test_both_may_waive_the_notice_and_why_is_kept(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    waived = await amend(world, api, "2026-03-10", {"grace_days": 9}, notice_waiver="the tenant asked for it")
    assert waived["notice_waiver"] == "the tenant asked for it"
    # Where the notice is long enough nothing was waived.
    kept = await amend(world, api, "2026-04-02", {"grace_days": 10}, notice_waiver="not needed")
    assert kept["notice_waiver"] is None


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"effective_on": "2026-04-01"}, 422, "inside_notice_period", "effective_on"),
        ({"effective_on": "2026-03-02", "notice_waiver": "agreed"}, 422, "agreement_refused", "effective_on"),
        ({"effective_on": "2026-02-01", "notice_waiver": "agreed"}, 422, "agreement_refused", "effective_on"),
        ({"effective_on": "2326-04-01"}, 422, "agreement_refused", "effective_on"),
        ({"effective_on": "soon"}, 400, "validation_failed", "effective_on"),
        ({"effective_on": "2027-01-01"}, 422, "after_the_end", "effective_on"),
        ({"effective_on": "2026-05-01"}, 409, "terms_overlap", "effective_on"),
        ({"effective_on": "2026-04-20"}, 409, "terms_overlap", "effective_on"),
        ({"noticed_on": "2026-03-03"}, 422, "agreement_refused", "noticed_on"),
        ({"noticed_on": "2025-01-01"}, 422, "agreement_refused", "noticed_on"),
        ({"notice_waiver": ""}, 422, "agreement_refused", "notice_waiver"),
        ({"signed_by_tenant": " "}, 422, "agreement_refused", "signed_by_tenant"),
        ({"signed_by_operator": "x" * 201}, 422, "agreement_refused", "signed_by_operator"),
        ({"reason": ""}, 422, "agreement_refused", "reason"),
        ({"terms": {}}, 422, "term_refused", "terms"),
        ({"terms": {"rent_per_seat": "1.999"}}, 422, "term_refused", "terms.rent_per_seat"),
        ({"terms": {"due_day": 31}}, 422, "term_refused", "terms.due_day"),
        ({"terms": {"colour": "red"}}, 422, "term_refused", "terms.colour"),
        ({"terms": {"deposit": "9000.00"}}, 422, "term_refused", "terms.deposit"),
        ({"terms": "cheaper"}, 400, "validation_failed", "terms"),
    ],
)
async def test_an_amendment_that_cannot_be_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await opened(world, ends_on="2026-12-31")
    await amend(world, api, "2026-05-01", {"grace_days": 9})
    finance = await api.client("finance")
    path = f"/v1/contracts/{world.contract_id}/amendments"
    before = (await finance.get(f"/v1/contracts/{world.contract_id}")).json()
    body = amendment("2026-06-01", {"rent_per_seat": "2100.00"}) | wrong
    assert refused(await finance.post(path, body)) == (status, code, field)
    assert (await finance.get(f"/v1/contracts/{world.contract_id}")).json() == before


async def test_terms_agreed_for_after_an_early_end_never_hold(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await amend(world, api, "2026-06-01", {"due_day": 20, "tax_rates": {"recruitment": "0.13"}})
    finance = await api.client("finance")
    await does(finance, f"/v1/contracts/{world.contract_id}/agreed-end", agreed_end("2026-05-31"), 200)
    body = {"tenant_id": world.tenant_id, "contract_id": world.contract_id, "kind": "recruitment", "on": "2026-05-05"}
    await does(finance, "/v1/one-off-charges", body | {"amount": "1060.00", "note": "a batch"})
    await world.live_to("2026-06-01")
    final = await invoice_of(world, "2026-05", "final")
    assert (str(final.due_on), str(final.total), str(final.tax)) == ("2026-06-10", "1060.00", "60.00")


async def test_a_preview_prices_the_first_month_and_writes_nothing(world: LeaseWorld, api: Api) -> None:
    await opened(world, 3)
    await world.give_back([3], "2026-03-20")
    clock.travel_to(morning(date(2026, 3, 21)))
    finance = await api.client("finance")
    path = f"/v1/contracts/{world.contract_id}/amendments/preview"
    answer = await does(finance, path, {"effective_on": "2026-05-10", "terms": {"rent_per_seat": "2100.00"}}, 200)
    assert (answer["month"], answer["before"], answer["after"]) == ("2026-06", "4000.00", "4200.00")
    assert [(line["quantity"], line["unit_price"]) for line in answer["lines"]] == [(2, "2100.00")]
    assert len((await finance.get(f"/v1/contracts/{world.contract_id}")).json()["versions"]) == 1
    bad = await finance.post(path, {"effective_on": "2026-03-01", "terms": {"rent_per_seat": "2100.00"}})
    assert refused(bad) == (422, "agreement_refused", "effective_on")


async def test_a_tenant_agrees_to_nothing_alone_and_sees_nothing_of_others(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await amend(world, api, "2026-05-01", {"grace_days": 9})
    body = amendment("2026-07-01", {"rent_per_seat": "1.00"})
    own = await api.client("tenant_admin", world.tenant_id)
    assert (await own.post(f"/v1/contracts/{world.contract_id}/amendments", body)).status_code == 403
    assert len((await own.get(f"/v1/contracts/{world.contract_id}")).json()["versions"]) == 2
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.get(f"/v1/contracts/{world.contract_id}")).status_code == 404
