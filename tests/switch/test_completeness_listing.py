"""The list of counted hours, over the API."""

from __future__ import annotations

from datetime import timedelta

import pytest

from infra.kit import clock
from tests.api import Api
from tests.switch.counted import NINE, Counted


@pytest.fixture
async def counted(api: Api) -> Counted:
    return await Counted.open(api)


async def test_the_list_goes_page_by_page_and_signing_goes_over_the_api(counted: Counted) -> None:
    for index in range(3):
        await counted.begins(index + 1, NINE + timedelta(hours=index))
    other = Counted(counted.exchange, counted.renter)
    await other.begins(1, NINE, node="node-2")
    clock.travel_to(NINE + timedelta(hours=6))
    assert len(await counted.hours()) == 4
    finance = await counted.exchange.api.client("finance")
    seen: list[tuple[str, str]] = []
    after: dict[str, str] = {}
    while True:
        page = (await finance.get("/v1/completeness", {"limit": 1} | after)).json()
        seen += [(item["hour"], item["node"]) for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [
        ("2026-07-01T11", "node-1"),
        ("2026-07-01T10", "node-1"),
        ("2026-07-01T09", "node-2"),
        ("2026-07-01T09", "node-1"),
    ]
    narrowed = {"node": "node-1", "from": "2026-07-01T10:00:00+08:00", "to": "2026-07-01T11:00:00+08:00"}
    (hour,) = (await finance.get("/v1/completeness", narrowed)).json()["items"]
    assert (hour["started"], hour["missing"], hour["state"]) == (1, 1, "incomplete")
    signed = await finance.post("/v1/completeness/node-1/2026-07-01T10/sign-off", {"reason": "lost"})
    assert (signed.status_code, signed.json()["state"]) == (200, "signed_off")
    assert signed.json()["sign_off"]["signed_by"] == finance.client_id
    first, second = [
        (await finance.get("/v1/missing-calls", {"limit": 1} | after)).json()
        for after in ({}, {"after": (await finance.get("/v1/missing-calls", {"limit": 1})).json()["next"]})
    ]
    assert [page["items"][0]["hour"] for page in (first, second)] == ["2026-07-01T11", "2026-07-01T10"]


async def test_a_tenant_sees_nothing_of_it(counted: Counted) -> None:
    tenant = await counted.exchange.api.client("tenant_admin", counted.renter.tenant_id)
    for path in ("/v1/completeness", "/v1/missing-calls", "/v1/call-quality"):
        assert (await tenant.get(path)).status_code == 403
