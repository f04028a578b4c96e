"""Attacks on signing in: passwords that freeze, lines without end, forged origins and addresses, races, returns."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sys
import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from infra.app.routes import ROUTES
from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from tenancy.people import invitations, passwords, throttle
from tenancy.people import jobs as people_jobs
from tests.api import Api
from tests.tenancy.people_world import (
    PASSWORD,
    Browser,
    company_of,
    invited,
    joined,
    link_token,
    quick_passwords,
    signs_in,
)

LI_WEI, WANG = "li.wei@anxin.example", "wang@anxin.example"
FREEZING = "a" + "\u0300" * 20_000 + "\u0316" * 20_000
"""To normalise it takes time that grows with the square of its length, and stops every thread of the process."""


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_password_that_is_dear_to_normalise_costs_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    _, token = await invited(api, admin, LI_WEI)
    normalised: list[int] = []

    def normal(form: Any, value: str) -> str:
        normalised.append(len(value))
        return "" if len(value) > 10_000 else value

    monkeypatch.setattr(passwords.unicodedata, "normalize", normal)
    assert refusal(await signs_in(api, None, LI_WEI, FREEZING)) == (401, "sign_in_refused")
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": FREEZING})
    assert (refusal(answer), answer.json()["field"]) == ((422, "password_refused"), "password")
    assert not [length for length in normalised if length > 10_000]


async def test_a_form_of_another_site_signs_nobody_in(api: Api) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    await joined(api, admin, LI_WEI)
    _, token = await invited(api, admin, WANG)
    company = await company_of(api, tenant)
    headers = {"origin": "https://evil.example", "content-type": "text/plain"}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/sign-in", {"company": company, "address": LI_WEI, "password": PASSWORD}),
        ("/sign-in/invitation", {"token": token, "password": PASSWORD}),
        ("/sign-in/reset", {"token": "sar_x", "password": PASSWORD}),
        ("/sign-in/forgotten", {"company": company, "address": LI_WEI}),
    ]
    for path, body in bodies:
        answer = await api.http.post(path, json=body, headers=headers)
        assert (refusal(answer), answer.json()["field"]) == ((403, "csrf_token_missing"), "Origin"), path
        assert "set-cookie" not in answer.headers


async def test_every_line_of_forwarded_for_counts(api: Api) -> None:
    """A proxy may add a line of its own rather than lengthen the one that the caller has sent."""
    tenant = await api.tenant()
    await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    object.__setattr__(api.settings, "trusted_proxies", 1)
    body = {"company": await company_of(api, tenant), "address": LI_WEI, "password": PASSWORD}
    lines = [("x-forwarded-for", "203.0.113.66"), ("x-forwarded-for", "198.51.100.7")]
    browser = Browser.of(api.http, await api.http.post("/sign-in", json=body, headers=lines))
    assert (await browser.get("/v1/me/sessions")).json()["items"][0]["source"] == "198.51.100.7"


async def test_a_blocked_network_address_locks_nobody_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "SOURCE_LIMIT", 1)
    monkeypatch.setattr(throttle, "ACCOUNT_LIMIT", 1)
    object.__setattr__(api.settings, "trusted_proxies", 1)
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    _, token = await invited(api, admin, LI_WEI)
    own, evil = {"x-forwarded-for": "192.0.2.1"}, {"x-forwarded-for": "192.0.2.66"}
    body = {"token": token, "password": PASSWORD}
    assert (await api.http.post("/sign-in/invitation", json=body, headers=own)).status_code == 200
    company = await company_of(api, tenant)
    assert (await signs_in(api, company, "nobody@anxin.example", "wrong", **evil)).status_code == 401
    for _ in range(3):
        assert (await signs_in(api, company, LI_WEI, "wrong", **evil)).status_code == 429
    assert (await signs_in(api, company, LI_WEI, **{"x-forwarded-for": "192.0.2.2"})).status_code == 200


async def test_two_invitations_of_one_address_make_one_person(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    _, first = await invited(api, admin, LI_WEI, role="tenant_viewer")
    _, second = await invited(api, admin, LI_WEI)
    async with api.database.transaction(Scope.platform()) as session:  # as two requests at once leave them
        await session.execute(text("UPDATE invitation SET withdrawn_at = NULL"))
    answers = await asyncio.gather(
        *(
            api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
            for token in (first, second)
        )
    )
    api.http.cookies.clear()
    assert sorted(each.status_code for each in answers) in ([200, 409], [200, 410]), [each.text for each in answers]
    [browser] = [Browser.of(api.http, each) for each in answers if each.status_code == 200]
    removal = f"/v1/people/{browser.person['person_id']}/removal"
    if browser.person["role"] == "tenant_admin":
        await joined(api, admin, WANG)
    assert (await admin.post(removal)).status_code == 200
    for token in (first, second):  # who was removed has no other link in the drawer
        answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
        assert refusal(answer) == (410, "link_not_valid")


async def test_what_a_person_does_by_a_link_stands_under_its_own_name(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action, AuditEntry.actor).where(AuditEntry.object_id == browser.person["person_id"])
        entries = {(action, actor) for action, actor in await session.execute(query)}
    own = browser.person["person_id"]
    assert entries == {("person.created", own), ("person.signed_in", own)}


async def test_two_links_of_one_person_at_once_set_one_password(api: Api) -> None:
    tenant = await api.tenant()
    await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    tokens: list[str] = []
    for _ in range(3):
        await people_jobs.begin_password_reset(
            jobs.Runtime(api.database, api.settings), company=company, address=LI_WEI
        )
        tokens.append(await link_token(api, "password_reset", LI_WEI))
    answers = await asyncio.gather(
        *(api.http.post("/sign-in/reset", json={"token": token, "password": "another three words"}) for token in tokens)
    )
    api.http.cookies.clear()
    assert sorted(each.status_code for each in answers) == [200, 410, 410], [each.text for each in answers]


@pytest.mark.parametrize("path", ["//sign-in", "//sign-in//reset//"])
async def test_a_page_by_a_crooked_address(api: Api, path: str) -> None:
    answer = await api.http.get(f"http://seatline.test{path}")
    assert answer.status_code in (200, 404), answer.text


@pytest.mark.parametrize("company", ["%00", "%ED%A0%80"])
async def test_odd_companies_have_no_provider(api: Api, company: str) -> None:
    answer = await api.http.get(f"/sign-in/provider?company={company}")
    assert answer.status_code in (400, 404, 422), answer.text
    answer = await api.http.get(f"/sign-in/callback?code={company}&state={company}&iss={company}&error={company}")
    assert answer.status_code in (400, 403, 404, 422), answer.text


async def test_an_operators_person_reads_whom_a_tenant_calls_on_a_visit_only(api: Api) -> None:
    tenant = await api.tenant()
    operator = await joined(
        api, await api.client("platform_operator"), "ops@platform.example", role="platform_operator"
    )
    visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "ticket 17"})).json()["visit_id"]
    statement = "/v1/contracts/con_x/usage/2026-07/statement.csv"
    for path in ("/v1/calls", "/v1/charges", "/v1/unrated-calls", "/v1/live/calls", "/v1/live/events/", statement):
        answer = await operator.get(path)
        assert refusal(answer) == (403, "forbidden"), path
    for path, status in (("/v1/charges", 200), ("/v1/unrated-calls", 200), (statement, 404)):
        assert (await operator.get(path, **{"seatline-visit": visit})).status_code == status


async def test_a_cookie_header_in_pieces_is_one(api: Api) -> None:
    browser = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    headers = [("cookie", "theme=dark"), ("cookie", browser.cookie)]
    assert (await api.http.get("/v1/me", headers=headers)).status_code == 200


async def test_more_sign_ins_than_can_be_looked_at_are_refused_and_the_rest_goes_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await api.tenant()
    await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    monkeypatch.setattr(passwords, "LINE_LIMIT", 3)
    free, looked_at = threading.Event(), passwords._matches  # pyright: ignore[reportPrivateUsage]

    def slowly(password: str, stored: str | None) -> bool:
        assert free.wait(5)
        return looked_at(password, stored)

    monkeypatch.setattr(passwords, "_matches", slowly)
    waiting = [asyncio.create_task(signs_in(api, company, LI_WEI)) for _ in range(6)]
    refused, still = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    while len(refused) < 3:
        more, still = await asyncio.wait(still, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        refused |= more
    assert {refusal(each.result()) for each in refused} == {(503, "sign_ins_busy")}
    assert {each.result().headers["retry-after"] for each in refused} == {"5"}
    assert (await api.http.get("/sign-in")).status_code == 200
    free.set()
    assert {each.status_code for each in await asyncio.gather(*still)} == {200}
    assert (await signs_in(api, company, LI_WEI)).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread cannot step back by itself")
async def test_hashing_steps_back_behind_the_nodes_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(_: str) -> str:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return ""

    monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=look))
    await passwords.hashed("x")
    assert seen == [os.getpriority(os.PRIO_PROCESS, os.getpid()) + passwords.POLITENESS]


@pytest.mark.parametrize(("path", "body"), [("role", {"role": "tenant_viewer"}), ("removal", {})])
async def test_who_may_invite_no_more_has_left_no_way_back(api: Api, path: str, body: dict[str, str]) -> None:
    tenant = await api.tenant()
    first = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    second = await joined(api, first, WANG)
    _, token = await invited(api, second, "wang.private@example.org")
    _, kept = await invited(api, first, "zhao@anxin.example")
    assert (await first.post(f"/v1/people/{second.person['person_id']}/{path}", body)).status_code == 200
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
    assert refusal(answer) == (410, "link_not_valid")
    assert (await api.http.post("/sign-in/invitation", json={"token": kept, "password": PASSWORD})).status_code == 200


async def test_nobody_is_flooded_with_invitations(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "ADDRESS_DAY_LIMIT", 2)
    monkeypatch.setattr(invitations, "DAY_LIMIT", 3)
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    body = {"address": LI_WEI, "name": "Li", "role": "tenant_viewer"}
    answers = [await admin.post("/v1/invitations", body) for _ in range(3)]
    assert [each.status_code for each in answers] == [201, 201, 409]
    assert (answers[2].json()["code"], answers[2].json()["field"]) == ("too_many_people", "address")
    answers = [await admin.post("/v1/invitations", body | {"address": f"{name}@a.example"}) for name in "ab"]
    assert [each.status_code for each in answers] == [201, 409]
    clock.travel_to(clock.now() + invitations.DAY)
    admin = await api.client("tenant_admin", tenant)
    assert (await admin.post("/v1/invitations", body)).status_code == 201


def _changes() -> list[tuple[str, str]]:
    """Every way to change something, by method and path."""
    return sorted(
        (str(method), re.sub(r"\{[^}]*\}", "x", path))
        for route in ROUTES
        for path in route.paths
        for method in route.http_methods
        if method not in ("GET", "HEAD", "OPTIONS")
    )


BY_COOKIE = ("/v1/", "/sign-out", "/sign-in/password")
"""Elsewhere a cookie opens nothing: who comes there shows a password, a link or a credential of its own."""


async def test_a_cookie_alone_changes_nothing_anywhere(api: Api) -> None:
    browser = await joined(api, await api.client("platform_operator"), "ops@platform.example", role="platform_operator")
    body = b'{"current": "x", "password": "y"}'
    forms = itertools.cycle(("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"))
    for method, path in _changes():
        if not path.startswith(BY_COOKIE) or path == "/v1/stripe/webhooks":
            continue
        headers = {"cookie": browser.cookie, "content-type": next(forms)}
        answer = await api.http.request(method, path, content=body, headers=headers)
        assert refusal(answer) == (403, "csrf_token_missing"), (method, path, answer.text)


async def test_nobody_is_on_a_visit_but_who_began_it(api: Api) -> None:
    tenant = await api.tenant()
    client = await api.client("platform_operator")
    admin = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    operator = await joined(api, client, "ops@platform.example", role="platform_operator")
    finance = await joined(api, client, "cw@platform.example", role="finance")
    visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "ticket 17"})).json()["visit_id"]
    for browser, status in ((admin, 403), (finance, 404), (operator, 200)):
        assert (await browser.get("/v1/calls", **{"seatline-visit": visit})).status_code == status
    assert (await api.http.get("/v1/calls", headers=client.headers | {"seatline-visit": visit})).status_code == 404
    for odd in ("", "vis_x", visit.upper(), f"{visit} ", "vis_" + "0" * 26, "\xff"):
        answer = await api.http.get(
            "/v1/calls", headers=[(b"cookie", operator.cookie.encode()), (b"seatline-visit", odd.encode("latin-1"))]
        )
        assert answer.status_code in (403, 404), odd


async def test_a_planted_session_is_not_taken_on(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    for planted in ("seatline_session=sas_planted", browser.cookie):
        answer = await signs_in(api, company, LI_WEI, cookie=planted)
        assert not answer.headers["set-cookie"].startswith(planted)
