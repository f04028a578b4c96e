"""A past month priced again on the real database: shown first, then settled by note or supplement (C3)."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from billing import invoice_runs
from billing import jobs as billing_jobs
from billing.corrections import re_rated_charges
from billing.corrections.models import ReRating
from billing.models import Charge, Invoice, InvoiceLine
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.calls import CHINA, HEADER, Calls, rate
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld

CHEAP = f"{HEADER}\n86,China,0.1,0.30,60,6\n86138,Mobile,,0.4444,1,1\n"
DEAR = f"{HEADER}\n86,China,0.1,0.30,60,6\n86138,Mobile,,0.90,1,1\n"
BRITAIN = f"{CHINA}44,Britain,,1.20,60,60\n"


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _called(world: LeaseWorld, *, calls: int = 3) -> Calls:
    """Two seats since 2 March; calls of a minute to a mobile at 0.60 in March, rated; it is 1 April, invoiced."""
    await opened(world)
    made = Calls(world.database)
    await made.deck()
    for number in range(calls):
        await made.call(world.tenant_id, answered=f"2026-03-{10 + number} 10:00")
    await rate(world.database, world.tenant_id)
    await world.live_to("2026-04-01")
    return made


async def _re_rated(world: LeaseWorld, finance: Caller, deck_id: str, *, month: str = "2026-03") -> dict[str, Any]:
    """A month priced again with a deck, computed."""
    body = {"month": month, "rate_deck_id": deck_id, "reason": "the deck was wrong"}
    asked = await does(finance, f"/v1/contracts/{world.contract_id}/re-ratings", body)
    assert asked["state"] == "computing"
    await billing_jobs.compute_re_rating(world.runtime, tenant_id=world.tenant_id, re_rating_id=asked["re_rating_id"])
    computed = (await finance.get(f"/v1/re-ratings/{asked['re_rating_id']}")).json()
    assert computed["state"] == "computed"
    return computed


async def _settled(finance: Caller, re_rating: dict[str, Any]) -> dict[str, Any]:
    return await does(finance, f"/v1/re-ratings/{re_rating['re_rating_id']}/settle", {}, 200)


async def _kinds(world: LeaseWorld, invoice: Invoice) -> dict[str, Decimal]:
    query = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.invoice_id)
    async with world.database.transaction(Scope.platform()) as session:
        return {line.kind: line.amount for line in (await session.execute(query)).scalars()}


async def check_everything_charged_is_on_a_line(world: LeaseWorld) -> None:
    """Charges at their newest price, month by month, are the lines of calls within one rounding for each line."""
    newest = func.coalesce(Charge.revised_amount, Charge.amount)
    contract = await world.contract()
    async with world.database.transaction(Scope.platform()) as session:
        charged = await session.scalar(
            select(func.sum(newest)).where(
                Charge.tenant_id == world.tenant_id, Charge.billing_month <= contract.billed_through
            )
        )
        waiting = await session.scalar(
            select(func.sum(ReRating.new_total - ReRating.old_total)).where(
                ReRating.tenant_id == world.tenant_id, ReRating.billing_month > contract.billed_through
            )
        )
        lines = (
            (
                await session.execute(
                    select(InvoiceLine.amount)
                    .join(Invoice, Invoice.invoice_id == InvoiceLine.invoice_id)
                    .where(
                        Invoice.tenant_id == world.tenant_id, Invoice.voided_at.is_(None), InvoiceLine.kind == "calls"
                    )
                )
            )
            .scalars()
            .all()
        )
    months = len(await world.invoices("monthly", void=False))
    difference = (charged or 0) - (waiting or 0) - sum(lines, Decimal(0))
    assert abs(difference) <= Decimal("0.005") * months, (charged, waiting, lines)


async def test_cheaper_calls_are_shown_and_then_credited_on_their_invoice(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance, viewer = await api.client("finance"), await api.client("tenant_viewer", world.tenant_id)
    re_rating = await _re_rated(world, finance, await made.deck(CHEAP, is_default=False))
    assert (re_rating["calls"], re_rating["changed"], re_rating["old_total"], re_rating["new_total"]) == (
        3, 3, "1.8000", "1.3332",
    )  # fmt: skip
    page = (await finance.get(f"/v1/re-ratings/{re_rating['re_rating_id']}/calls", {"limit": 2})).json()
    assert [(each["old_amount"], each["new_amount"], each["difference"]) for each in page["items"]] == [
        ("0.6000", "0.4444", "-0.1556")
    ] * 2
    rest = await finance.get(f"/v1/re-ratings/{re_rating['re_rating_id']}/calls", {"after": page["next"]})
    assert (len(rest.json()["items"]), rest.json()["next"]) == (1, None)
    assert all(charge.revised_amount is None for charge in (await made.charges()).values())
    assert await world.invoices("credit_note") == []

    settled = await _settled(finance, re_rating)
    [april], [note] = await world.invoices("monthly"), await world.invoices("credit_note")
    assert (settled["settlement"], settled["credit_note_id"], settled["difference"]) == (
        "credit_note", note.invoice_id, "-0.4668",
    )  # fmt: skip
    assert await _kinds(world, note) == {"calls": Decimal("-0.47")}
    assert (note.corrects_invoice_id, str(april.paid)) == (april.invoice_id, "0.47")
    lines = (await viewer.get(f"/v1/invoices/{april.invoice_id}")).json()["lines"]
    number = [line["kind"] for line in lines].index("calls") + 1
    explained = (await viewer.get(f"/v1/invoices/{april.invoice_id}/lines/{number}/explain")).json()
    assert [(each["amount"], each["revised_amount"]) for each in explained["calls"]] == [("0.6000", "0.4444")] * 3
    assert (explained["exact"], explained["amount"]) == ("1.8000", "1.80")
    of_note = (await viewer.get(f"/v1/invoices/{note.invoice_id}/lines/1/explain")).json()
    assert of_note["parts"][0]["inputs"]["re-rating"] == re_rating["re_rating_id"]
    assert (of_note["calls"], of_note["call_count"]) == ([], None)
    await check_everything_charged_is_on_a_line(world)


async def test_dearer_calls_go_on_the_next_invoice_in_a_part_of_their_own(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    settled = await _settled(finance, await _re_rated(world, finance, await made.deck(DEAR, is_default=False)))
    assert (settled["settlement"], settled["billing_month"], settled["difference"]) == (
        "supplement", "2026-04", "0.9000",
    )  # fmt: skip
    await made.call(world.tenant_id, answered="2026-04-07 10:00")
    await rate(world.database, world.tenant_id)
    await world.live_to("2026-05-01")
    april, may = await world.invoices("monthly")
    assert (str((await _kinds(world, april))["calls"]), str((await _kinds(world, may))["calls"])) == ("1.80", "1.50")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    lines = (await viewer.get(f"/v1/invoices/{may.invoice_id}")).json()["lines"]
    number = [line["kind"] for line in lines].index("calls") + 1
    assert lines[number - 1]["formula"] == "sum of 1 rated amounts + 3 calls of 2026-03 priced anew"
    explained = (await viewer.get(f"/v1/invoices/{may.invoice_id}/lines/{number}/explain")).json()
    assert (explained["exact"], explained["rounding"], explained["call_count"]) == ("1.5000", "0.0000", 1)
    sums = (await viewer.get("/v1/charges/summary")).json()["items"]
    assert [(each["month"], each["amount"], each["re_rated"]) for each in sums] == [
        ("2026-04", "0.6000", "0.9000"), ("2026-03", "1.8000", "0.0000"),
    ]  # fmt: skip
    await check_everything_charged_is_on_a_line(world)


async def test_a_second_re_rating_builds_on_the_first(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    cheap, dear = await made.deck(CHEAP, is_default=False), await made.deck(DEAR, is_default=False)
    first = await _settled(finance, await _re_rated(world, finance, cheap))
    second = await _settled(finance, await _re_rated(world, finance, dear))
    assert (first["difference"], second["old_total"], second["difference"]) == ("-0.4668", "1.3332", "1.3668")
    third = await _settled(finance, await _re_rated(world, finance, cheap))
    # The line had 1.80 less 0.47; what the supplement has added is taken off the invoice that it goes on.
    assert (third["settlement"], third["difference"]) == ("supplement", "-1.3668")
    again = await _re_rated(world, finance, cheap)
    assert (again["changed"], (await _settled(finance, again))["settlement"]) == (0, "nothing")
    await world.live_to("2026-05-01")
    await check_everything_charged_is_on_a_line(world)


async def test_what_the_line_cannot_bear_after_a_supplement_reduces_the_next_invoice(
    world: LeaseWorld, api: Api
) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    tenfold = await made.deck(DEAR.replace("0.90", "9.00"), is_default=False)
    await _settled(finance, await _re_rated(world, finance, tenfold))
    back = await _settled(finance, await _re_rated(world, finance, await made.deck(CHEAP, is_default=False)))
    assert (back["settlement"], back["billing_month"], back["difference"]) == ("supplement", "2026-04", "-25.6668")
    await world.live_to("2026-05-01")
    assert str((await _kinds(world, (await world.invoices("monthly"))[1]))["calls"]) == "-0.47"
    await check_everything_charged_is_on_a_line(world)


async def test_a_month_that_is_on_no_invoice_simply_gets_the_new_prices(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    await made.call(world.tenant_id, answered="2026-04-07 10:00")
    await rate(world.database, world.tenant_id)
    clock.travel_to(clock.now().replace(month=5, day=2))
    finance = await api.client("finance")
    cheap = await made.deck(CHEAP, is_default=False)
    settled = await _settled(finance, await _re_rated(world, finance, cheap, month="2026-04"))
    assert (settled["settlement"], settled["credit_note_id"], settled["billing_month"]) == ("replaced", None, None)
    [april] = [each for each in (await made.charges()).values() if each.billing_month.month == 4]
    assert (str(april.amount), april.revised_amount, april.deck_id) == ("0.4444", None, cheap)
    await invoice_runs.run_month(world.runtime, Month(2026, 5))
    assert str((await _kinds(world, (await world.invoices("monthly"))[1]))["calls"]) == "0.44"


async def test_calls_without_a_price_get_one_and_others_keep_theirs(world: LeaseWorld, api: Api) -> None:
    made = await _called(world, calls=1)
    lost = await made.call(world.tenant_id, "442012345678", answered="2026-03-20 10:00")
    await rate(world.database, world.tenant_id)
    assert (await made.reasons()).keys() == {lost}
    finance = await api.client("finance")
    only_britain = await made.deck(f"{HEADER}\n44,Britain,,1.20,60,60\n", is_default=False)
    re_rating = await _re_rated(world, finance, only_britain)
    assert (re_rating["calls"], re_rating["without_price"], re_rating["first_priced"]) == (1, 1, 1)
    assert (re_rating["difference"], re_rating["first_total"]) == ("0.0000", "1.2000")
    outcomes = (await finance.get(f"/v1/re-ratings/{re_rating['re_rating_id']}/calls")).json()["items"]
    assert {each["outcome"] for each in outcomes} == {"without_price", "first_priced"}
    assert (await _settled(finance, re_rating))["settlement"] == "nothing"
    charges = await made.charges()
    assert (str(charges[lost].amount), charges[lost].billing_month.month) == ("1.2000", 4)
    assert await made.reasons() == {}
    await world.live_to("2026-05-01")
    await check_everything_charged_is_on_a_line(world)


async def test_a_void_invoice_takes_up_what_its_note_has_credited(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    await _settled(finance, await _re_rated(world, finance, await made.deck(CHEAP, is_default=False)))
    [april], [note] = await world.invoices("monthly"), await world.invoices("credit_note")
    of_note = await finance.post(f"/v1/invoices/{note.invoice_id}/void", {"reason": "x"})
    assert refused(of_note) == (409, "invoice_not_voidable", "invoice_id")
    await does(finance, f"/v1/invoices/{april.invoice_id}/void", {"reason": "wrong seats"}, 200)
    await invoice_runs.run_month(world.runtime, Month(2026, 4))
    [made_again] = await world.invoices("monthly", void=False)
    assert str((await _kinds(world, made_again))["calls"]) == "1.33"
    assert await world.invoices("credit_note", void=False) == []
    await check_everything_charged_is_on_a_line(world)


async def test_a_re_rating_that_died_goes_on_behind_its_last_call(
    world: LeaseWorld, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await _called(world, calls=7)
    finance = await api.client("finance")
    deck_id = await made.deck(CHEAP, is_default=False)
    body = {"month": "2026-03", "rate_deck_id": deck_id, "reason": "the deck was wrong"}
    asked = await does(finance, f"/v1/contracts/{world.contract_id}/re-ratings", body)
    async with world.database.transaction(Scope.platform()) as session:
        re_rating = await session.get_one(ReRating, (world.tenant_id, asked["re_rating_id"]))
        assert await re_rated_charges.compute_batch(session, re_rating, limit=3)
    for _ in range(2):
        await billing_jobs.compute_re_rating(
            world.runtime, tenant_id=world.tenant_id, re_rating_id=asked["re_rating_id"]
        )
    computed = (await finance.get(f"/v1/re-ratings/{asked['re_rating_id']}")).json()
    assert (computed["calls"], computed["changed"], computed["new_total"]) == (7, 7, "3.1108")


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"reason": ""}, 422, "invalid_input", "reason"),
        ({"month": "2026-04"}, 422, "re_rating_refused", "month"),
        ({"month": "2026-02"}, 422, "re_rating_refused", "month"),
        ({"month": "March"}, 422, "invalid_input", "month"),
        ({"rate_deck_id": "deck_none"}, 404, "not_found", "rate_deck_id"),
    ],
)
async def test_a_bad_request_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await _called(world, calls=1)
    finance = await api.client("finance")
    body = {"month": "2026-03", "reason": "the deck was wrong"} | wrong
    answer = await finance.post(f"/v1/contracts/{world.contract_id}/re-ratings", body)
    assert refused(answer) == (status, code, field)
    assert (await finance.get("/v1/re-ratings")).json()["items"] == []


async def test_one_is_open_at_a_time_and_a_cancelled_one_changes_nothing(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    re_rating = await _re_rated(world, finance, await made.deck(CHEAP, is_default=False))
    path = f"/v1/re-ratings/{re_rating['re_rating_id']}"
    body = {"month": "2026-03", "reason": "once more"}
    second = await finance.post(f"/v1/contracts/{world.contract_id}/re-ratings", body)
    assert refused(second) == (409, "re_rating_open", "month")
    await does(finance, f"{path}/cancellation", {}, 200)
    for late in ("settle", "cancellation"):
        assert refused(await finance.post(f"{path}/{late}", {})) == (409, "re_rating_state", "re_rating_id")
    assert all(charge.revised_amount is None for charge in (await made.charges()).values())
    asked = await does(finance, f"/v1/contracts/{world.contract_id}/re-ratings", body)
    assert asked["deck_id"] != re_rating["deck_id"]  # the default one, as the contract has none of its own
    early = await finance.post(f"/v1/re-ratings/{asked['re_rating_id']}/settle", {})
    assert refused(early) == (409, "re_rating_state", "re_rating_id")


async def test_calls_that_were_credited_otherwise_are_not_credited_twice(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    [april] = await world.invoices("monthly")
    lines = (await finance.get(f"/v1/invoices/{april.invoice_id}")).json()["lines"]
    number = [line["kind"] for line in lines].index("calls") + 1
    note = {"reason": "goodwill", "lines": [{"line_number": number, "amount": "1.50"}]}
    await does(finance, f"/v1/invoices/{april.invoice_id}/credit-notes", note)
    re_rating = await _re_rated(world, finance, await made.deck(CHEAP, is_default=False))
    answer = await finance.post(f"/v1/re-ratings/{re_rating['re_rating_id']}/settle", {})
    assert refused(answer) == (422, "credit_refused", f"lines.{number}")
    assert all(charge.revised_amount is None for charge in (await made.charges()).values())


async def test_a_tenant_neither_sees_nor_asks_for_re_ratings(world: LeaseWorld, api: Api) -> None:
    await _called(world, calls=1)
    admin = await api.client("tenant_admin", world.tenant_id)
    body = {"month": "2026-03", "reason": "cheaper please"}
    assert (await admin.post(f"/v1/contracts/{world.contract_id}/re-ratings", body)).status_code == 403
    assert (await admin.get("/v1/re-ratings")).status_code == 403


async def test_differences_too_small_for_a_note_count_on_the_invoice_that_replaces_a_void_one(
    world: LeaseWorld, api: Api
) -> None:
    made = await _called(world, calls=1)
    finance = await api.client("finance")
    for price in ("0.597", "0.594"):  # the first changes nothing that is rounded to the fen, the second is credited
        deck = await made.deck(f"{HEADER}\n86,China,0.1,0.30,60,6\n86138,Mobile,,{price},1,1\n", is_default=False)
        await _settled(finance, await _re_rated(world, finance, deck))
    [april] = await world.invoices("monthly")
    await does(finance, f"/v1/invoices/{april.invoice_id}/void", {"reason": "wrong"}, 200)
    await invoice_runs.run_month(world.runtime, Month(2026, 4))
    [april] = await world.invoices("monthly", void=False)
    assert str((await _kinds(world, april))["calls"]) == "0.59"
    await check_everything_charged_is_on_a_line(world)


async def test_after_the_end_the_difference_goes_on_a_supplementary_invoice(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-03-31")
    made = Calls(world.database)
    await made.deck()
    await made.call(world.tenant_id, answered="2026-03-10 10:00")
    await rate(world.database, world.tenant_id)
    await world.live_to("2026-05-02")
    finance = await api.client("finance")
    settled = await _settled(finance, await _re_rated(world, finance, await made.deck(DEAR, is_default=False)))
    assert (settled["settlement"], settled["billing_month"]) == ("supplement", "2026-04")
    await invoice_runs.run_month(world.runtime, Month(2026, 5))
    first, late = await world.invoices("final")
    assert (await _kinds(world, first), await _kinds(world, late)) == (
        {"calls": Decimal("0.60")}, {"calls": Decimal("0.30")},
    )  # fmt: skip
    await world.live_to("2026-07-01")
    assert len(await world.invoices("final")) == 2


async def test_two_who_settle_at_once_settle_it_once(world: LeaseWorld, api: Api) -> None:
    made = await _called(world)
    finance = await api.client("finance")
    re_rating = await _re_rated(world, finance, await made.deck(CHEAP, is_default=False))
    path = f"/v1/re-ratings/{re_rating['re_rating_id']}/settle"
    answers = await asyncio.gather(*(finance.post(path, {}) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert len(await world.invoices("credit_note")) == 1


@pytest.mark.parametrize("seed", [1, 2, 4])
async def test_whatever_is_priced_again_every_charge_is_on_a_line(world: LeaseWorld, api: Api, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a life that can be lived again
    made = await _called(world, calls=chance.randint(1, 6))
    decks = [
        await made.deck(f"{HEADER}\n86,China,0.0{chance.randint(1, 9)},{chance.randint(1, 99) / 100},1,1\n",
                        is_default=False)
        for _ in range(3)
    ]  # fmt: skip
    for month in range(4, 7):
        finance = await api.client("finance")
        for _ in range(chance.randint(1, 4)):
            await made.call(
                world.tenant_id,
                answered=f"2026-{month - chance.randint(0, 1):02d}-{chance.randint(10, 28)} 10:00",
                milliseconds=chance.randint(1, 300_000),
            )
        await rate(world.database, world.tenant_id)
        for _ in range(chance.randint(0, 2)):
            again = chance.randint(3, month - 1)
            re_rating = await _re_rated(world, finance, chance.choice(decks), month=f"2026-{again:02d}")
            await _settled(finance, re_rating)
        newest = (await world.invoices("monthly", void=False))[-1]
        if chance.randrange(3) == 0:
            note = {"reason": "goodwill", "lines": [{"line_number": 1, "amount": "12.34"}]}
            await does(finance, f"/v1/invoices/{newest.invoice_id}/credit-notes", note)
        elif chance.randrange(2) == 0 and not newest.paid:
            await finance.post(f"/v1/invoices/{newest.invoice_id}/void", {"reason": "wrong"})
            await invoice_runs.run_month(world.runtime, Month(2026, month))
        if chance.randrange(3) == 0:
            await world.pay()
        await world.live_to(f"2026-{month + 1:02d}-01")
        await check_everything_charged_is_on_a_line(world)
    await world.check_conservation()
