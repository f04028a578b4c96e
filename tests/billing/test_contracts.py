"""Contracts over HTTP: a preset with its own terms, stored whole; what is not acceptable is named."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing import contracts
from billing.rules.terms import preset_terms
from infra.kit import clock
from infra.kit.database import Scope
from tests.api import Api


def _body(tenant_id: str, **changes: Any) -> dict[str, Any]:
    opens_on = clock.today() + timedelta(days=30)
    return {"tenant_id": tenant_id, "preset": "hosted", "title": "坐席租赁", "opens_on": str(opens_on)} | changes


async def test_a_contract_keeps_its_own_whole_terms(api: Api) -> None:
    tenant_id = await api.tenant()
    finance = await api.client("finance")
    overrides = {
        "rent_per_seat": "1800.00",
        "volume": [{"from": 50, "rent": "1500.00"}],
        "tax_rates": {"calls": "0.06"},
    }
    answer = await finance.post("/v1/contracts", _body(tenant_id, terms=overrides))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["state"], made["preset"], made["currency"]) == ("signed", "hosted", "CNY")
    assert (made["terms"]["rent_per_seat"], made["terms"]["grace_days"]) == ("1800.00", 15)
    async with api.database.transaction(Scope.platform()) as session:
        stored = await contracts.get_contract(session, tenant_id, made["contract_id"])
        assert contracts.terms_of(stored) == preset_terms("hosted", overrides)
    viewer = await api.client("tenant_viewer", tenant_id)
    assert (await viewer.get(f"/v1/contracts/{made['contract_id']}")).json().items() >= made.items()
    assert (await viewer.get("/v1/contracts")).json()["items"] == [made]


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"preset": "gold"}, 422, "term_refused", "preset"),
        ({"terms": {"rent_per_seet": "1"}}, 422, "term_refused", "terms.rent_per_seet"),
        ({"terms": {"rent_per_seat": "1.234"}}, 422, "term_refused", "terms.rent_per_seat"),
        ({"terms": {"due_day": 31}}, 422, "term_refused", "terms.due_day"),
        ({"title": " "}, 422, "contract_refused", "title"),
        ({"opens_on": "2020-01-01"}, 422, "contract_refused", "opens_on"),
        ({"ends_on": "2020-01-01"}, 422, "contract_refused", "ends_on"),
        ({"opens_on": "soon"}, 400, "validation_failed", "opens_on"),
        ({"colour": "red"}, 400, "validation_failed", "colour"),
        ({"tenant_id": "ten_unknown"}, 404, "not_found", "tenant_id"),
    ],
)
async def test_what_is_not_acceptable_is_named(
    api: Api, changes: dict[str, Any], status: int, code: str, field: str
) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post("/v1/contracts", _body(await api.tenant()) | changes)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (status, code, field), problem


async def test_a_tenant_signs_no_contract_by_itself(api: Api) -> None:
    tenant_id = await api.tenant()
    admin = await api.client("tenant_admin", tenant_id)
    assert (await admin.post("/v1/contracts", _body(tenant_id))).status_code == 403
