"""Where somebody arrives who comes from an identity provider: at a page, and not outside when the provider goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from infra.kit.database import Scope
from infra.kit.sealing import Seal
from tenancy.oidc import flow
from tenancy.people import resets
from tests.api import Api
from tests.tenancy.identity_provider import Provider, serving
from tests.tenancy.people_world import PASSWORD, link_token, quick_passwords, signs_in
from tests.tenancy.test_oidc import LI_WEI, Company, session_cookie


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with serving() as listening:
        yield listening


async def test_who_wanted_nothing_else_arrives_at_a_page_that_says_who_they_are(api: Api, provider: Provider) -> None:
    answer = await (await Company.of(api, provider)).signs_in(provider)
    there = answer.headers["location"].removeprefix(api.settings.public_url)
    for language, words in (("zh-CN", "您已登录"), ("en", "You are signed in")):
        headers = {"cookie": session_cookie(answer), "accept": "text/html", "accept-language": language}
        page = await api.http.get(there, headers=headers)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert words in page.text


@pytest.mark.parametrize(
    ("language", "told"),
    [("zh-CN,zh;q=0.9", ("请检查公司域名", "请重新登录")), ("en", ("Check the company", "Begin anew"))],
)
async def test_a_browser_is_told_by_a_page_what_a_program_is_told_by_a_document(
    api: Api, provider: Provider, language: str, told: tuple[str, str]
) -> None:
    company = await Company.of(api, provider)
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "accept-language": language}
    back = f"{flow.CALLBACK}/{company.tenant_id}?error=access_denied&state=%3Cb%3E"
    for path, status, words in (
        ("/sign-in/provider?company=%3Cb%3Enowhere.example.com", 404, told[0]),
        (back, 403, told[1]),
    ):
        page = await api.http.get(path, headers=browser)
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert words in page.text
        assert 'href="/sign-in"' in page.text
        assert "<b>" not in page.text
        assert "unsafe" not in page.headers["content-security-policy"]
        assert (await api.http.get(path)).headers["content-type"] == "application/problem+json"


async def test_the_only_admin_who_removes_the_provider_is_not_left_outside(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider, new_people_role="tenant_admin")
    cookie = session_cookie(await company.signs_in(provider))
    forgotten = {"company": company.domain, "address": LI_WEI}
    seal = Seal(api.settings.secret_key)

    async def asks() -> bool:
        async with api.database.transaction(Scope.platform()) as session:
            return await resets.begin(session, seal, **forgotten)

    assert not await asks(), "the provider lets people in, and nobody gets around it"
    token = (await api.http.get("/v1/me", headers={"cookie": cookie})).json()["csrf_token"]
    own = {"cookie": cookie, "x-csrf-token": token}
    path = f"/v1/tenants/{company.tenant_id}/identity-provider"
    assert (await api.http.delete(path, headers=own)).status_code == 204
    assert await asks()
    body = {"token": await link_token(api, "password_reset", LI_WEI), "password": PASSWORD}
    assert (await api.http.post("/sign-in/reset", json=body)).status_code == 200
    assert (await signs_in(api, company.domain, LI_WEI)).status_code == 200
