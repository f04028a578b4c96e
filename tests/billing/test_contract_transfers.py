"""Transfer to another company, and sub-letting, only with the operator's recorded consent (C17)."""

from __future__ import annotations

from typing import Any

import pytest

from billing.agreements.jobs import open_transferred_contract
from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.agreements import amendment
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld
from tests.jobs import run_jobs

TRANSFER = {"kind": "transfer", "company": "接手公司", "reason": "the business was sold"}


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def asks(world: LeaseWorld, api: Api, **other: Any) -> dict[str, Any]:
    admin = await api.client("tenant_admin", world.tenant_id)
    return await does(admin, f"/v1/contracts/{world.contract_id}/consents", TRANSFER | other)


async def test_a_transfer_ends_one_contract_and_opens_the_next_with_the_same_terms(world: LeaseWorld, api: Api) -> None:
    await opened(world, rent_per_seat="1900.00", ends_on="2027-06-30")
    finance = await api.client("finance")
    amended = amendment("2026-04-10", {"grace_days": 8})
    await does(finance, f"/v1/contracts/{world.contract_id}/amendments", amended)
    consent = await asks(world, api)
    assert (consent["state"], consent["company"]) == ("requested", "接手公司")
    receiving_id = await api.tenant("receiving")
    operator = await api.client("platform_operator")
    grant = {"reason": "known to us", "effective_on": "2026-05-01", "receiving_tenant_id": receiving_id}
    granted = await does(operator, f"/v1/consents/{consent['consent_id']}/grant", grant, 200)
    assert (granted["state"], granted["decided_by"]) == ("granted", operator.client_id)

    assert api.settings.database_url is not None
    await run_jobs(api.settings.database_url)
    await open_transferred_contract(world.runtime, tenant_id=world.tenant_id, consent_id=consent["consent_id"])
    viewer = await api.client("tenant_viewer", receiving_id)
    [theirs] = (await viewer.get("/v1/contracts")).json()["items"]
    assert theirs["contract_id"] == granted["receiving_contract_id"]
    assert (theirs["opens_on"], theirs["ends_on"], theirs["state"]) == ("2026-05-01", "2027-06-30", "signed")
    assert (theirs["terms"]["rent_per_seat"], theirs["terms"]["grace_days"]) == ("1900.00", 8)
    assert theirs["transferred_from_contract_id"] == world.contract_id

    old = (await operator.get(f"/v1/contracts/{world.contract_id}")).json()
    assert (old["ends_on"], old["agreements"][0]["kind"]) == ("2026-04-30", "transfer")
    assert old["agreements"][0]["consent_id"] == consent["consent_id"]
    withdrawal = await finance.post(f"/v1/contracts/{world.contract_id}/end-withdrawal", {"reason": "no"})
    assert refused(withdrawal) == (409, "end_not_withdrawable", "contract_id")
    await world.live_to("2026-05-01")
    assert (await world.contract()).state == "ended"
    assert [each.period for each in await world.invoices("monthly")] == ["2026-04"]
    # The other tenant sees its contract and nothing of the one that it came from.
    viewer = await api.client("tenant_viewer", receiving_id)
    assert (await viewer.get(f"/v1/contracts/{world.contract_id}")).status_code == 404
    assert (await viewer.get(f"/v1/consents/{consent['consent_id']}")).status_code == 404
    assert (await viewer.get("/v1/consents")).json()["items"] == []


async def test_without_consent_nothing_moves(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    consent = await asks(world, api)
    path = f"/v1/consents/{consent['consent_id']}"
    grant = {"reason": "to myself", "effective_on": "2026-05-01", "receiving_tenant_id": await api.tenant()}
    for role in ("tenant_admin", "tenant_viewer", "finance"):
        caller = await api.client(role, world.tenant_id if role.startswith("tenant") else None)
        assert (await caller.post(f"{path}/grant", grant)).status_code == 403
    operator = await api.client("platform_operator")
    assert refused(await operator.post(f"{path}/refusal", {"reason": " "})) == (422, "agreement_refused", "reason")
    refusal = await does(operator, f"{path}/refusal", {"reason": "unknown to us"}, 200)
    assert (refusal["state"], refusal["decision_reason"]) == ("refused", "unknown to us")
    for decision in ("grant", "refusal"):
        answer = await operator.post(f"{path}/{decision}", grant if decision == "grant" else {"reason": "again"})
        assert refused(answer) == (409, "consent_decided", "consent_id")
    assert (await world.contract()).ends_on is None
    listed = (await operator.get("/v1/consents", {"state": "refused"})).json()["items"]
    assert [each["consent_id"] for each in listed] == [consent["consent_id"]]
    assert refused(await operator.get("/v1/consents", {"state": "lost"})) == (422, "invalid_input", "state")


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"effective_on": None}, 422, "agreement_refused", "effective_on"),
        ({"effective_on": "2026-03-02"}, 422, "agreement_refused", "effective_on"),
        ({"effective_on": "2026-01-01"}, 422, "agreement_refused", "effective_on"),
        ({"effective_on": "2027-01-01"}, 422, "after_the_end", "effective_on"),
        ({"receiving_tenant_id": None}, 422, "agreement_refused", "receiving_tenant_id"),
        ({"receiving_tenant_id": "ten_unknown"}, 404, "not_found", "tenant_id"),
        ({"reason": ""}, 422, "agreement_refused", "reason"),
    ],
)
async def test_a_transfer_that_cannot_be_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await opened(world, ends_on="2026-12-31")
    consent = await asks(world, api)
    operator = await api.client("platform_operator")
    grant = {"reason": "known", "effective_on": "2026-05-01", "receiving_tenant_id": await api.tenant()} | wrong
    path = f"/v1/consents/{consent['consent_id']}"
    assert refused(await operator.post(f"{path}/grant", grant)) == (status, code, field)
    itself = grant | {"reason": "x", "receiving_tenant_id": world.tenant_id, "effective_on": "2026-05-01"}
    answer = await operator.post(f"{path}/grant", itself)
    assert refused(answer) == (422, "agreement_refused", "receiving_tenant_id")
    assert (await operator.get(path)).json()["state"] == "requested"
    assert str((await world.contract()).ends_on) == "2026-12-31"


async def test_a_consent_to_sub_letting_moves_no_contract(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    consent = await asks(world, api, kind="sub_letting")
    operator = await api.client("platform_operator")
    path = f"/v1/consents/{consent['consent_id']}/grant"
    answer = await operator.post(path, {"reason": "x", "effective_on": "2026-05-01"})
    assert refused(answer) == (422, "agreement_refused", "effective_on")
    granted = await does(operator, path, {"reason": "a subsidiary"}, 200)
    assert (granted["state"], granted["receiving_contract_id"]) == ("granted", None)
    assert (await world.contract()).ends_on is None


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"kind": "gift"}, 422, "agreement_refused", "kind"),
        ({"company": ""}, 422, "agreement_refused", "company"),
        ({"company": "x" * 201}, 422, "agreement_refused", "company"),
        ({"reason": " "}, 422, "agreement_refused", "reason"),
        ({"effective_on": "2026-05-01"}, 400, "validation_failed", "effective_on"),
    ],
)
async def test_a_request_for_consent_says_for_whom_and_why(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await opened(world)
    admin = await api.client("tenant_admin", world.tenant_id)
    path = f"/v1/contracts/{world.contract_id}/consents"
    assert refused(await admin.post(path, TRANSFER | wrong)) == (status, code, field)
    viewer = await api.client("tenant_viewer", world.tenant_id)
    assert (await viewer.post(path, TRANSFER)).status_code == 403
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.post(path, TRANSFER)).status_code == 404
