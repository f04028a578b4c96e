"""HTTP for identity providers, and for signing in through them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, put
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_303_SEE_OTHER
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import PLATFORM, Database, Scope
from infra.kit.http import PUBLIC, Body, View, on_refusal
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput, Refusal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import presented
from tenancy.oidc import arrivals, flow, outbound, providers
from tenancy.oidc.errors import ProviderNotFound, ProviderSignInRefused
from tenancy.oidc.models import IdentityProvider
from tenancy.people import persons, sessions
from tenancy.people.pages import DONE_PATH, refusal_page
from tenancy.people.sessions import Cookies, cookie_value
from tenancy.people.sign_in import SignInDesk
from tenancy.people.sign_in_api import TAGS as SIGN_IN
from tenancy.people.sign_in_api import browser_of

TAGS = ["Identity providers"]
RETURN_LIMIT_CHARACTERS = 500
_ERROR = re.compile(r"[a-z_]{1,50}\Z")
ReturnedState = Annotated[str | None, QueryParameter(name="state", description="As it was sent to the provider")]


class NewIdentityProvider(Body):
    """The tenant's OpenID provider. `new_people_role`: what somebody unknown becomes; null sends them away.

    `allowed_email_domains` goes with it: of which domains the verified addresses of such people are (`example.com`,
    without those below it). Who is known or invited may have any address.
    """

    issuer: str
    client_id: str
    client_secret: str
    new_people_role: str | None = None
    allowed_email_domains: list[str] = msgspec.field(default_factory=list[str])


class IdentityProviderView(View):
    """The tenant's OpenID provider, without our secret there. Register `redirect_uri` with it."""

    tenant_id: str
    issuer: str
    client_id: str
    new_people_role: str | None
    allowed_email_domains: list[str]
    redirect_uri: str
    changed_at: datetime
    changed_by: str


@put(
    "/v1/tenants/{tenant_id:str}/identity-provider",
    permission="identity_providers:write",
    tags=TAGS,
    operation_id="PutIdentityProvider",
)
async def put_identity_provider(
    *,
    tenant_id: FromPath[str],
    data: JSONBody[NewIdentityProvider],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
    seal: NamedDependency[Seal],
) -> IdentityProviderView:
    """Let the tenant's people sign in through its own identity provider."""
    provider = await providers.put(
        session,
        seal,
        settings,
        tenant_id=principal.tenant_for(tenant_id),
        issuer=data.issuer,
        client_id=data.client_id,
        client_secret=data.client_secret,
        new_people_role=data.new_people_role,
        allowed_email_domains=data.allowed_email_domains,
    )
    return _view(provider, settings)


@get(
    "/v1/tenants/{tenant_id:str}/identity-provider",
    permission="identity_providers:read",
    tags=TAGS,
    operation_id="GetIdentityProvider",
)
async def get_identity_provider(
    tenant_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> IdentityProviderView:
    """The tenant's identity provider."""
    return _view(await providers.get(session, principal.tenant_for(tenant_id)), settings)


@delete(
    "/v1/tenants/{tenant_id:str}/identity-provider",
    permission="identity_providers:remove",
    tags=TAGS,
    operation_id="RemoveIdentityProvider",
)
async def remove_identity_provider(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> None:
    """Let nobody in through the identity provider any more; sessions that began there end. Who has come by no other way
    sets a password by the link of `POST /sign-in/forgotten`."""
    await providers.remove(session, principal.tenant_for(tenant_id))


def _refused(request: Request[Any, Any, Any], refusal: Refusal) -> Response[Any]:
    """A browser is shown a page, a program the problem document."""
    return refusal_page(request, refusal) or on_refusal(request, refusal)


@get(
    "/sign-in/provider",
    permission=PUBLIC,
    tags=SIGN_IN,
    operation_id="BeginProviderSignIn",
    status_code=303,
    exception_handlers={Refusal: _refused},
)
async def begin_provider_sign_in(
    *,
    company: FromQuery[str],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    seal: NamedDependency[Seal],
    return_to: FromQuery[str] = DONE_PATH,
) -> Response[None]:
    """Send the browser to the identity provider of a company (its SIP domain); it comes back to `return_to` here,
    or to a page that says who has signed in."""
    _check_return(return_to)
    await SignInDesk(database, settings).take_source(browser_of(request, settings))
    async with database.transaction(Scope.platform()) as session:
        tenant_id = await persons.company_of(session, company)
        provider = None if tenant_id in (None, PLATFORM) else await session.get(IdentityProvider, tenant_id)
    if provider is None:
        raise ProviderNotFound("There is no such company here, or it signs in by password.", field="company")
    async with outbound.client(settings) as http:
        url, begun = await flow.begin(http, provider, settings, return_to=return_to)
    answer = _redirect(url)
    answer.set_cookie(_cookie(settings, begun.sealed(seal), int(flow.LIFETIME.total_seconds())))
    return answer


@get(
    flow.CALLBACK + "/{tenant_id:str}",
    permission=PUBLIC,
    tags=SIGN_IN,
    operation_id="FinishProviderSignIn",
    status_code=303,
    exception_handlers={Refusal: _refused},
)
async def finish_provider_sign_in(
    *,
    tenant_id: FromPath[str],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    seal: NamedDependency[Seal],
    code: FromQuery[str | None] = None,
    returned_state: ReturnedState = None,
    error: FromQuery[str | None] = None,
    iss: FromQuery[str | None] = None,
) -> Response[None]:
    """Where the identity provider sends the browser back: begins a session and goes on to where it was wanted."""
    browser = browser_of(request, settings)
    await SignInDesk(database, settings).take_source(browser)
    kept = cookie_value(presented(dict(request.scope)).cookie, _cookie_name(settings))
    begun = flow.remembered(kept, seal, returned_state, tenant_id=tenant_id)
    if error is not None or not code:
        shown = error if error and _ERROR.match(error) else "no code"
        raise ProviderSignInRefused(f"The identity provider has not let you in ({shown}).", field="error")
    async with database.transaction(Scope.platform()) as session:
        provider = await session.get(IdentityProvider, begun.tenant_id)
    if provider is None:
        raise providers.gone()
    async with outbound.client(settings) as http:
        identity = await flow.finish(
            http,
            provider,
            begun,
            settings,
            client_secret=seal.open(provider.sealed_client_secret),
            code=code,
            answering_issuer=iss,
        )
    async with database.transaction(Scope.platform()) as session:
        await providers.hold(session, provider)
        person = await arrivals.person_of(session, provider, identity)
        began = await sessions.begin(
            session, person, way=providers.BY_PROVIDER, source=browser.source, user_agent=browser.user_agent
        )
    answer = _redirect(settings.public_url.rstrip("/") + begun.return_to)
    answer.headers["set-cookie"] = Cookies(settings.public_url).header(began.token)
    answer.set_cookie(_cookie(settings, "", 0))
    return answer


def _redirect(url: str) -> Response[None]:
    return Response(None, status_code=HTTP_303_SEE_OTHER, headers={"location": url, "cache-control": "no-store"})


def _cookie_name(settings: Settings) -> str:
    return "__Host-seatline_sign_in" if Cookies(settings.public_url).secure else "seatline_sign_in"


def _cookie(settings: Settings, value: str, max_age_seconds: int) -> Cookie:
    return Cookie(
        key=_cookie_name(settings),
        value=value,
        path="/",
        max_age=max_age_seconds,
        httponly=True,
        samesite="lax",
        secure=Cookies(settings.public_url).secure,
    )


def _check_return(return_to: str) -> None:
    """Only a place of our own: nobody is sent on to elsewhere from here."""
    is_own = return_to.startswith("/") and not return_to.startswith("//") and "\\" not in return_to
    if not is_own or len(return_to) > RETURN_LIMIT_CHARACTERS or not return_to.isascii() or not return_to.isprintable():
        raise InvalidInput("`return_to` is a path here, such as /seats.", field="return_to")


def _view(provider: IdentityProvider, settings: Settings) -> IdentityProviderView:
    return IdentityProviderView(
        tenant_id=provider.tenant_id,
        issuer=provider.issuer,
        client_id=provider.client_id,
        new_people_role=provider.new_people_role,
        allowed_email_domains=provider.allowed_email_domains,
        redirect_uri=flow.redirect_uri(settings, provider.tenant_id),
        changed_at=provider.changed_at,
        changed_by=provider.changed_by,
    )


ROUTES = [
    put_identity_provider,
    get_identity_provider,
    remove_identity_provider,
    begin_provider_sign_in,
    finish_provider_sign_in,
]
