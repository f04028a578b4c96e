"""The conventions of the API: sign-in, problems, idempotency, pages, row security."""

from __future__ import annotations

from sqlalchemy import update

from infra.kit.database import Scope
from tenancy.models import Client
from tests.api import Api


async def test_a_tenant_is_created_once_for_one_idempotency_key(api: Api) -> None:
    operator = await api.client("platform_operator")
    body = {"name": "安心保险", "sip_domain": "anxin.example.com"}
    first = await operator.post("/v1/tenants", body, key="k1")
    again = await operator.post("/v1/tenants", body, key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await operator.get("/v1/tenants")).json()["items"]) == 1


async def test_a_key_used_for_another_request_is_refused(api: Api) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/tenants", {"name": "a", "sip_domain": "a.example.com"}, key="k1")
    other = await operator.post("/v1/tenants", {"name": "b", "sip_domain": "b.example.com"}, key="k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_an_unknown_field_is_refused_by_name(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post("/v1/tenants", {"name": "a", "sip_domain": "a.example.com", "colour": "red"})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (problem["code"], problem["field"]) == ("validation_failed", "colour")


async def test_an_unknown_query_parameter_is_refused_by_name(api: Api) -> None:
    operator = await api.client("platform_operator")
    listed = await operator.get("/v1/tenants?limt=5")
    problem = listed.json()
    assert (listed.status_code, problem["code"], problem["field"]) == (400, "validation_failed", "limt")
    assert "after, limit" in problem["detail"]
    made = await operator.post("/v1/tenants?dry_run=true", {"name": "a", "sip_domain": "a.example.com"})
    assert (made.status_code, made.json()["field"]) == (400, "dry_run")
    assert (await operator.get("/v1/tenants?limit=5")).json()["items"] == []


async def test_a_wrong_type_names_the_field(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post("/v1/tenants", {"name": 5, "sip_domain": "a.example.com"})
    assert (answer.status_code, answer.json()["field"]) == (400, "name")


async def test_a_body_that_is_not_json_is_a_problem(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post_bytes("/v1/tenants", b"{nonsense", "application/json")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (answer.json()["code"], answer.json()["field"]) == ("malformed_request", "body")


async def test_a_huge_body_is_refused(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post_bytes("/v1/tenants", b" " * (api.settings.body_limit_bytes + 1), "application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_without_a_token_nothing_opens(api: Api) -> None:
    answer = await api.http.get("/v1/tenants")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_another_tenants_object_is_not_found(api: Api) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    viewer = await api.client("tenant_viewer", ours)
    assert (await viewer.get(f"/v1/tenants/{theirs}")).status_code == 404
    listed = (await viewer.get("/v1/tenants")).json()["items"]
    assert [tenant["tenant_id"] for tenant in listed] == [ours]
    assert (await viewer.get("/v1/audit", params={"tenant_id": theirs})).status_code == 404


async def test_a_role_without_the_permission_is_refused(api: Api) -> None:
    viewer = await api.client("tenant_viewer", await api.tenant("ours"))
    answer = await viewer.post("/v1/tenants", {"name": "a", "sip_domain": "a.example.com"})
    assert (answer.status_code, answer.json()["permission"]) == (403, "tenants:write")


async def test_pages_follow_each_other_without_gap_or_repeat(api: Api) -> None:
    made = {await api.tenant(f"t{number}") for number in range(5)}
    operator = await api.client("platform_operator")
    seen: list[str] = []
    after = None
    while True:
        page = (await operator.get("/v1/tenants", params={"limit": 2} | ({"after": after} if after else {}))).json()
        seen += [item["tenant_id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == 5
    assert set(seen) == made


async def test_a_limit_beyond_the_hard_one_is_refused(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.get("/v1/tenants", params={"limit": 100_000})
    assert (answer.status_code, answer.json()["field"]) == (400, "limit")


async def test_a_revoked_client_is_out_at_once(api: Api) -> None:
    operator = await api.client("platform_operator")
    other = await api.client("finance")
    assert (await other.get("/v1/tenants")).status_code == 200
    await operator.post(f"/v1/clients/{other.client_id}/revocation", {})
    assert (await other.get("/v1/tenants")).status_code == 401


async def test_wrong_client_secret_gets_the_oauth_error(api: Api) -> None:
    answer = await api.http.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, auth=("cli_nobody", "wrong")
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_tenant_admin_makes_clients_only_for_its_own_tenant(api: Api) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    admin = await api.client("tenant_admin", ours)
    made = await admin.post("/v1/clients", {"name": "crm", "role": "tenant_viewer"})
    assert (made.status_code, made.json()["tenant_id"]) == (201, ours)
    assert (await admin.post("/v1/clients", {"name": "x", "role": "finance"})).status_code == 403
    foreign = await admin.post("/v1/clients", {"name": "x", "role": "tenant_viewer", "tenant_id": theirs})
    assert foreign.status_code == 404


async def test_a_tenant_keeps_the_address_that_it_is_written_to(api: Api) -> None:
    ours, theirs = await api.tenant(), await api.tenant("other")
    admin, viewer = await api.client("tenant_admin", ours), await api.client("tenant_viewer", ours)
    body = {"contact_email": "office@anxin.example"}
    answer = await admin.put(f"/v1/tenants/{ours}/contact", body)
    assert (answer.status_code, answer.json()["contact_email"]) == (200, "office@anxin.example")
    wrong = await admin.put(f"/v1/tenants/{ours}/contact", {"contact_email": "nobody"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "contact_email")
    assert (await admin.put(f"/v1/tenants/{theirs}/contact", body)).status_code == 404
    assert (await viewer.put(f"/v1/tenants/{ours}/contact", body)).status_code == 403
    assert (await admin.put(f"/v1/tenants/{ours}/contact", {"contact_email": None})).json()["contact_email"] is None


async def test_the_description_says_that_unknown_fields_are_refused(api: Api) -> None:
    document = (await api.http.get("/schema/openapi.json")).json()
    assert document["components"]["schemas"]["NewTenant"]["additionalProperties"] is False
    assert "/v1/tenants" in document["paths"]


async def test_every_operation_and_body_is_described(api: Api) -> None:
    document = (await api.http.get("/schema/openapi.json")).json()
    operations = [each for path in document["paths"].values() for each in path.values() if "operationId" in each]
    assert len(operations) > 100
    assert [each["operationId"] for each in operations if not each.get("description")] == []
    assert {"List tenants", "Preview order"} <= {each["summary"] for each in operations}
    schemas = document["components"]["schemas"]
    assert "data" in schemas["NewOneOffCharge"]["description"]
    assert [name for name in schemas if name.startswith("New") and not schemas[name].get("description")] == []


async def test_the_documentation_page_asks_no_other_host(api: Api) -> None:
    page = await api.http.get("/schema")
    assert page.status_code == 200
    assert "https://" not in page.text.replace(api.settings.public_url, "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-standalone-preset.js"):
        assert f"/schema/assets/{asset}" in page.text
        assert (await api.http.get(f"/schema/assets/{asset}")).status_code == 200


async def test_two_slashes_lead_into_the_same_unit_of_work(api: Api) -> None:
    operator = await api.client("platform_operator")
    assert (await operator.get("http://seatline.test//v1/tenants")).status_code == 200
    assert (await api.http.get("http://seatline.test//v1/tenants")).status_code == 401


async def test_the_methods_of_a_path_may_be_asked_for(api: Api) -> None:
    viewer = await api.client("tenant_viewer", await api.tenant())
    answer = await api.http.options("/v1/tenants", headers=viewer.headers)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_client_credentials_that_are_no_text_get_the_oauth_error(api: Api) -> None:
    form, headers = {"grant_type": "client_credentials"}, {"authorization": "Basic //46/w=="}  # \xff\xfe:\xff
    answer = await api.http.post("/oauth/token", data=form, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_clients_name_is_bounded(api: Api) -> None:
    operator = await api.client("platform_operator")
    for name in ("", " ", "x" * 201):
        answer = await operator.post("/v1/clients", {"name": name, "role": "finance"})
        assert (answer.status_code, answer.json()["field"]) == (422, "name")


async def test_a_client_whose_role_does_not_fit_its_tenant_is_nobody(api: Api) -> None:
    """Whatever wrote such a row, it opens nothing."""
    viewer = await api.client("tenant_viewer", await api.tenant("ours"))
    async with api.database.transaction(Scope.platform()) as session:
        await session.execute(
            update(Client).where(Client.client_id == viewer.client_id).values(role="platform_operator")
        )
    assert (await viewer.get("/v1/tenants")).status_code == 401
