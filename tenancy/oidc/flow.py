"""The authorization code flow: to the provider with a challenge, back with a code, the code for an id_token.

What must be remembered in between (state, nonce, the verifier of PKCE) stays with the browser, in a sealed cookie that
is good for ten minutes: nobody can fill a table of ours, and an answer counts only in the browser that asked.
"""

from __future__ import annotations

import hmac
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, cast

import httpx
import msgspec
from authlib.oauth2.client import OAuth2Client
from cryptography.fernet import InvalidToken

from infra.kit import clock, sealing
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from tenancy.oidc import id_tokens, outbound
from tenancy.oidc.discovery import Endpoints, discover
from tenancy.oidc.errors import ProviderSignInRefused, ProviderUnusable
from tenancy.oidc.id_tokens import Identity
from tenancy.oidc.models import IdentityProvider

LIFETIME = timedelta(minutes=10)
SCOPE = "openid email profile"
CALLBACK = "/sign-in/callback"
"""Each tenant's provider has an address of its own below it, so that a provider which sends its visitors on to another
one does not get their codes (mix-up: RFC 9700, section 4.4.2)."""


class Begun(msgspec.Struct, frozen=True):
    """What the browser keeps, sealed, until it comes back."""

    tenant_id: str
    issuer: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    expires_at: float

    def sealed(self, seal: Seal) -> str:
        """As the value of a cookie."""
        return seal.close(msgspec.json.encode(self)).decode("ascii")


class _Client(OAuth2Client):
    """Authlib's client over our judged HTTP client."""

    def _fetch_token(
        self, url: str, *, body: str, auth: Any, method: str, headers: Mapping[str, str], **_: Any
    ) -> Coroutine[Any, Any, tuple[int, dict[str, Any]]]:
        uri, signed, content = auth.prepare(method, url, dict(headers), body)
        http = cast("httpx.AsyncClient", self.session)
        return outbound.ask(http, method, uri, headers=signed, content=content)


def redirect_uri(settings: Settings, tenant_id: str) -> str:
    """Where the provider of a tenant sends browsers back to; the tenant registers it there."""
    return f"{settings.public_url.rstrip('/')}{CALLBACK}/{tenant_id}"


async def begin(
    http: httpx.AsyncClient, provider: IdentityProvider, settings: Settings, *, return_to: str
) -> tuple[str, Begun]:
    """Where to send the browser, and what it keeps. Raises `ProviderUnusable`."""
    endpoints = await discover(http, provider.issuer, settings)
    begun = Begun(
        tenant_id=provider.tenant_id,
        issuer=provider.issuer,
        state=sealing.new_secret(),
        nonce=sealing.new_secret(),
        verifier=sealing.new_secret(),
        return_to=return_to,
        expires_at=(clock.now() + LIFETIME).timestamp(),
    )
    client = _client(http, provider, endpoints, settings, client_secret=None)
    url, _ = client.create_authorization_url(
        endpoints.authorization, state=begun.state, code_verifier=begun.verifier, nonce=begun.nonce
    )
    return str(url), begun


def remembered(cookie: str | None, seal: Seal, state: str | None, *, tenant_id: str) -> Begun:
    """What this browser has begun with this tenant's provider.

    Raises `ProviderSignInRefused` where it has begun nothing that has this state.
    """
    try:
        begun = msgspec.json.decode(seal.open_bytes((cookie or "").encode()), type=Begun)
    except (InvalidToken, msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ProviderSignInRefused("This browser has begun no sign-in; begin at GET /sign-in/provider.") from error
    if begun.expires_at <= clock.now().timestamp():
        raise ProviderSignInRefused("The sign-in took longer than ten minutes; begin anew.")
    if not hmac.compare_digest(begun.state.encode(), (state or "").encode("utf-8", "replace")):
        raise ProviderSignInRefused("The answer belongs to another sign-in (state); begin anew.", field="state")
    if begun.tenant_id != tenant_id:
        raise ProviderSignInRefused("The answer comes from another company's identity provider; begin anew.")
    return begun


async def finish(
    http: httpx.AsyncClient,
    provider: IdentityProvider,
    begun: Begun,
    settings: Settings,
    *,
    client_secret: str,
    code: str,
    answering_issuer: str | None,
) -> Identity:
    """Who has come back with this code. Raises `ProviderSignInRefused` and `ProviderUnusable`."""
    if provider.issuer != begun.issuer:
        raise ProviderSignInRefused("The company's identity provider has changed meanwhile; begin anew.")
    endpoints = await discover(http, provider.issuer, settings)
    is_silent = answering_issuer is None and not endpoints.says_issuer
    if not is_silent and answering_issuer != provider.issuer:
        raise ProviderSignInRefused("Another issuer has answered (RFC 9207); begin anew.", field="iss")
    client = _client(http, provider, endpoints, settings, client_secret=client_secret)
    asking = client.fetch_token(
        endpoints.token, grant_type="authorization_code", code=code, code_verifier=begun.verifier
    )
    status, answer = await cast("Coroutine[Any, Any, tuple[int, dict[str, Any]]]", asking)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ProviderUnusable(f"The identity provider's token endpoint answers {status}.")
    if status != HTTPStatus.OK:
        raise ProviderSignInRefused("The identity provider does not take the code; begin anew.", field="code")
    keys_status, keys = await outbound.ask(http, "GET", endpoints.keys)
    if keys_status != HTTPStatus.OK:
        raise ProviderUnusable(f"The identity provider's keys answer {keys_status}.")
    return id_tokens.believed(
        answer.get("id_token"), keys, issuer=provider.issuer, client_id=provider.client_id, nonce=begun.nonce
    )


def _client(
    http: httpx.AsyncClient,
    provider: IdentityProvider,
    endpoints: Endpoints,
    settings: Settings,
    *,
    client_secret: str | None,
) -> _Client:
    return _Client(
        http,
        client_id=provider.client_id,
        client_secret=client_secret,
        token_endpoint_auth_method=endpoints.secret_method,
        scope=SCOPE,
        redirect_uri=redirect_uri(settings, provider.tenant_id),
        code_challenge_method="S256",
    )
