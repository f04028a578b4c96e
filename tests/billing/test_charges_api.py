"""What callers see of charges and of calls without a price, and how a contract gets its own deck."""

from __future__ import annotations

import pytest

from billing import jobs as billing_jobs
from infra.kit import jobs
from infra.kit.database import Database
from tests.api import Api
from tests.billing.calls import Calls, contract_now, rate


@pytest.fixture
def calls(database: Database) -> Calls:
    return Calls(database)


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
        "revised_amount": None,
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
