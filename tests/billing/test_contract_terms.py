"""The term of a contract: from its signature, renewed a month ahead, reminded of 60, 45 and 30 days before (C14)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from billing.agreements.jobs import remind_of_contract_ends
from billing.errors import InvoiceNotVoidable
from infra.kit import clock
from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.agreements import agreed_end, renewal
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld, morning


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def renews(world: LeaseWorld, api: Api, **body: Any) -> Any:
    return await (await api.client("finance")).post(f"/v1/contracts/{world.contract_id}/renewal", renewal(**body))


async def shown(world: LeaseWorld, api: Api) -> dict[str, Any]:
    viewer = await api.client("tenant_viewer", world.tenant_id)
    return (await viewer.get(f"/v1/contracts/{world.contract_id}")).json()


async def test_a_term_in_years_counts_from_the_signature(api: Api) -> None:
    clock.travel_to(morning(date(2026, 5, 12)))
    finance, tenant_id = await api.client("finance"), await api.tenant()
    body = {"tenant_id": tenant_id, "preset": "hosted", "title": "坐席租赁", "opens_on": "2026-06-01"}
    made = await does(finance, "/v1/contracts", body | {"signed_on": "2026-05-11", "term_years": 2})
    assert (made["signed_on"], made["ends_on"], made["renewal_deadline"]) == ("2026-05-11", "2028-05-10", "2028-04-10")
    for wrong, field in (
        ({"term_years": 0}, "term_years"),
        ({"term_years": 21}, "term_years"),
        ({"term_years": 2, "ends_on": "2028-05-10"}, "term_years"),
        ({"term_years": 1, "opens_on": "2027-05-12"}, "term_years"),
        ({"signed_on": "2026-05-13"}, "signed_on"),
        ({"signed_on": "1999-05-13"}, "signed_on"),
        ({"agreed_penalty": "-1.00"}, "agreed_penalty"),
        ({"agreed_penalty": "a lot"}, "agreed_penalty"),
    ):
        assert refused(await finance.post("/v1/contracts", body | wrong)) == (422, "contract_refused", field)


async def test_a_renewal_moves_the_end_and_its_terms_hold_from_the_new_term_on(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-06-30")
    await world.live_to("2026-05-30")
    answer = await renews(world, api, term_years=1, terms={"rent_per_seat": "2150.00", "grace_days": 7})
    assert answer.status_code == 200, answer.text
    agreement = answer.json()
    assert (agreement["ends_on_before"], agreement["ends_on"], agreement["version"]) == ("2026-06-30", "2027-06-30", 2)
    await world.live_to("2026-07-02")
    totals = {each.period: (str(each.total), str(each.suspends_on)) for each in await world.invoices("monthly")}
    assert totals["2026-06"] == ("4000.00", "2026-06-16")
    assert totals["2026-07"] == ("4300.00", "2026-07-18")
    assert (await world.contract()).state == "open"
    contract = await shown(world, api)
    assert (contract["version"], contract["ends_on"]) == (2, "2027-06-30")
    # What came with the renewal is not cancelled by itself, and another renewal goes on from the new end.
    again = (await renews(world, api, ends_on="2027-12-31")).json()
    assert (again["ends_on_before"], again["ends_on"], again["version"]) == ("2027-06-30", "2027-12-31", None)


@pytest.mark.parametrize("paid", [False, True])
async def test_an_addition_that_was_charged_up_to_the_old_end_is_charged_for_the_rest_too(
    world: LeaseWorld, api: Api, *, paid: bool
) -> None:
    await world.sign("hosted", "2026-03-02", ends_on="2026-06-20")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-27")
    await world.pay()
    await world.live_to("2026-05-02")
    await world.pay()
    await world.order(1, "2026-06-11")
    await world.order(1, "2026-06-11")
    await world.order(1, "2026-05-20")  # charged to the end of its month, whatever the contract's end is
    if paid:
        await world.pay()
    before = [str(each.total) for each in await world.invoices("addition", void=False)]
    assert before == ["5333.33", "2774.19"]  # two deposits and 10 of 30 days each; 12 of 31 days
    answer = await renews(world, api, ends_on="2026-12-31")
    assert answer.status_code == 200, answer.text
    await world.close_day()
    [kept, made] = await world.invoices("addition", void=False)
    assert (str(kept.total), str(made.total), made.due_on) == ("2774.19", "6666.67", date(2026, 6, 11))
    assert str(made.paid) == ("5333.33" if paid else "0.00")
    await world.pay()
    await world.live_to("2026-07-01")
    [*_, july] = await world.invoices("monthly")
    assert str(july.total) == "10000.00"
    await world.check_conservation()


async def test_what_was_paid_for_an_addition_stays_with_it_in_a_renewal_whatever_else_is_owed(
    world: LeaseWorld, api: Api
) -> None:
    await world.sign("hosted", "2026-03-02", ends_on="2026-06-20")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-27")
    await world.pay()
    await world.live_to("2026-05-02")
    months = await world.pay()
    await world.order(1, "2026-06-11")
    await world.pay()
    await world.reverse(months)  # the monthly invoices are owed again, and due before the addition
    answer = await renews(world, api, ends_on="2026-12-31")
    assert answer.status_code == 200, answer.text
    [made] = await world.invoices("addition", void=False)
    assert (str(made.total), str(made.paid)) == ("3333.33", "2666.67")
    await world.check_conservation()


async def test_a_renewal_leaves_an_addition_with_a_fapiao_alone(world: LeaseWorld, api: Api) -> None:
    await world.sign("hosted", "2026-03-02", ends_on="2026-06-20")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-27")
    await world.pay()
    await world.live_to("2026-05-02")
    order_id = await world.order(1, "2026-06-11")
    await world.pay()
    [addition] = await world.invoices("addition")
    body = {"number": "25312000000012345678", "issued_on": "2026-05-02", "amount": "666.67"}
    fapiao = await does(await api.client("finance"), f"/v1/invoices/{addition.invoice_id}/fapiao", body)
    answer = await renews(world, api, term_years=1)
    assert refused(answer) == (409, "invoice_not_voidable", "invoice_id")
    assert (await shown(world, api))["ends_on"] == "2026-06-20"
    with pytest.raises(InvoiceNotVoidable):
        await world.cancel(order_id)
    finance = await api.client("finance")
    await does(finance, f"/v1/fapiao/{fapiao['fapiao_id']}/void", {"reason": "the term is longer"}, 200)
    assert (await renews(world, api, term_years=1)).status_code == 200


@pytest.mark.parametrize(("agreed_on", "status"), [("2026-05-30", 200), ("2026-05-31", 409), ("2026-06-30", 409)])
async def test_a_renewal_is_agreed_at_least_a_month_before_the_end(
    world: LeaseWorld, api: Api, *, agreed_on: str, status: int
) -> None:
    await opened(world, ends_on="2026-06-30")
    await world.live_to(agreed_on)
    answer = await renews(world, api, term_years=1)
    assert answer.status_code == status
    if status == 409:
        assert refused(answer) == (409, "renewal_too_late", "contract_id")
        assert answer.json()["renewal_deadline"] == "2026-05-30"
        await world.live_to("2026-07-01")
        assert (await world.contract()).state == "ended"


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"term_years": 0}, 422, "agreement_refused", "term_years"),
        ({"term_years": 99}, 422, "agreement_refused", "term_years"),
        ({"term_years": None}, 422, "agreement_refused", "term_years"),
        ({"ends_on": "2027-06-30"}, 422, "agreement_refused", "term_years"),
        ({"term_years": None, "ends_on": "2026-06-30"}, 422, "agreement_refused", "ends_on"),
        ({"term_years": None, "ends_on": "9999-06-30"}, 422, "agreement_refused", "ends_on"),
        ({"signed_by_operator": ""}, 422, "agreement_refused", "signed_by_operator"),
        ({"reason": ""}, 422, "agreement_refused", "reason"),
        ({"terms": {"rent_per_seat": "free"}}, 422, "term_refused", "terms.rent_per_seat"),
    ],
)
async def test_a_renewal_that_cannot_be_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await opened(world, ends_on="2026-06-30")
    assert refused(await renews(world, api, **{"term_years": 1, **wrong})) == (status, code, field)
    assert str((await world.contract()).ends_on) == "2026-06-30"


async def test_only_a_term_that_runs_out_is_renewed(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    assert refused(await renews(world, api, term_years=1)) == (409, "nothing_to_renew", "contract_id")
    finance = await api.client("finance")
    await does(finance, f"/v1/contracts/{world.contract_id}/agreed-end", agreed_end("2026-06-30"), 200)
    answer = await renews(world, api, term_years=1)
    assert refused(answer) == (409, "nothing_to_renew", "contract_id")
    assert "withdraw" in answer.json()["detail"]


async def test_both_are_reminded_60_45_and_30_days_before_the_end_once_each(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-06-30")
    ends_on = date(2026, 6, 30)
    for left in (61, 60, 59, 45, 44, 31, 30, 29, 3):
        clock.travel_to(morning(ends_on - timedelta(days=left)))
        await remind_of_contract_ends(world.runtime)
        await remind_of_contract_ends(world.runtime)
    made = (await shown(world, api))["reminders"]
    assert [each["days_before"] for each in made] == [60, 45, 30]
    assert [clock.local_date(clock.now()) - timedelta(days=27)] == [ends_on - timedelta(days=30)]


async def test_days_without_work_are_not_made_up_for(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-06-30")
    clock.travel_to(morning(date(2026, 6, 5)))
    await remind_of_contract_ends(world.runtime)
    assert [each["days_before"] for each in (await shown(world, api))["reminders"]] == [30]


async def test_nobody_is_reminded_of_an_early_end(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-12-31")
    finance = await api.client("finance")
    await does(finance, f"/v1/contracts/{world.contract_id}/agreed-end", agreed_end("2026-04-15"), 200)
    await remind_of_contract_ends(world.runtime)
    assert (await shown(world, api))["reminders"] == []
