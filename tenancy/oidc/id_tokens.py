"""An id_token is believed when everything about it fits (OpenID Connect Core 1.0, section 3.1.3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from infra.kit import clock
from tenancy.oidc.errors import ProviderSignInRefused

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures that only the provider can make: never `none`, never one with our shared secret (HS256)."""
LEEWAY_SECONDS = 60
KEYS_LIMIT = 100
TOKEN_LIMIT_CHARACTERS = 100_000
SUBJECT_LIMIT_CHARACTERS = 255
_KEY_TYPES = ("RSA", "EC")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is to their provider; `address` only where the provider vouches for it."""

    subject: str
    address: str | None
    name: str | None


def believed(id_token: object, keys: dict[str, Any], *, issuer: str, client_id: str, nonce: str) -> Identity:
    """Who the token is about. Raises `ProviderSignInRefused` saying which part does not fit."""
    if not isinstance(id_token, str) or len(id_token) > TOKEN_LIMIT_CHARACTERS:
        raise ProviderSignInRefused("The identity provider has sent no id_token.")
    try:
        token = jwt.decode(id_token, _signing_keys(keys), algorithms=list(ALGORITHMS))
        _registry(issuer, client_id, nonce).validate(token.claims)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ProviderSignInRefused(f"The id_token is not believed: {_said(error)}.") from error
    claims = token.claims
    _check_party(claims, client_id)
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_LIMIT_CHARACTERS:
        raise ProviderSignInRefused(f"`sub` has 1 to {SUBJECT_LIMIT_CHARACTERS} characters.")
    address, name = claims.get("email"), claims.get("name")
    return Identity(
        subject,
        address if isinstance(address, str) and claims.get("email_verified") is True else None,
        name if isinstance(name, str) else None,
    )


def _registry(issuer: str, client_id: str, nonce: str) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(clock.now().timestamp()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        nonce={"essential": True, "value": nonce},
    )


def _signing_keys(keys: dict[str, Any]) -> KeySet:
    listed = keys.get("keys")
    if not isinstance(listed, list) or len(listed) > KEYS_LIMIT:
        raise ProviderSignInRefused("The identity provider shows no keys.")
    signing = [
        {name: value for name, value in each.items() if name != "d"}
        for each in listed
        if isinstance(each, dict) and each.get("kty") in _KEY_TYPES and each.get("use", "sig") == "sig"
    ]
    if not signing:
        raise ProviderSignInRefused("The identity provider shows no key that signs.")
    return KeySet.import_key_set({"keys": signing})


def _check_party(claims: dict[str, Any], client_id: str) -> None:
    """A token for several audiences, or that names a party, must have been issued to us."""
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != client_id:
        raise ProviderSignInRefused("The id_token is not believed: it was issued to another client (azp).")


def _said(error: Exception) -> str:
    claim = getattr(error, "claim", None)
    return f"{type(error).__name__}{f' ({claim})' if claim else ''}"
