"""What an identity provider says of itself (OpenID Connect Discovery 1.0), as far as we believe it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from infra.kit.settings import Settings
from tenancy.oidc import outbound
from tenancy.oidc.errors import ProviderUnusable
from tenancy.webhooks.errors import TargetRefused

WELL_KNOWN = "/.well-known/openid-configuration"
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
"""How we show our secret at the token endpoint, the better one first."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a provider is asked for what."""

    authorization: str
    token: str
    keys: str
    secret_method: str
    says_issuer: bool
    """Whether it names itself in its answers (RFC 9207)."""


async def discover(http: httpx.AsyncClient, issuer: str, settings: Settings) -> Endpoints:
    """Ask the issuer for its endpoints. Raises `ProviderUnusable` for anything that is not as the standard says, or
    that leads where we may not go."""
    status, document = await outbound.ask(http, "GET", issuer.rstrip("/") + WELL_KNOWN)
    if status != HTTPStatus.OK:
        raise ProviderUnusable(f"{issuer}{WELL_KNOWN} answers {status}.")
    if document.get("issuer") != issuer:
        raise ProviderUnusable("The identity provider calls itself by another issuer than the one that is set.")
    challenges = document.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise ProviderUnusable("The identity provider does not know PKCE with S256 (RFC 7636).")
    offered = document.get("token_endpoint_auth_methods_supported")
    known = offered if isinstance(offered, list) else ["client_secret_basic"]
    method = next((each for each in SECRET_METHODS if each in known), None)
    if method is None:
        raise ProviderUnusable(f"The identity provider takes none of {', '.join(SECRET_METHODS)}.")
    return Endpoints(
        _endpoint(document, "authorization_endpoint", settings),
        _endpoint(document, "token_endpoint", settings),
        _endpoint(document, "jwks_uri", settings),
        method,
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: dict[str, Any], name: str, settings: Settings) -> str:
    url = document.get(name)
    if not isinstance(url, str):
        raise ProviderUnusable(f"The identity provider names no {name}.")
    try:
        outbound.check_url(url, settings)
    except TargetRefused as refusal:
        raise ProviderUnusable(f"Its {name} may not be called: {refusal.detail}") from refusal
    return url
