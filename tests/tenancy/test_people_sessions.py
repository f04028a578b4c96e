"""Sessions end as they should, a cookie alone changes nothing, and operators enter with a reason the tenant reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.principal import Presented
from infra.kit.problems import Unauthenticated
from tenancy.callers import Callers
from tenancy.people import sessions, visits
from tenancy.people.models import Invitation, PersonSession
from tenancy.people.sessions import Cookies
from tests.api import Api
from tests.tenancy.people_world import (
    COOKIE,
    PASSWORD,
    Browser,
    company_of,
    invited,
    joined,
    link_token,
    quick_passwords,
    signs_in,
)

LI_WEI, WANG, OPERATOR = "li.wei@anxin.example", "wang@anxin.example", "ops@platform.example"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


async def _operator(api: Api) -> Browser:
    return await joined(api, await api.client("platform_operator"), OPERATOR, role="platform_operator")


async def test_a_session_ends_by_idleness_and_by_age(api: Api) -> None:
    browser = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    for _ in range(12):
        clock.travel_to(clock.now() + sessions.IDLE - timedelta(seconds=5))
        assert (await browser.get("/v1/me")).status_code == 200
    clock.travel_to(clock.now() + timedelta(minutes=2))
    aged = await browser.get("/v1/me")
    assert (aged.status_code, aged.json()["code"]) == (401, "unauthenticated")  # twelve hours are over


async def test_an_idle_session_is_over(api: Api) -> None:
    browser = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    clock.travel_to(clock.now() + sessions.IDLE + timedelta(seconds=1))
    assert (await browser.get("/v1/me")).status_code == 401
    assert (await browser.get("/v1/me/sessions")).status_code == 401


async def test_sign_out_and_sign_out_everywhere(api: Api) -> None:
    tenant = await api.tenant()
    first = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    second = Browser.of(api.http, await signs_in(api, company, LI_WEI, **{"user-agent": "phone"}))
    third = Browser.of(api.http, await signs_in(api, company, LI_WEI))
    listed = (await second.get("/v1/me/sessions")).json()["items"]
    assert [(each["is_this_one"], each["user_agent"]) for each in listed][1] == (True, "phone")
    assert len(listed) == 3
    gone = await third.post("/sign-out")
    assert (gone.status_code, "Max-Age=0" in gone.headers["set-cookie"]) == (200, True)
    assert (await third.get("/v1/me")).status_code == 401
    assert (await first.get("/v1/me")).status_code == 200
    assert (await first.post("/sign-out/everywhere")).status_code == 200
    assert [(await each.get("/v1/me")).status_code for each in (first, second)] == [401, 401]


async def test_an_admin_signs_somebody_out(api: Api) -> None:
    first = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    second = await joined(api, first, WANG, role="tenant_viewer")
    path = f"/v1/people/{second.person['person_id']}/sign-out"
    assert (await second.post(path)).status_code == 403
    assert (await first.post(path)).status_code == 200
    assert (await second.get("/v1/me")).status_code == 401


async def test_one_session_too_many_ends_the_oldest(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_LIMIT", 2)
    tenant = await api.tenant()
    first = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    others = [Browser.of(api.http, await signs_in(api, company, LI_WEI)) for _ in range(2)]
    assert [(await each.get("/v1/me")).status_code for each in (first, *others)] == [401, 200, 200]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 403),
        ({"x-csrf-token": "wrong"}, 403),
        ({"x-csrf-token": "own", "origin": "https://evil.example"}, 403),
        ({"x-csrf-token": "own", "origin": "null"}, 403),
        ({"x-csrf-token": "own"}, 201),
        ({"x-csrf-token": "own", "origin": "http://127.0.0.1:8300"}, 201),
    ],
)
async def test_a_change_needs_more_than_the_cookie(api: Api, headers: dict[str, str], expected: int) -> None:
    browser = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    own = {name: browser.csrf_token if value == "own" else value for name, value in headers.items()}
    body = {"address": WANG, "name": "Wang", "role": "tenant_viewer"}
    answer = await api.http.post("/v1/invitations", json=body, headers={"cookie": browser.cookie} | own)
    assert answer.status_code == expected
    if expected == 403:
        assert answer.json()["code"] == "csrf_token_missing"
    assert (await api.http.post("/sign-out", headers={"cookie": browser.cookie} | own)).status_code == (
        200 if expected == 201 else 403
    )


@pytest.mark.parametrize("cookie", [None, "", f"{COOKIE}=", f"{COOKIE}=sas_nobodys", "other=1", "\xff=;;,,="])
async def test_nobodys_cookie_is_nobody(api: Api, cookie: str | None) -> None:
    headers = {} if cookie is None else {b"cookie": cookie.encode("latin-1")}
    answer = await api.http.get("/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_odd_cookies_of_others_are_no_obstacle(api: Api) -> None:
    browser = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    odd = f'a[b]={{"x": 1, "y": "z"}}; =; lonely; {browser.cookie}; after="1'
    assert (await api.http.get("/v1/me", headers={"cookie": odd})).status_code == 200


async def test_a_token_goes_before_a_cookie(api: Api) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    browser = await joined(api, admin, LI_WEI)
    me = (await api.http.get("/v1/me", headers=admin.headers | {"cookie": browser.cookie})).json()
    assert (me["caller_id"], me["person"], me["csrf_token"]) == (admin.client_id, None, None)
    wrong = await api.http.get("/v1/me", headers={"authorization": "Bearer no", "cookie": browser.cookie})
    assert wrong.status_code == 401


async def test_the_cookie_of_an_installation_behind_tls(api: Api) -> None:
    cookies = Cookies("https://seats.example.com/")
    assert cookies.header("sas_x") == "__Host-seatline_session=sas_x; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert cookies.origin == "https://seats.example.com"
    callers = Callers(replace(api.settings, public_url="https://seats.example.com"))
    browser = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    token = browser.cookie.partition("=")[2]
    async with api.database.transaction(Scope.platform()) as session:
        with pytest.raises(Unauthenticated):  # a page of another port or scheme cannot plant it
            await callers.authenticate(session, Presented(cookie=f"{COOKIE}={token}"))
        found = await callers.authenticate(session, Presented(cookie=f"{cookies.name}={token}"))
    assert found.client_id == browser.person["person_id"]


async def test_reading_moves_the_end_of_idleness_once_a_minute(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    seen: list[Any] = []
    for seconds in (30, 31, 10):
        clock.travel_to(clock.now() + timedelta(seconds=seconds))
        await browser.get("/v1/me")
        async with api.database.transaction(Scope.platform()) as session:
            [row] = (await session.execute(select(PersonSession))).scalars()
            seen.append(row.seen_at - row.began_at)
    assert [each.total_seconds() >= 60 for each in seen] == [False, True, True]
    assert seen[1] == seen[2]


async def test_behind_our_own_proxy_the_caller_is_who_it_says(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await api.tenant()
    await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    for proxies, expected in ((0, "127.0.0.1"), (1, "198.51.100.7"), (2, "192.0.2.1")):
        object.__setattr__(api.settings, "trusted_proxies", proxies)
        answer = await signs_in(api, company, LI_WEI, **{"x-forwarded-for": "10.0.0.1, 192.0.2.1, 198.51.100.7"})
        browser = Browser.of(api.http, answer)
        assert (await browser.get("/v1/me/sessions")).json()["items"][0]["source"] == expected


async def test_an_operator_enters_with_a_reason_that_the_tenant_reads(api: Api) -> None:
    tenant, other = await api.tenant("ours"), await api.tenant("theirs")
    admin = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    operator = await _operator(api)
    assert (await operator.get("/v1/calls")).status_code == 403  # a tenant's calls are its own
    assert (await operator.get("/v1/tenants")).status_code == 200
    refused = await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": " "})
    assert (refused.status_code, refused.json()["field"]) == (422, "reason")
    visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "ticket 17: no sound"})).json()
    on_visit = {"seatline-visit": visit["visit_id"]}
    assert (await operator.get("/v1/calls", **on_visit)).status_code == 200
    seen = (await operator.get("/v1/tenants", **on_visit)).json()["items"]
    assert [each["tenant_id"] for each in seen] == [tenant]
    assert (await operator.get(f"/v1/tenants/{other}", **on_visit)).status_code == 404
    for path, body in (
        ("/v1/clients", {"name": "mine", "role": "tenant_admin"}),
        ("/v1/invitations", {"address": WANG, "name": "me", "role": "tenant_admin"}),
    ):
        assert (await operator.post(path, body, **on_visit)).status_code == 403  # would outlast the visit
    listed = (await admin.get("/v1/visits")).json()["items"]
    assert [(each["reason"], each["state"], each["visitor"]) for each in listed] == [
        ("ticket 17: no sound", "going_on", operator.person["person_id"])
    ]
    entries = (await admin.get("/v1/audit")).json()["items"]
    assert [each["facts"]["reason"] for each in entries if each["action"] == "visit.began"] == ["ticket 17: no sound"]
    assert (await admin.post(f"/v1/visits/{visit['visit_id']}/end")).json()["state"] == "over"
    assert (await operator.get("/v1/calls", **on_visit)).status_code == 404


async def test_what_is_done_on_a_visit_says_so_in_the_tenants_audit(api: Api) -> None:
    tenant = await api.tenant()
    operator = await _operator(api)
    visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "they asked us to"})).json()
    body = {"contacts": [{"address": "a@b.example"}]}
    headers = {"cookie": operator.cookie, "x-csrf-token": operator.csrf_token, "seatline-visit": visit["visit_id"]}
    answer = await api.http.put(f"/v1/tenants/{tenant}/billing-contacts", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    admin = await api.client("tenant_admin", tenant)
    entries = (await admin.get("/v1/audit")).json()["items"]
    [entry] = [each for each in entries if each["action"] == "billing_contacts.replaced"]
    assert entry["actor"] == f"{operator.person['person_id']} ({visit['visit_id']})"


async def test_a_visit_is_short_and_its_visitors_own(api: Api) -> None:
    tenant = await api.tenant()
    operator = await _operator(api)
    machine = await api.client("platform_operator")
    visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "look"})).json()
    on_visit = {"seatline-visit": visit["visit_id"]}
    for caller in (machine, await api.client("finance"), await api.client("tenant_admin", tenant)):
        answer = await api.http.get("/v1/tenants", headers=caller.headers | on_visit)
        assert answer.status_code in (403, 404)
    assert (await operator.get("/v1/tenants", seatline_visit="nonsense")).status_code == 404
    clock.travel_to(clock.now() + visits.LIFETIME - timedelta(minutes=30))
    assert (await operator.get("/v1/tenants", **on_visit)).status_code == 200
    clock.travel_to(clock.now() + timedelta(minutes=30))
    assert (await operator.get("/v1/tenants", **on_visit)).status_code == 404
    assert (await operator.get("/v1/visits")).json()["items"][0]["state"] == "over"


async def test_a_key_of_one_visit_answers_no_request_of_another(api: Api) -> None:
    operator = await _operator(api)
    answers: list[tuple[int, str | None]] = []
    for _ in range(2):
        tenant = await api.tenant("visited")
        visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "look"})).json()
        question = {
            "contract": {"preset": "hosted", "opens_on": "2026-03-02"},
            "until": "2026-04-30",
            "events": [{"type": "add", "on": "2026-03-02", "seats": 2}],
        }
        headers = {"seatline_visit": visit["visit_id"], "idempotency_key": "the same"}
        answer = await operator.post("/v1/quotes", question, **headers)
        answers.append((answer.status_code, answer.json().get("code")))
    assert answers[0][0] == 200
    assert answers[1] == (422, "idempotency_key_reused")


async def test_the_operator_invites_a_tenants_first_admin(api: Api) -> None:
    tenant = await api.tenant()
    operator = await _operator(api)
    first = await joined(api, operator, LI_WEI, tenant_id=tenant)
    assert (first.person["tenant_id"], first.person["role"]) == (tenant, "tenant_admin")
    body = {"address": WANG, "name": "W", "role": "tenant_viewer"}
    assert (await operator.post("/v1/invitations", body)).json()["field"] == "tenant_id"
    body |= {"role": "finance", "tenant_id": tenant}
    assert (await operator.post("/v1/invitations", body)).json()["field"] == "tenant_id"
    assert (
        await operator.post("/v1/invitations", body | {"tenant_id": "ten_x", "role": "tenant_admin"})
    ).status_code == 404


async def test_people_of_the_platform_sign_in_without_a_company(api: Api) -> None:
    operator = await _operator(api)
    assert operator.person["tenant_id"] is None
    answer = await signs_in(api, None, OPERATOR)
    assert answer.status_code == 200
    _, token = await invited(api, operator, "cw@platform.example", role="finance")
    assert token == await link_token(api, "person_invited", "cw@platform.example")
    finance = Browser.of(
        api.http, await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
    )
    assert (await finance.get("/v1/payments")).status_code == 200
    assert (await finance.get("/v1/people")).json()["items"] != []
    assert (await finance.post("/v1/invitations", {"address": WANG, "name": "x", "role": "finance"})).status_code == 403


async def test_an_open_invitation_is_its_companys_secret(api: Api) -> None:
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    invitation, _ = await invited(api, await api.client("tenant_admin", theirs), LI_WEI)
    neighbour = await api.client("tenant_admin", ours)
    path = f"/v1/invitations/{invitation['invitation_id']}/withdrawal"
    assert (await neighbour.post(path)).status_code == 404
    assert (await neighbour.get("/v1/invitations")).json()["items"] == []
    async with api.database.transaction(Scope.tenant(ours)) as session:
        assert (await session.execute(select(Invitation))).all() == []
