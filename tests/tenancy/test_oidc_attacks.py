"""Attacks through identity providers: mix-up, tokens and answers made to break us, races, removed people's return."""

from __future__ import annotations

import asyncio
import base64
import gzip
import importlib
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from sqlalchemy import text

from infra.kit import clock
from tenancy.oidc import id_tokens, outbound
from tenancy.oidc.errors import ProviderSignInRefused, ProviderUnusable
from tenancy.webhooks.targets import Resolver
from tests.api import Api
from tests.tenancy.identity_provider import Provider, serving
from tests.tenancy.people_world import invited, joined, quick_passwords
from tests.tenancy.test_oidc import Company, refused, session_cookie

LI_WEI = "li.wei@anxin.example"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with serving() as listening:
        yield listening


async def test_a_companys_provider_cannot_have_anothers_codes_sent_to_itself(api: Api, provider: Provider) -> None:
    """Mix-up (RFC 9700, section 4.4): the evil provider sends its visitor on to the honest one, with the challenge and
    the nonce of a sign-in of its own, and hopes that we bring it the visitor's code."""
    provider.document = lambda document: document | {"authorization_response_iss_parameter_supported": False}
    async with serving() as evil:
        evil.document = provider.document
        honest, thief = await Company.of(api, provider), await Company.of(api, evil)
        own_url, own_cookie = await honest.begins()
        lured_url, lured_cookie = await thief.begins()
        sent_on = dict(parse_qsl(urlsplit(own_url).query)) | {
            "state": dict(parse_qsl(urlsplit(lured_url).query))["state"]
        }
        authorize = f"{provider.issuer}/authorize?{urlencode(sent_on)}"
        back = provider.let_in(authorize).split("&iss=")[0]
        assert refused(await honest.returns(back, lured_cookie)) == "provider_sign_in_refused"
        assert "/realm/token" not in evil.asked
        redirects = {dict(parse_qsl(urlsplit(url).query))["redirect_uri"] for url in (own_url, lured_url)}
        assert len(redirects) == 2  # the honest provider sends nobody to the evil one's
        session_cookie(await honest.returns(provider.let_in(own_url).split("&iss=")[0], own_cookie))


async def test_who_was_removed_is_nobody_new(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    session_cookie(await company.signs_in(provider))
    [person] = await company.people()
    assert (await company.admin.post(f"/v1/people/{person.person_id}/removal")).status_code == 200
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    provider.person |= {"email": "other@anxin.example"}  # a new address of the same person
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    provider.person |= {"email": LI_WEI, "sub": "u-9"}  # a new account with the old address
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    await invited(api, company.admin, LI_WEI, role="tenant_viewer")
    session_cookie(await company.signs_in(provider))


@pytest.mark.parametrize(
    "stranger",
    [
        {"email": "stranger@elsewhere.example"},
        {"email": "stranger@sub.anxin.example"},
        {"email": "stranger@notanxin.example"},
        {"email": "stranger@anxin.example", "email_verified": False},
        {"email": '"stranger@anxin.example"@elsewhere.example'},
    ],
)
async def test_where_anybody_may_have_an_account_strangers_become_nobody(
    api: Api, provider: Provider, stranger: dict[str, Any]
) -> None:
    company = await Company.of(api, provider, allowed_email_domains=[" ANXIN.example "])
    provider.person |= stranger | {"sub": "stranger"}
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    assert await company.people() == []


async def test_a_provider_from_before_the_domains_lets_in_nobody_new(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    migration: Any = importlib.import_module("infra.migrations.versions.0023_names_makers_and_domains")
    async with api.database.engine.begin() as connection:
        await connection.execute(text("UPDATE identity_provider SET allowed_email_domains = '[]'"))
        await connection.run_sync(migration.let_in_nobody_new)
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    shown = (await company.admin.get(f"/v1/tenants/{company.tenant_id}/identity-provider")).json()
    assert (shown["new_people_role"], shown["allowed_email_domains"]) == (None, [])


async def test_who_is_invited_may_have_an_address_of_any_domain(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    provider.person |= {"email": "auditor@elsewhere.example"}
    await invited(api, company.admin, "auditor@elsewhere.example", role="tenant_viewer")
    session_cookie(await company.signs_in(provider))
    shown = (await company.admin.get(f"/v1/tenants/{company.tenant_id}/identity-provider")).json()
    assert shown["allowed_email_domains"] == ["anxin.example"]


async def test_two_tabs_of_one_new_person(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    began = [await company.begins() for _ in range(3)]
    answers = await asyncio.gather(*(company.returns(provider.let_in(url), cookie) for url, cookie in began))
    assert [each.status_code for each in answers] == [303, 303, 303], [each.text for each in answers]
    assert len(await company.people()) == 1


async def test_two_tabs_of_one_known_address(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider, new_people_role=None)
    await joined(api, company.admin, LI_WEI)
    began = [await company.begins() for _ in range(3)]
    answers = await asyncio.gather(*(company.returns(provider.let_in(url), cookie) for url, cookie in began))
    assert [each.status_code for each in answers] == [303, 303, 303], [each.text for each in answers]


@pytest.mark.parametrize("change", ["removed", "another issuer"])
async def test_a_sign_in_under_way_ends_with_its_provider(
    api: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    company = await Company.of(api, provider)
    url, cookie = await company.begins()
    ask = outbound.ask

    async def asked(http: httpx.AsyncClient, method: str, address: str, **more: Any) -> tuple[int, dict[str, Any]]:
        if address.endswith("/keys"):
            if change == "removed":
                path = f"/v1/tenants/{company.tenant_id}/identity-provider"
                assert (await api.http.delete(path, headers=company.admin.headers)).status_code == 204
            else:
                assert (await company.sets(issuer=provider.issuer + "/other")).status_code == 200
        return await ask(http, method, address, **more)

    monkeypatch.setattr(outbound, "ask", asked)
    assert refused(await company.returns(provider.let_in(url), cookie)) == "provider_sign_in_refused"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


DEEP = b"[" * 90_000
HEADERS = [
    b"[]", b"1", b"null", b'"x"', b"{}", b'{"alg": null}', b'{"alg": []}', b'{"alg": {}}',
    b'{"alg": "ES256", "kid": []}', b'{"alg": "ES256", "kid": {}}', b'{"alg": "ES256", "crit": ["b64"], "b64": false}',
    b'{"alg": "ES256", "zip": "DEF"}', DEEP[:60_000],
    b'{"alg": "ES256", "jwk": {"kty": "oct", "k": "AAAA"}}', b'{"alg": "dir", "enc": "A128GCM"}', b"\xff\xfe", b"",
    b'{"alg": "ES256", "kid": "\\ud800"}', b'{"alg": "HS256", "kid": "one"}', b'{"alg": "RS256", "kid": "one"}',
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_token_made_to_break_us_is_refused(header: bytes) -> None:
    keys = {"keys": [Provider().key.as_dict(private=False)]}
    for payload in (b"{}", b"[]", DEEP[:10_000]):
        for form in (
            "{0}.{1}.AAAA",
            "{0}.{1}.",
            "{0}..",
            "{0}.{1}.AA.AA.AA",
            "{0}",
            "...",
            "{0}.{1}.=",
            "\ud800.{1}.x",
        ):
            token = form.format(_part(header), _part(payload))
            with pytest.raises(ProviderSignInRefused):
                id_tokens.believed(token, keys, issuer="https://a", client_id="b", nonce="c")


KEYS: list[Any] = [
    None, {}, "x", [], [1], [[]], [{}], [{"kty": "RSA"}], [{"kty": "RSA", "n": 1, "e": 2}],
    [{"kty": "RSA", "n": "", "e": ""}],
    [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}], [{"kty": "RSA", "n": "A" * 700_000, "e": "AQAB"}],
    [{"kty": "RSA", "n": "x" * 900_000, "e": "x" * 50_000}],
    [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}], [{"kty": "EC", "crv": [], "x": "AA", "y": "AA"}],
    [{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}], [{"kty": "EC", "use": [], "crv": "P-256"}],
    [{"kty": ["EC"]}], [{"kty": "RSA", "kid": [], "n": "AQAB", "e": "AQAB"}],
    [{"kty": "EC", "x": "é", "y": "é", "crv": "P-256"}],
    [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "p": "AQAB", "q": "AQAB", "dp": "", "dq": "", "qi": ""}],
    [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "key_ops": 1}], [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": []}],
]  # fmt: skip


@pytest.mark.parametrize("keys", KEYS, ids=range(len(KEYS)))
def test_keys_made_to_break_us_are_refused(keys: Any) -> None:
    for algorithm in ("RS256", "ES256"):
        token = f"{_part(json.dumps({'alg': algorithm}).encode())}.{_part(b'{}')}.{_part(b'x' * 256)}"
        with pytest.raises(ProviderSignInRefused):
            id_tokens.believed(token, {"keys": keys}, issuer="https://a", client_id="b", nonce="c")


CLAIMS: list[dict[str, Any]] = [
    {"exp": "tomorrow"}, {"exp": []}, {"exp": True}, {"exp": None}, {"iat": {}}, {"iat": "x"}, {"nbf": []}, {"aud": {}},
    {"aud": []}, {"aud": [[]]}, {"aud": None}, {"sub": []}, {"sub": 7}, {"iss": []}, {"nonce": []}, {"azp": []},
]  # fmt: skip


@pytest.mark.parametrize("claims", CLAIMS, ids=range(len(CLAIMS)))
def test_claims_of_the_wrong_kind_are_refused(claims: dict[str, Any]) -> None:
    key, now = Provider().key, int(clock.now().timestamp())
    usual = {"iss": "https://a", "aud": "b", "nonce": "c", "sub": "u-1", "iat": now, "exp": now + 300}
    keys = {"keys": [key.as_dict(private=False)]}

    def believed(shown: dict[str, Any]) -> id_tokens.Identity:
        token = jwt.encode({"alg": "ES256", "kid": "one"}, shown, key)
        return id_tokens.believed(token, keys, issuer="https://a", client_id="b", nonce="c")

    assert believed(usual).subject == "u-1"
    with pytest.raises(ProviderSignInRefused):
        believed(usual | claims)


async def test_a_subject_that_cannot_be_kept_is_refused(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    provider.claims = lambda usual: usual | {"sub": "\x00"}
    answer = await company.signs_in(provider)
    assert (answer.status_code, answer.json()["code"]) == (422, "value_not_storable")
    assert await company.people() == []


@pytest.mark.parametrize(
    "claims", [{"email": "a\x00@b.example"}, {"name": "\x00"}, {"name": 7}, {"name": "x" * 90_000}], ids=range(4)
)
async def test_odd_names_are_no_obstacle_or_refused(api: Api, provider: Provider, claims: dict[str, Any]) -> None:
    company = await Company.of(api, provider)
    provider.claims = lambda usual: usual | claims
    assert (await company.signs_in(provider)).status_code in (303, 403, 422)


def _answer(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(("HTTP/1.1 200 Ok", f"content-length: {len(body)}", *headers))
    return head.encode() + b"\r\n\r\n" + body


async def test_answers_made_to_break_us_are_refused(api: Api, provider: Provider) -> None:
    async with outbound.client(api.settings) as http:
        for raw in (_answer(b'{"a":' * 100_000), _answer(gzip.compress(b" " * 5_000_000), "content-encoding: gzip")):
            provider.raw["/realm/keys"] = raw
            with pytest.raises(ProviderUnusable):
                await outbound.ask(http, "GET", f"{provider.issuer}/keys")


async def test_an_answer_that_trickles_is_not_waited_for(
    api: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.create_task(reader.read())
        writer.write(b"HTTP/1.1 200 Ok\r\n\r\n")
        while not (await asyncio.wait({gone}, timeout=0.02))[0]:
            writer.write(b" ")
        writer.close()
        ended.set()

    monkeypatch.setattr(outbound, "ANSWER_TIMEOUT_SECONDS", 0.2)
    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with server, outbound.client(api.settings) as http:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(2):
            with pytest.raises(ProviderUnusable, match="too long"):
                await outbound.ask(http, "GET", f"http://127.0.0.1:{port}/")
            await ended.wait()


async def test_nobody_learns_our_own_addresses_from_a_refusal(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside(_: Resolver, __: str, ___: int) -> list[str]:
        return ["10.20.30.40"]

    monkeypatch.setattr(Resolver, "_ask_system", inside)
    async with outbound.client(replace(api.settings, environment="production")) as http:
        with pytest.raises(ProviderUnusable) as refusal:
            await outbound.ask(http, "GET", "https://ledger.example.com/realm")
    assert "ledger.example.com" in refusal.value.detail
    assert "10.20.30.40" not in refusal.value.detail
