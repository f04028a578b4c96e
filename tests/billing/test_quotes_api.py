"""`POST /v1/quotes`: the calculator over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from billing import quotes
from tests.api import Api

CASES = sorted((Path(__file__).parent / "cases").glob("*.expected.json"))
QUESTIONS = {path.name: path.with_name(path.name.replace(".expected", "")).read_bytes() for path in CASES}
WANTED = {path.name: json.loads(path.read_text()) for path in CASES}
SMALL: dict[str, Any] = {
    "contract": {"preset": "hosted", "opens_on": "2026-03-02"},
    "until": "2026-04-30",
    "events": [{"type": "add", "on": "2026-03-02", "seats": 2}],
}


@pytest.mark.parametrize("expected", CASES, ids=lambda path: path.name.removesuffix(".expected.json"))
async def test_a_worked_case_gives_its_invoices(api: Api, expected: Path) -> None:
    question = QUESTIONS[expected.name]
    viewer = await api.client("tenant_viewer", await api.tenant())
    answer = await viewer.post_bytes("/v1/quotes", question, "application/json")
    assert answer.status_code == 200
    wanted = WANTED[expected.name]["invoices"]
    found = answer.json()["invoices"]
    assert [(each["reason"], each["issued_on"], each["total"]) for each in found] == [
        (each["reason"], each["issued_on"], each["total"]) for each in wanted
    ]


@pytest.mark.parametrize("role", ["platform_operator", "finance", "tenant_admin", "tenant_viewer"])
async def test_every_role_may_ask(api: Api, role: str) -> None:
    tenant_id = await api.tenant() if role.startswith("tenant") else None
    answer = await (await api.client(role, tenant_id)).post("/v1/quotes", SMALL)
    assert (answer.status_code, answer.json()["deposit_held"]) == (200, "4000.00")


async def test_nobody_asks_without_signing_in(api: Api) -> None:
    assert (await api.http.post("/v1/quotes", json=SMALL)).status_code == 401


async def test_a_problem_names_the_event(api: Api) -> None:
    finance = await api.client("finance")
    returned = {"type": "return", "on": "2026-04-10", "seats": [2]}
    again = returned | {"on": "2026-05-10"}
    question = SMALL | {"until": "2026-06-30", "events": [*SMALL["events"], returned, again]}
    answer = await finance.post("/v1/quotes", question)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "not_held", "events[2] (return)")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"until": "2026-02-30"}, "until"),
        ({"contract": {"preset": "golden", "opens_on": "2026-03-02"}}, "contract.preset"),
    ],
)
async def test_a_bad_member_is_named(api: Api, change: dict[str, Any], field: str) -> None:
    finance = await api.client("finance")
    answer = await finance.post("/v1/quotes", SMALL | change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b'{"until": NaN}', b'{"a": 1, "a": 2}'])
async def test_what_is_no_quote_is_refused(api: Api, body: bytes) -> None:
    finance = await api.client("finance")
    answer = await finance.post_bytes("/v1/quotes", body, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "quote_refused")


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 100_000])
async def test_a_quote_that_no_reader_should_be_given_is_refused_before_it(api: Api, body: bytes) -> None:
    finance = await api.client("finance")
    answer = await finance.post_bytes("/v1/quotes", body, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "unreadable_text")


async def test_a_quote_beyond_the_limit_is_refused(api: Api) -> None:
    finance = await api.client("finance")
    body = json.dumps(SMALL).encode() + b" " * quotes.QUOTE_LIMIT_BYTES
    answer = await finance.post_bytes("/v1/quotes", body, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_quote_that_would_take_minutes_is_refused(api: Api) -> None:
    viewer = await api.client("tenant_viewer", await api.tenant())
    events = [{"type": "add", "on": "2026-03-02", "seats": 1_000} for _ in range(40)]
    answer = await viewer.post("/v1/quotes", SMALL | {"events": events, "until": "2066-01-01"})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "quote_too_long", "until")


async def test_the_description_names_the_bodies(api: Api) -> None:
    paths = (await api.http.get("/schema/openapi.json")).json()["paths"]
    assert "application/json" in paths["/v1/quotes"]["post"]["requestBody"]["content"]
    assert set(paths["/v1/rate-decks"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "text/csv"}
