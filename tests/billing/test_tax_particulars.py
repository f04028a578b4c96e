"""Tax particulars on the real database: checked field by field, kept in versions, the tenant's own."""

from __future__ import annotations

from typing import Any

import pytest

from billing.fapiao import particulars
from billing.fapiao.errors import TaxParticularsRefused
from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.buyers import PARTICULARS, put_particulars
from tests.billing.finance import opened, refused
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def test_particulars_are_checked_kept_in_versions_and_printed(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    admin = await api.client("tenant_admin", world.tenant_id)
    path = f"/v1/tenants/{world.tenant_id}/tax-particulars"
    assert refused(await admin.get(path)) == (404, "tax_particulars_not_found", "tenant_id")
    first = (await put_particulars(admin, world.tenant_id, PARTICULARS)).json()
    assert (first["version"], first["bank_account"], first["recorded_by"]) == (1, "571905123410001", admin.client_id)
    assert (await put_particulars(admin, world.tenant_id, PARTICULARS)).json() == first, "nothing has changed"
    finance = await api.client("finance")
    lower = PARTICULARS | {"credit_code": "9135 0100 m000100y43", "phone": "+86 571 88886666"}
    second = (await put_particulars(finance, world.tenant_id, lower)).json()
    assert (second["version"], second["credit_code"]) == (2, "91350100M000100Y43")
    assert (await admin.get(path)).json() == second


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("credit_code", "91350100M000100Y44", "check digit is 4 where 3 belongs"),
        ("credit_code", "91350100M000100Y4", "17 characters"),
        ("credit_code", "91350100M000100YI3", "I, which no credit code has"),
        ("title", "  ", "empty"),
        ("title", "甲\n乙", "control characters"),
        ("title", "长" * 101, "101 characters"),
        ("phone", "call me", "no telephone number"),
        ("phone", None, "missing"),
        ("address", "", "missing"),
        ("bank_account", "62220000111122IO", "no account number"),
        ("fapiao_kind", "red", "not known"),
    ],
)
def test_a_wrong_particular_is_refused_by_its_field(field: str, value: Any, said: str) -> None:
    with pytest.raises(TaxParticularsRefused, match=said) as refusal:
        particulars.checked(particulars.Particulars(**(PARTICULARS | {field: value})))
    assert refusal.value.field == field


async def test_a_refused_particular_changes_nothing(api: Api) -> None:
    tenant_id = await api.tenant()
    admin = await api.client("tenant_admin", tenant_id)
    answer = await put_particulars(admin, tenant_id, PARTICULARS | {"credit_code": "91350100M000100Y44"})
    assert refused(answer) == (422, "tax_particulars_refused", "credit_code")
    assert (await admin.get(f"/v1/tenants/{tenant_id}/tax-particulars")).status_code == 404


async def test_a_general_fapiao_needs_only_title_and_code(api: Api) -> None:
    tenant_id = await api.tenant()
    finance = await api.client("finance")
    body = {"title": "安心保险", "credit_code": "91350100M000100Y43"}
    assert (await put_particulars(finance, tenant_id, body)).json()["fapiao_kind"] == "general"
    unknown = await put_particulars(finance, tenant_id, body | {"colour": "red"})
    assert (unknown.status_code, unknown.json()["field"]) == (400, "colour")
    for role in ("tenant_viewer", "tenant_admin"):
        other = await api.client(role, await api.tenant())
        assert (await put_particulars(other, tenant_id, body)).status_code == (404 if role == "tenant_admin" else 403)
        assert (await other.get(f"/v1/tenants/{tenant_id}/tax-particulars")).status_code == 404
