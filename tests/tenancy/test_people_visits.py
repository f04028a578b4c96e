"""A person of the platform comes to what is a tenant's own by a visit, and by no way around it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from infra.kit import clock
from infra.kit.database import Scope
from switch.esl.frames import Event
from switch.refused_sign_ins import keeping
from switch.refused_sign_ins.counting import REGISTER_FAILURE, RefusedSignIns
from tenancy import tenants
from tenancy.roles import permissions_on_a_visit
from tests.api import Api
from tests.tenancy.people_world import ORIGIN, Browser, invited, joined, quick_passwords

LI_WEI, WANG = "li.wei@anxin.example", "wang@anxin.example"
OPERATOR, FINANCE = "ops@platform.example", "cw@platform.example"
OF_A_TENANT = (
    "/v1/calls", "/v1/charges", "/v1/live/calls", "/v1/live/registrations", "/v1/webhook-deliveries", "/v1/seats",
    "/v1/hand-outs",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


async def person(api: Api, role: str) -> Browser:
    """Somebody of the platform, signed in."""
    machine = await api.client("platform_operator")
    return await joined(api, machine, {"finance": FINANCE}.get(role, OPERATOR), role=role)


async def visit(browser: Browser, tenant: str) -> dict[str, str]:
    """The header of a visit that begins now."""
    began = await browser.post(f"/v1/tenants/{tenant}/visits", {"reason": "ticket 17: a wrong charge"})
    assert began.status_code == 201, began.text
    return {"seatline-visit": began.json()["visit_id"]}


def refusal(answer: httpx.Response) -> tuple[int, Any, Any]:
    return answer.status_code, answer.json().get("code"), answer.json().get("field")


@pytest.mark.parametrize("role", ["platform_operator", "finance"])
async def test_everybody_of_the_platform_needs_a_visit_for_what_is_a_tenants_own(api: Api, role: str) -> None:
    tenant = await api.tenant()
    browser, admin = await person(api, role), await api.client("tenant_admin", tenant)
    for path in OF_A_TENANT:
        assert (await browser.get(path)).status_code == 403, path
    on_visit = await visit(browser, tenant)
    for path in OF_A_TENANT:
        assert (await browser.get(path, None, **on_visit)).status_code == 200, path
    assert [each["reason"] for each in (await admin.get("/v1/visits")).json()["items"]] == ["ticket 17: a wrong charge"]


async def test_the_audit_trail_tells_of_a_tenants_people_on_a_visit_only(api: Api) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    theirs = await joined(api, admin, LI_WEI)
    browser = await person(api, "platform_operator")
    trail = (await browser.get("/v1/audit", {"tenant_id": tenant})).json()["items"]
    assert {"person.created", "person.signed_in"} <= {each["action"] for each in trail}
    assert LI_WEI not in str(trail)
    assert LI_WEI in (await browser.get("/v1/audit", {"tenant_id": tenant}, **await visit(browser, tenant))).text
    role = f"/v1/people/{theirs.person['person_id']}/role"
    assert refusal(await browser.post(role, {"role": "tenant_viewer"})) == (403, "visit_needed", "person_id")


async def test_refused_sign_ins_of_a_tenant_are_seen_on_a_visit(api: Api) -> None:
    tenant = await api.tenant()
    async with api.database.transaction(Scope.platform()) as session:
        seen = RefusedSignIns()
        domain = (await tenants.get(session, tenant)).sip_domain
        for where in (domain, "nobody.example"):
            told = {"Event-Subclass": REGISTER_FAILURE, "to-user": "1001", "to-host": where, "network-ip": "192.0.2.7"}
            seen.note(Event({"Event-Name": "CUSTOM"} | told), now=clock.now())
        await keeping.write(session, "fs-1", seen.take())
    browser = await person(api, "platform_operator")
    path = "/v1/refused-sign-ins"
    assert [each["domain"] for each in (await browser.get(path)).json()["items"]] == ["nobody.example"]
    assert refusal(await browser.get(path, {"tenant_id": tenant})) == (403, "visit_needed", "tenant_id")
    on_visit = await visit(browser, tenant)
    assert [each["domain"] for each in (await browser.get(path, None, **on_visit)).json()["items"]] == [domain]


async def test_finance_on_a_visit_changes_nothing_that_is_not_finances(api: Api) -> None:
    tenant = await api.tenant()
    browser = await person(api, "finance")
    on_visit = await visit(browser, tenant)
    may = permissions_on_a_visit("finance")
    assert {"calls:read", "seats:read", "people:read", "billing_contacts:write"} <= may
    assert may.isdisjoint({"seats:write", "seat_orders:write", "live:hang_up", "call_policy:write", "exports:read"})
    assert (await browser.post("/v1/seats/seat_x/suspension", {"reason": "x"}, **on_visit)).status_code == 403


async def test_a_finance_client_is_machinery_and_needs_no_visit(api: Api) -> None:
    await api.tenant()
    finance = await api.client("finance")
    for path in OF_A_TENANT:
        assert (await finance.get(path)).status_code == 200, path


@pytest.mark.parametrize("role", ["platform_operator", "finance"])
async def test_the_people_of_a_tenant_are_seen_on_a_visit(api: Api, role: str) -> None:
    tenant = await api.tenant()
    theirs = (await joined(api, await api.client("tenant_admin", tenant), LI_WEI)).person["person_id"]
    await invited(api, await api.client("tenant_admin", tenant), WANG)
    browser = await person(api, role)
    for path in ("/v1/people", "/v1/invitations"):
        assert LI_WEI not in (listed := (await browser.get(path)).text)
        assert WANG not in listed
        assert OPERATOR in listed or FINANCE in listed
        assert refusal(await browser.get(path, {"tenant_id": tenant})) == (403, "visit_needed", "tenant_id")
    assert refusal(await browser.get(f"/v1/people/{theirs}")) == (403, "visit_needed", "person_id")
    assert (await browser.get(f"/v1/people/{browser.person['person_id']}")).status_code == 200
    on_visit = await visit(browser, tenant)
    assert (await browser.get(f"/v1/people/{theirs}", None, **on_visit)).json()["address"] == LI_WEI
    assert WANG in (await browser.get("/v1/invitations", None, **on_visit)).text


async def test_an_operators_person_makes_no_key_that_needs_no_visit(api: Api) -> None:
    tenant = await api.tenant()
    browser = await person(api, "platform_operator")
    for role, owner in (
        ("tenant_admin", tenant), ("tenant_viewer", tenant), ("platform_operator", None), ("finance", None),
    ):  # fmt: skip
        body = {"name": "mine", "role": role, "tenant_id": owner}
        assert (await browser.post("/v1/clients", body)).status_code == 403, role
    own = {"cookie": browser.cookie, "x-csrf-token": browser.csrf_token, "origin": ORIGIN}
    body = {"issuer": "https://id.ops.example", "client_id": "x", "client_secret": "y"}
    path = f"/v1/tenants/{tenant}/identity-provider"
    assert (await api.http.put(path, json=body, headers=own)).status_code == 403
    assert (await api.http.put(path, json=body, headers=own | await visit(browser, tenant))).status_code == 403
    client = (await browser.get("/v1/clients")).json()["items"][0]["client_id"]
    revoked = await browser.post(f"/v1/clients/{client}/revocation")
    assert revoked.json()["revoked_at"] is not None, "what is in wrong hands, people of the platform still end"


async def test_an_operators_person_invites_a_tenants_first_admin_and_nobody_else(api: Api) -> None:
    tenant = await api.tenant()
    browser = await person(api, "platform_operator")
    body = {"name": "李伟", "role": "tenant_admin", "tenant_id": tenant, "language": "zh"}
    for own in (OPERATOR, "OPS@platform.example", "ops+me@platform.example"):
        answer = await browser.post("/v1/invitations", body | {"address": own})
        assert refusal(answer) == (403, "first_admin_only", "address"), own
    viewer = body | {"address": WANG, "role": "tenant_viewer"}
    assert refusal(await browser.post("/v1/invitations", viewer)) == (403, "first_admin_only", "tenant_id")
    mistyped = await browser.post("/v1/invitations", body | {"address": WANG})
    assert mistyped.status_code == 201
    await joined(api, browser, LI_WEI, tenant_id=tenant)
    listed = (await (await api.client("tenant_admin", tenant)).get("/v1/invitations")).json()["items"]
    assert {each["address"]: each["state"] for each in listed} == {LI_WEI: "accepted", WANG: "withdrawn"}
    late = await browser.post("/v1/invitations", body | {"address": "friend@elsewhere.example"})
    assert refusal(late) == (403, "first_admin_only", "tenant_id")
    machine = await api.client("platform_operator")
    await invited(api, machine, "friend@elsewhere.example", tenant_id=tenant)
