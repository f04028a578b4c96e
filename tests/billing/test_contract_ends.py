"""A contract that ends before its term: agreed by both (C15) or by the operator for a ground (C16, rule 11)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.models import Invoice
from infra.kit.database import Database, Scope
from infra.kit.models import AuditEntry
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.agreements import agreed_end, extraordinary_end
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def says(world: LeaseWorld, api: Api, what: str, body: dict[str, Any]) -> Any:
    finance = await api.client("finance")
    return await finance.post(f"/v1/contracts/{world.contract_id}/{what}", body)


async def ends(world: LeaseWorld, api: Api, what: str, body: dict[str, Any]) -> dict[str, Any]:
    return await does(await api.client("finance"), f"/v1/contracts/{world.contract_id}/{what}", body, 200)


async def kinds(api: Api, invoice: Invoice) -> dict[str, str]:
    finance = await api.client("finance")
    lines = (await finance.get(f"/v1/invoices/{invoice.invoice_id}")).json()["lines"]
    return {line["kind"]: line["amount"] for line in lines}


async def _opened(world: LeaseWorld, preset: str, *, ends_on: str | None = None) -> None:
    await world.sign(preset, "2026-03-02", ends_on=ends_on)
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-27")
    await world.pay()
    await world.live_to("2026-03-02")


@pytest.mark.parametrize(
    ("preset", "may", "deposits"), [("hosted", "3225.81", {"deposit_return": "-4000.00"}), ("onsite", "4000.00", {})]
)
async def test_an_end_in_the_middle_of_a_month_that_is_known_when_it_is_charged(
    world: LeaseWorld, api: Api, *, preset: str, may: str, deposits: dict[str, str]
) -> None:
    await _opened(world, preset)
    await world.live_to("2026-04-20")
    agreement = await ends(world, api, "agreed-end", agreed_end("2026-05-25"))
    assert (agreement["kind"], agreement["ends_on_before"], agreement["ends_on"]) == ("agreed_end", None, "2026-05-25")
    await world.live_to("2026-05-01")
    [invoice] = [each for each in await world.invoices("monthly") if each.period == "2026-05"]
    assert str(invoice.total) == may  # by day, 25 of 31, or the full month
    await world.live_to("2026-06-01")
    assert (await world.contract()).state == "ended"
    final = await world.invoices("final")
    assert [await kinds(api, each) for each in final] == ([deposits] if deposits else [])
    await world.live_to("2026-07-01")
    assert [each.period for each in await world.invoices("monthly")] == ["2026-04", "2026-05"]
    await world.check_conservation()


async def test_an_end_inside_a_month_that_is_charged_already_gives_nothing_back(world: LeaseWorld, api: Api) -> None:
    await _opened(world, "hosted")
    await world.live_to("2026-05-04")
    waived = agreed_end("2026-05-20", noticed_on="2026-05-04", notice_waiver="both want it over")
    assert (await ends(world, api, "agreed-end", waived))["notice_waiver"] == "both want it over"
    await world.live_to("2026-06-01")
    [final] = await world.invoices("final")
    assert await kinds(api, final) == {"deposit_return": "-4000.00"}
    assert [str(each.total) for each in await world.invoices("monthly")] == ["4000.00", "4000.00"]


async def test_the_final_invoice_carries_the_agreed_penalty(world: LeaseWorld, api: Api) -> None:
    finance = await api.client("finance")
    await _opened(world, "hosted")
    body = {"tenant_id": world.tenant_id, "preset": "onsite", "title": "二期", "opens_on": "2026-04-01"}
    second = await does(finance, "/v1/contracts", body | {"agreed_penalty": "50000.00"})
    world.contract_id = second["contract_id"]
    await world.order(1, "2026-04-01")
    await world.live_to("2026-03-30")
    await world.pay()
    await world.live_to("2026-05-07")
    agreement = await ends(world, api, "extraordinary-end", extraordinary_end("2026-05-12", ground="sub_letting"))
    assert (agreement["kind"], agreement["ground"]) == ("extraordinary_end", "sub_letting")
    finance = await api.client("finance")
    charge = (await finance.get(f"/v1/one-off-charges/{agreement['penalty_charge_id']}")).json()
    assert (charge["kind"], charge["on"], charge["amount"], charge["state"]) == (
        "penalty", "2026-05-12", "50000.00", "waiting",
    )  # fmt: skip
    await world.live_to("2026-06-01")
    [final] = await world.invoices("final")
    assert (final.contract_id, await kinds(api, final)) == (second["contract_id"], {"penalty": "50000.00"})
    # The other contract of the tenant goes on, charged by itself.
    others = [each.period for each in await world.invoices("monthly") if each.contract_id != second["contract_id"]]
    assert others == ["2026-04", "2026-05", "2026-06"]
    async with world.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action).where(AuditEntry.object_id == second["contract_id"])
        actions = set((await session.execute(query)).scalars())
    assert {"contract.signed", "contract.opened", "contract.extraordinary_end", "contract.ended"} <= actions


async def test_an_early_end_is_withdrawn_before_it_takes_effect_and_the_penalty_falls(
    world: LeaseWorld, api: Api
) -> None:
    await _opened(world, "hosted", ends_on="2027-03-01")
    await world.live_to("2026-03-10")
    ended = await ends(world, api, "extraordinary-end", extraordinary_end("2026-03-20", penalty="1000.00"))
    withdrawn = await ends(world, api, "end-withdrawal", {"reason": "the tenant has stopped it"})
    assert (withdrawn["agreement_id"], withdrawn["withdrawal_reason"]) == (
        ended["agreement_id"], "the tenant has stopped it",
    )  # fmt: skip
    finance = await api.client("finance")
    shown = (await finance.get(f"/v1/contracts/{world.contract_id}")).json()
    assert (shown["ends_on"], len(shown["agreements"])) == ("2027-03-01", 1)
    charge = (await finance.get(f"/v1/one-off-charges/{ended['penalty_charge_id']}")).json()
    assert charge["state"] == "cancelled"
    answer = await says(world, api, "end-withdrawal", {"reason": "again"})
    assert refused(answer) == (409, "no_end_to_withdraw", "contract_id")
    await world.live_to("2026-04-01")
    assert [str(each.total) for each in await world.invoices("monthly")] == ["4000.00"]


async def test_a_penalty_that_finance_has_let_fall_keeps_no_end_from_being_withdrawn(
    world: LeaseWorld, api: Api
) -> None:
    await _opened(world, "hosted")
    ended = await ends(world, api, "extraordinary-end", extraordinary_end("2026-03-20", penalty="1000.00"))
    path = f"/v1/one-off-charges/{ended['penalty_charge_id']}/cancellation"
    await does(await api.client("finance"), path, {"reason": "goodwill"}, 200)
    await ends(world, api, "end-withdrawal", {"reason": "the tenant has stopped it"})
    assert (await world.contract()).ends_on is None


async def test_an_end_that_rent_was_cut_at_is_not_withdrawn(world: LeaseWorld, api: Api) -> None:
    await _opened(world, "hosted")
    await world.live_to("2026-04-20")
    await ends(world, api, "agreed-end", agreed_end("2026-05-25"))
    await world.live_to("2026-05-02")
    answer = await says(world, api, "end-withdrawal", {"reason": "we stay"})
    assert refused(answer) == (409, "end_not_withdrawable", "contract_id")
    # An end that came after the month was charged in full can be.
    sooner = agreed_end("2026-05-10", notice_waiver="at once")
    await ends(world, api, "agreed-end", sooner)
    await ends(world, api, "end-withdrawal", {"reason": "not at once"})
    assert str((await world.contract()).ends_on) == "2026-05-25"


async def test_orders_beyond_the_end_are_cancelled_first(world: LeaseWorld, api: Api) -> None:
    await _opened(world, "onsite")
    order_id = await world.order(1, "2026-05-10")
    answer = await says(world, api, "agreed-end", agreed_end("2026-05-09"))
    assert refused(answer) == (409, "orders_beyond_the_end", "ends_on")
    assert answer.json()["order_ids"] == [order_id]
    await world.cancel(order_id)
    await world.give_back([2], "2026-05-15")  # a return beyond the end is over with it
    await ends(world, api, "agreed-end", agreed_end("2026-05-09"))
    await world.live_to("2026-06-01")
    assert await world.invoices("final") == []
    assert (await world.contract()).state == "ended"


async def test_sub_letting_with_the_operators_consent_is_no_ground(world: LeaseWorld, api: Api) -> None:
    await _opened(world, "onsite")
    admin = await api.client("tenant_admin", world.tenant_id)
    body = {"kind": "sub_letting", "company": "某分公司", "reason": "ten of our seats"}
    consent = await does(admin, f"/v1/contracts/{world.contract_id}/consents", body)
    operator = await api.client("platform_operator")
    await does(operator, f"/v1/consents/{consent['consent_id']}/grant", {"reason": "a subsidiary"}, 200)
    ended = extraordinary_end("2026-03-20", ground="sub_letting", penalty="0.00")
    answer = await says(world, api, "extraordinary-end", ended)
    assert refused(answer) == (409, "sub_letting_consented", "ground")
    assert (await ends(world, api, "extraordinary-end", ended | {"ground": "unlawful_use"}))[
        "penalty_charge_id"
    ] is None


@pytest.mark.parametrize(
    ("what", "wrong", "status", "code", "field"),
    [
        ("agreed-end", {"ends_on": "2026-04-01"}, 422, "inside_notice_period", "ends_on"),
        ("agreed-end", {"ends_on": "2026-03-01", "notice_waiver": "x"}, 422, "agreement_refused", "ends_on"),
        ("agreed-end", {"ends_on": "2026-12-31"}, 422, "end_not_earlier", "ends_on"),
        ("agreed-end", {"ends_on": "9999-12-31"}, 422, "end_not_earlier", "ends_on"),
        ("agreed-end", {"noticed_on": "2026-03-09"}, 422, "agreement_refused", "noticed_on"),
        ("agreed-end", {"noticed_on": "2026-01-01"}, 422, "agreement_refused", "noticed_on"),
        ("agreed-end", {"reason": " "}, 422, "agreement_refused", "reason"),
        ("agreed-end", {"signed_by_tenant": ""}, 422, "agreement_refused", "signed_by_tenant"),
        ("extraordinary-end", {"ends_on": "2026-03-06"}, 422, "inside_notice_period", "ends_on"),
        ("extraordinary-end", {"ends_on": "2027-01-01"}, 422, "end_not_earlier", "ends_on"),
        ("extraordinary-end", {"ground": "late_payment"}, 422, "agreement_refused", "ground"),
        ("extraordinary-end", {"ground": None}, 400, "validation_failed", "ground"),
        ("extraordinary-end", {"reason": ""}, 422, "agreement_refused", "reason"),
        ("extraordinary-end", {"penalty": None}, 422, "penalty_unknown", "penalty"),
        ("extraordinary-end", {"penalty": "-5"}, 422, "agreement_refused", "penalty"),
        ("extraordinary-end", {"penalty": 5000}, 400, "validation_failed", "penalty"),
        ("extraordinary-end", {"notice_waiver": "x"}, 400, "validation_failed", "notice_waiver"),
        ("end-withdrawal", {"reason": "changed our minds"}, 409, "no_end_to_withdraw", "contract_id"),
    ],
)
async def test_an_end_that_cannot_be_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, what: str, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await _opened(world, "onsite", ends_on="2026-12-31")
    bodies = {
        "agreed-end": agreed_end("2026-05-31"),
        "extraordinary-end": extraordinary_end("2026-03-31", penalty="5000.00"),
        "end-withdrawal": {},
    }
    assert refused(await says(world, api, what, bodies[what] | wrong)) == (status, code, field)
    assert str((await world.contract()).ends_on) == "2026-12-31"
    assert (await (await api.client("finance")).get("/v1/one-off-charges")).json()["items"] == []


async def test_the_penalty_is_at_most_the_one_that_the_contract_names(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    body = {"tenant_id": world.tenant_id, "preset": "onsite", "title": "二期", "opens_on": "2026-04-01"}
    world.contract_id = (await does(finance, "/v1/contracts", body | {"agreed_penalty": "300.00"}))["contract_id"]
    more = extraordinary_end("2026-05-01", penalty="300.01")
    assert refused(await says(world, api, "extraordinary-end", more)) == (422, "agreement_refused", "penalty")
    before_opening = extraordinary_end("2026-03-31")
    answer = await says(world, api, "extraordinary-end", before_opening)
    assert refused(answer) == (422, "agreement_refused", "ends_on")
    less = await ends(world, api, "extraordinary-end", more | {"penalty": "299.99"})
    finance = await api.client("finance")
    assert (await finance.get(f"/v1/one-off-charges/{less['penalty_charge_id']}")).json()["amount"] == "299.99"


async def test_what_has_ended_is_not_ended_again(world: LeaseWorld, api: Api) -> None:
    await _opened(world, "onsite", ends_on="2026-03-31")
    await world.live_to("2026-04-01")
    for what, body in (
        ("agreed-end", agreed_end("2026-06-01")),
        ("extraordinary-end", extraordinary_end("2026-06-01", penalty="0.00")),
        ("end-withdrawal", {"reason": "x"}),
    ):
        assert refused(await says(world, api, what, body)) == (409, "contract_not_open", "contract_id")
