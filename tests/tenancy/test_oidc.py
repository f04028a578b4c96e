"""Sign-in through a tenant's own identity provider: real HTTP to a provider that may lie in every known way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import select, text

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.problems import Refusal
from infra.kit.sealing import Seal
from tenancy.oidc import flow, outbound, providers
from tenancy.oidc.errors import ProviderUnusable
from tenancy.people.models import Person
from tests.api import Api, Caller
from tests.tenancy.identity_provider import CLIENT_ID, CLIENT_SECRET, Provider, serving
from tests.tenancy.people_world import COOKIE, company_of, invited, joined, quick_passwords, signs_in

LI_WEI = "li.wei@anxin.example"
Lie = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with serving() as listening:
        yield listening


class Company:
    """A tenant with an identity provider."""

    def __init__(self, api: Api, tenant_id: str, domain: str, admin: Caller) -> None:
        self.api, self.tenant_id, self.domain, self.admin = api, tenant_id, domain, admin

    @classmethod
    async def of(cls, api: Api, provider: Provider, **more: Any) -> Company:
        """A new one."""
        tenant = await api.tenant("anxin")
        company = cls(api, tenant, await company_of(api, tenant), await api.client("tenant_admin", tenant))
        answer = await company.sets(issuer=provider.issuer, **more)
        assert answer.status_code == 200, answer.text
        return company

    async def sets(self, **more: Any) -> httpx.Response:
        """Put the identity provider."""
        body = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "new_people_role": "tenant_viewer"}
        body |= {"allowed_email_domains": ["anxin.example"]} | more
        path = f"/v1/tenants/{self.tenant_id}/identity-provider"
        return await self.api.http.put(path, json=body, headers=self.admin.headers)

    async def begins(self, **more: str) -> tuple[str, str]:
        """Where the browser is sent, and the cookie it keeps."""
        answer = await self.api.http.get("/sign-in/provider", params={"company": self.domain} | more)
        self.api.http.cookies.clear()
        assert answer.status_code == 303, answer.text
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        return answer.headers["location"], cookie.split(";")[0]

    async def returns(self, url: str, cookie: str) -> httpx.Response:
        """The browser comes back."""
        answer = await self.api.http.get(url.removeprefix(self.api.settings.public_url), headers={"cookie": cookie})
        self.api.http.cookies.clear()
        return answer

    async def signs_in(self, provider: Provider) -> httpx.Response:
        """The whole way."""
        url, cookie = await self.begins()
        return await self.returns(provider.let_in(url), cookie)

    async def people(self) -> list[Person]:
        """Who there is."""
        async with self.api.database.transaction(Scope.platform()) as session:
            query = select(Person).where(Person.tenant_id == self.tenant_id).order_by(Person.person_id)
            return list((await session.execute(query)).scalars())


def session_cookie(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    [cookie] = [each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)]
    return cookie.split(";")[0]


def refused(answer: httpx.Response) -> str:
    assert answer.status_code in (403, 502), answer.text
    assert not [each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)]
    return answer.json()["code"]


async def test_somebody_new_signs_in_and_is_known_the_second_time(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    url, kept = await company.begins(return_to="/seats?page=2")
    assert CLIENT_SECRET not in url
    answer = await company.returns(provider.let_in(url), kept)
    assert answer.headers["location"] == f"{api.settings.public_url}/seats?page=2"
    me = (await api.http.get("/v1/me", headers={"cookie": session_cookie(answer)})).json()
    person = me["person"]
    assert (person["address"], person["name"], person["role"], person["ways"]) == (
        LI_WEI, "李伟", "tenant_viewer", ["provider"],
    )  # fmt: skip
    provider.person |= {"email": "changed@anxin.example", "name": "other"}
    session_cookie(await company.signs_in(provider))
    assert [each.address for each in await company.people()] == [LI_WEI]
    assert (await signs_in(api, company.domain, LI_WEI)).status_code == 401  # there is no password to guess


async def test_the_secret_goes_as_the_provider_wants_it_and_is_kept_sealed(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    session_cookie(await company.signs_in(provider))
    assert str(provider.authorization).startswith("Basic ")
    provider.document = lambda document: document | {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    session_cookie(await company.signs_in(provider))
    assert provider.authorization is None
    shown = await company.admin.get(f"/v1/tenants/{company.tenant_id}/identity-provider")
    assert CLIENT_SECRET not in shown.text
    assert shown.json()["redirect_uri"].endswith(f"/sign-in/callback/{company.tenant_id}")
    async with api.database.engine.connect() as connection:
        kept = (await connection.execute(text("SELECT sealed_client_secret FROM identity_provider"))).scalar_one()
    assert Seal(api.settings.secret_key).open(kept) == CLIENT_SECRET


async def test_who_has_a_password_is_recognised_by_a_vouched_for_address(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider, new_people_role=None)
    browser = await joined(api, company.admin, LI_WEI)
    provider.person |= {"email_verified": False}
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    provider.person |= {"email_verified": True}
    session_cookie(await company.signs_in(provider))
    [person] = await company.people()
    assert (person.person_id, person.subject) == (browser.person["person_id"], "u-1")
    provider.person |= {"sub": "u-2"}  # the address was given to somebody else there
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"


async def test_who_is_invited_needs_no_password_and_who_is_unknown_stays_out(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider, new_people_role=None)
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    _, token = await invited(api, company.admin, LI_WEI)
    session_cookie(await company.signs_in(provider))
    [person] = await company.people()
    assert (person.role, person.password_hash) == ("tenant_admin", None)
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": "three words are plenty"})
    assert answer.status_code == 410


async def test_who_was_removed_does_not_come_back_by_itself(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider, new_people_role=None)
    await invited(api, company.admin, LI_WEI, role="tenant_viewer")
    cookie = session_cookie(await company.signs_in(provider))
    [person] = await company.people()
    assert (await company.admin.post(f"/v1/people/{person.person_id}/removal")).status_code == 200
    assert (await api.http.get("/v1/me", headers={"cookie": cookie})).status_code == 401
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"


LIES: dict[str, Lie] = {
    "another issuer": lambda claims: claims | {"iss": "https://evil.example"},
    "another audience": lambda claims: claims | {"aud": "somebody else"},
    "several audiences without a party": lambda claims: claims | {"aud": [CLIENT_ID, "somebody else"]},
    "another party": lambda claims: claims | {"azp": "somebody else"},
    "expired": lambda claims: claims | {"exp": claims["iat"] - 61},
    "without an end": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "from the future": lambda claims: claims | {"nbf": claims["iat"] + 3600},
    "another nonce": lambda claims: claims | {"nonce": "replayed"},
    "without a nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "without a subject": lambda claims: {name: value for name, value in claims.items() if name != "sub"},
    "an empty subject": lambda claims: claims | {"sub": ""},
    "a subject without end": lambda claims: claims | {"sub": "u" * 256},
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_id_token_that_does_not_fit_is_not_believed(api: Api, provider: Provider, lie: str) -> None:
    company = await Company.of(api, provider)
    provider.claims = LIES[lie]
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"
    assert await company.people() == []


async def test_a_token_for_us_among_others_is_believed_when_it_says_so(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    provider.claims = lambda claims: claims | {"aud": ["somebody else", CLIENT_ID], "azp": CLIENT_ID}
    session_cookie(await company.signs_in(provider))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "another key"])
async def test_a_signature_that_is_not_the_providers_is_not_believed(
    api: Api, provider: Provider, algorithm: str
) -> None:
    company = await Company.of(api, provider)
    if algorithm == "another key":
        provider.signing_key = ECKey.generate_key("P-256", {"kid": "one"})
    else:
        provider.algorithm, provider.signing_key = algorithm, OctKey.import_key(CLIENT_SECRET)
    assert refused(await company.signs_in(provider)) == "provider_sign_in_refused"


async def test_rsa_keys_do_as_well(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    provider.key, provider.algorithm = RSAKey.generate_key(2048, {"kid": "one"}), "RS256"
    session_cookie(await company.signs_in(provider))


async def test_an_answer_counts_in_the_browser_that_asked_and_once(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    url, cookie = await company.begins()
    back = provider.let_in(url)
    _, foreign_cookie = await company.begins()
    for wrong in ("", "seatline_sign_in=", "seatline_sign_in=gAAAAAB", foreign_cookie):
        assert refused(await company.returns(back, wrong)) == "provider_sign_in_refused"
    assert refused(await company.returns(back.replace("state=", "state=x"), cookie)) == "provider_sign_in_refused"
    assert refused(await company.returns(back.replace("realm", "other"), cookie)) == "provider_sign_in_refused"
    assert refused(await company.returns(back.split("&iss=")[0], cookie)) == "provider_sign_in_refused"
    session_cookie(await company.returns(back, cookie))
    assert refused(await company.returns(back, cookie)) == "provider_sign_in_refused"  # the code was used
    denied = f"/sign-in/callback/{company.tenant_id}?error=access_denied&state={back.split('state=')[1].split('&')[0]}"
    assert "access_denied" in (await company.returns(denied, cookie)).json()["detail"]


async def test_a_code_that_somebody_else_has_caught_is_worth_nothing(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    stolen = provider.let_in((await company.begins())[0]).split("code=")[1].split("&")[0]
    url, cookie = await company.begins()
    own = provider.let_in(url)
    own_code = own.split("code=")[1].split("&")[0]
    assert refused(await company.returns(own.replace(own_code, stolen), cookie)) == "provider_sign_in_refused"


async def test_ten_minutes_are_enough(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    url, cookie = await company.begins()
    clock.travel_to(clock.now() + flow.LIFETIME + timedelta(seconds=1))
    assert refused(await company.returns(provider.let_in(url), cookie)) == "provider_sign_in_refused"


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/realm/.well-known/openid-configuration", b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}"),
        ("/realm/.well-known/openid-configuration", b"HTTP/1.1 302 Go\r\nlocation: /x\r\ncontent-length: 2\r\n\r\n{}"),
        ("/realm/.well-known/openid-configuration", b"HTTP/1.1 200 Ok\r\ncontent-length: 2\r\n\r\n[]"),
        ("/realm/.well-known/openid-configuration", b"garbage\r\n\r\n"),
        ("/realm/.well-known/openid-configuration", b""),
        (
            "/realm/.well-known/openid-configuration",
            b"HTTP/1.1 200 Ok\r\nconnection: close\r\n\r\n" + b" " * 1_000_001,
        ),
        ("/realm/keys", b"HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n{}"),
        ("/realm/token", b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}"),
    ],
)
async def test_a_provider_that_does_not_answer_as_it_should(
    api: Api, provider: Provider, path: str, raw: bytes
) -> None:
    company = await Company.of(api, provider)
    url, cookie = await company.begins()
    back = provider.let_in(url)
    provider.raw[path] = raw
    assert refused(await company.returns(back, cookie)) == "identity_provider_unusable"


DOCUMENTS: dict[str, Lie] = {
    "another issuer": lambda document: document | {"issuer": "https://evil.example"},
    "no PKCE": lambda document: document | {"code_challenge_methods_supported": ["plain"]},
    "no way to show a secret": lambda document: document | {"token_endpoint_auth_methods_supported": ["tls"]},
    "no token endpoint": lambda document: {name: each for name, each in document.items() if name != "token_endpoint"},
    "an endpoint that is none": lambda document: document | {"authorization_endpoint": "javascript:alert(1)"},
}


@pytest.mark.parametrize("lie", DOCUMENTS)
async def test_a_provider_that_says_something_else_of_itself(api: Api, provider: Provider, lie: str) -> None:
    company = await Company.of(api, provider)
    provider.document = DOCUMENTS[lie]
    answer = await api.http.get("/sign-in/provider", params={"company": company.domain})
    assert refused(answer) == "identity_provider_unusable"


async def test_outside_development_nothing_inside_is_called(api: Api, provider: Provider) -> None:
    production = replace(api.settings, environment="production")
    seal, tenant = Seal(api.settings.secret_key), await api.tenant()
    for issuer in (
        provider.issuer,
        "https://127.0.0.1/realm",
        "https://10.0.0.1",
        "https://login.local",
        "http://a.example",
    ):
        with pytest.raises(Refusal) as refusal:
            async with api.database.transaction(Scope.platform()) as session:
                await providers.put(
                    session, seal, production, tenant_id=tenant, issuer=issuer,
                    client_id="x", client_secret="y", new_people_role=None, allowed_email_domains=[],
                )  # fmt: skip
        assert (refusal.value.code, refusal.value.field) == ("identity_provider_refused", "issuer")
    async with outbound.client(production) as http:
        for url in (f"https://127.0.0.1:{provider.port}/realm/keys", "https://localhost/realm/keys"):
            with pytest.raises(ProviderUnusable, match="may not be called"):
                await outbound.ask(http, "GET", url)
    assert provider.asked == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"issuer": "nonsense"}, "issuer"),
        ({"issuer": "https://login.example.com/?tenant=1"}, "issuer"),
        ({"issuer": "https://login.example.com/#x"}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"client_secret": "schön"}, "client_secret"),
        ({"new_people_role": "platform_operator"}, "new_people_role"),
        ({"allowed_email_domains": []}, "allowed_email_domains"),
        ({"allowed_email_domains": ["com"]}, "allowed_email_domains"),
        ({"allowed_email_domains": ["*.anxin.example"]}, "allowed_email_domains"),
        ({"allowed_email_domains": ["li@anxin.example"]}, "allowed_email_domains"),
        ({"allowed_email_domains": [f"{number}.example" for number in range(51)]}, "allowed_email_domains"),
    ],
)
async def test_a_provider_that_is_none(api: Api, provider: Provider, change: dict[str, Any], field: str) -> None:
    company = await Company.of(api, provider)
    answer = await company.sets(**({"issuer": provider.issuer} | change))
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_nobody_is_sent_on_to_elsewhere_or_told_who_has_a_provider(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    for return_to in ("//evil.example", "https://evil.example", "/\\evil.example", "", "/a\nb"):
        params = {"company": company.domain, "return_to": return_to}
        assert (await api.http.get("/sign-in/provider", params=params)).status_code in (400, 422)
    other = await api.tenant("plain")
    answers = [
        await api.http.get("/sign-in/provider", params={"company": domain})
        for domain in (await company_of(api, other), "nowhere.example.com", "")
    ]
    assert {(each.status_code, each.json()["detail"]) for each in answers} == {
        (404, "There is no such company here, or it signs in by password.")
    }


async def test_without_its_provider_nobody_who_came_through_it_stays(api: Api, provider: Provider) -> None:
    company = await Company.of(api, provider)
    cookie = session_cookie(await company.signs_in(provider))
    url, kept = await company.begins()
    path = f"/v1/tenants/{company.tenant_id}/identity-provider"
    neighbour = await api.client("tenant_admin", await api.tenant("neighbour"))
    assert (await api.http.delete(path, headers=neighbour.headers)).status_code == 404
    assert (await api.http.delete(path, headers=company.admin.headers)).status_code == 204
    assert (await api.http.get("/v1/me", headers={"cookie": cookie})).status_code == 401
    assert refused(await company.returns(provider.let_in(url), kept)) == "provider_sign_in_refused"
    assert (await company.admin.get(path)).status_code == 404
