"""Requests that hold no readable text are refused once for all routes, naming the place."""

from __future__ import annotations

import httpx
import pytest

from infra.app import asgi
from infra.kit import readable
from infra.kit.readable import UnreadableText
from tests.api import Api

JSON = "application/json"
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"name":"a\\u0000"}', "name"),
        (b'{"terms":{"items":["a",{"b":"\\u0000"}]}}', "terms.items[1].b"),
        (b'{"terms":{"\\u0000":1}}', "terms"),
        (b'{"name":"\xff"}', "body"),
        (b'{"name":"\xed\xa0\x80"}', "body"),
        (DEEP, "body"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "body"),
        (b"[" * 150 + b"]" * 150, "body"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(body: bytes, place: str) -> None:
    with pytest.raises(UnreadableText) as refused:
        readable.check_json(body, JSON)
    assert refused.value.field == place


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"name":"C:\\\\u0000"}', JSON),
        (b"no json, \\u0000", JSON),
        (b"[" + b"{}," * 1_000 + b"{}]", JSON),
        ("名称".encode("gbk"), "text/csv; charset=gbk"),
        (b"\x00\xff", "multipart/form-data; boundary=x"),
    ],
)
def test_what_is_text_or_read_elsewhere_passes(body: bytes, kind: str) -> None:
    readable.check_json(body, kind)


async def test_a_nul_character_in_path_or_query_is_no_defect_of_ours(api: Api) -> None:
    operator = await api.client("platform_operator")
    in_path = await operator.get("/v1/contracts/ctr%00")
    in_query = await operator.get("/v1/invoices?period=%00")
    assert (in_path.status_code, in_path.json()["field"]) == (400, "path")
    assert (in_query.status_code, in_query.json()["field"]) == (400, "period")


async def test_a_nul_character_in_a_cursor_is_refused_by_the_database_as_a_value(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.get("/v1/tenants", {"after": "WyJcdTAwMDAiXQ"})  # ["\u0000"]
    assert (answer.status_code, answer.json()["code"]) == (422, "value_not_storable")


async def test_a_nul_character_in_a_client_id_is_an_unknown_client(api: Api) -> None:
    form = {"grant_type": "client_credentials", "client_id": "cli\x00", "client_secret": "s"}
    answer = await api.http.post("/oauth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_deep_body_is_refused(api: Api) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post_bytes("/v1/tenants", DEEP, JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "unreadable_text")


async def test_a_statement_refused_only_at_commit_is_a_problem_document_too(api: Api) -> None:
    """The last writes of a request go to the database with its COMMIT, outside the framework's reach."""
    operator = await api.client("platform_operator")
    tenant_id = await api.tenant()
    application = asgi.build(api.settings, api.database)
    async with api.database.engine.begin() as connection:
        await connection.exec_driver_sql(
            "ALTER TABLE audit_entry ADD CONSTRAINT no_note CHECK (action <> 'tenant.suspension_noted')"
        )
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test") as http:
        path = f"/v1/tenants/{tenant_id}/suspension"
        answer = await http.post(path, json={"note": "why"}, headers=operator.headers | {"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await operator.get(f"/v1/tenants/{tenant_id}")).json()["standing"] == "active"
