"""Refusals around identity providers."""

from __future__ import annotations

from http import HTTPStatus

from infra.kit.problems import InvalidInput, NotFound, Refusal


class ProviderNotFound(NotFound):
    """The company has no identity provider here, or there is no such company."""

    code = "identity_provider_not_found"


class ProviderRefused(InvalidInput):
    """A value of an identity provider is not acceptable; `field` names it."""

    code = "identity_provider_refused"


class ProviderUnusable(Refusal):
    """The identity provider does not answer, or not as OpenID Connect says."""

    code = "identity_provider_unusable"
    status = HTTPStatus.BAD_GATEWAY
    title = "The identity provider cannot be used"


class ProviderSignInRefused(Refusal):
    """A sign-in through an identity provider that was not begun here, is not believed, or is nobody's we know."""

    code = "provider_sign_in_refused"
    status = HTTPStatus.FORBIDDEN
    title = "This sign-in is not accepted"
