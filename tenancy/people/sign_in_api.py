"""HTTP for signing in and out. These requests have transactions of their own: a refused try stays counted."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from infra.kit import audit
from infra.kit.database import Database, Scope
from infra.kit.http import PUBLIC
from infra.kit.principal import Principal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import presented
from tenancy.callers import Callers
from tenancy.people import persons, sessions
from tenancy.people.errors import NoSession
from tenancy.people.models import Person
from tenancy.people.schemas import (
    Acceptance,
    Accepted,
    Forgotten,
    NewPassword,
    PasswordChange,
    SignedIn,
    SignIn,
    person_view,
)
from tenancy.people.sessions import Began, Cookies
from tenancy.people.sign_in import Browser, SignInDesk

TAGS = ["Sign-in"]
UNKNOWN_SOURCE = "unknown"


def browser_of(request: Request[Any, Any, Any], settings: Settings) -> Browser:
    """Where a request comes from: the connection's other end, or what our own proxies say of it."""
    source = request.client.host if request.client is not None else UNKNOWN_SOURCE
    if settings.trusted_proxies:
        lines = ",".join(request.headers.getall("x-forwarded-for", []))  # a proxy may add a line of its own
        forwarded = [each.strip() for each in lines.split(",") if each.strip()]
        if len(forwarded) >= settings.trusted_proxies:
            source = forwarded[-settings.trusted_proxies]
    return Browser(source[:64], request.headers.get("user-agent", ""))


def own_browser(request: Request[Any, Any, Any], settings: Settings) -> Browser:
    """Where a request of one of our pages, or of no page, comes from. Raises `CsrfRefused` for another site's: its form
    would sign the reader in as somebody else."""
    sessions.check_origin(request.headers.get("origin"), Cookies(settings.public_url).origin)
    return browser_of(request, settings)


def signed_in(person: Person, began: Began, settings: Settings) -> Response[SignedIn]:
    """The answer with a session's cookie."""
    body = SignedIn(person=person_view(person), csrf_token=began.row.csrf_token, expires_at=began.row.expires_at)
    headers = {"set-cookie": Cookies(settings.public_url).header(began.token), "cache-control": "no-store"}
    return Response(body, headers=headers)


@post("/sign-in", permission=PUBLIC, tags=TAGS, operation_id="SignIn", status_code=HTTP_200_OK)
async def sign_in(
    data: JSONBody[SignIn],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[SignedIn]:
    """Sign in with address and password; answered with the cookie of a session."""
    person, began = await SignInDesk(database, settings).with_password(
        company=data.company, address=data.address, password=data.password, browser=own_browser(request, settings)
    )
    return signed_in(person, began, settings)


@post("/sign-in/invitation", permission=PUBLIC, tags=TAGS, operation_id="AcceptInvitation", status_code=HTTP_200_OK)
async def accept_invitation(
    data: JSONBody[Acceptance],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[SignedIn]:
    """Accept an invitation by the token of its link: sets a password and begins a session."""
    person, began = await SignInDesk(database, settings).with_invitation(
        token=data.token, password=data.password, name=data.name, browser=own_browser(request, settings)
    )
    return signed_in(person, began, settings)


@post("/sign-in/forgotten", permission=PUBLIC, tags=TAGS, operation_id="ForgetPassword", status_code=HTTP_202_ACCEPTED)
async def forget_password(
    data: JSONBody[Forgotten],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Accepted:
    """Ask for a link to set a new password; the answer is the same whether there is such an account or not."""
    await SignInDesk(database, settings).forgot(
        company=data.company, address=data.address, browser=own_browser(request, settings)
    )
    return Accepted(detail="If there is such an account, a link was sent to its address; it is good for an hour.")


@post("/sign-in/reset", permission=PUBLIC, tags=TAGS, operation_id="ResetPassword", status_code=HTTP_200_OK)
async def reset_password(
    data: JSONBody[NewPassword],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[SignedIn]:
    """Set a new password by the token of a link; every session of before is over."""
    person, began = await SignInDesk(database, settings).with_reset(
        token=data.token, password=data.password, browser=own_browser(request, settings)
    )
    return signed_in(person, began, settings)


@post("/sign-in/password", permission=PUBLIC, tags=TAGS, operation_id="ChangePassword", status_code=HTTP_200_OK)
async def change_password(
    data: JSONBody[PasswordChange],
    request: Request[Any, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[SignedIn]:
    """Change one's own password, in a session; every session of before is over and one begins."""
    principal = await _person(request, database, settings)
    person, began = await SignInDesk(database, settings).change_password(
        person_id=principal.client_id,
        tenant_id=principal.tenant_id,
        current=data.current,
        password=data.password,
        browser=own_browser(request, settings),
    )
    return signed_in(person, began, settings)


@post("/sign-out", permission=PUBLIC, tags=TAGS, operation_id="SignOut", status_code=HTTP_200_OK)
async def sign_out(
    request: Request[Any, Any, Any], database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Accepted]:
    """End the session of the cookie."""
    principal = await _person(request, database, settings)
    async with database.transaction(Scope.platform()) as session:
        await sessions.end(session, persons.company_id(principal.tenant_id), str(principal.session_id))
    return _gone("This session has ended.", settings)


@post("/sign-out/everywhere", permission=PUBLIC, tags=TAGS, operation_id="SignOutEverywhere", status_code=HTTP_200_OK)
async def sign_out_everywhere(
    request: Request[Any, Any, Any], database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Accepted]:
    """End every session of the person, this one too."""
    principal = await _person(request, database, settings)
    company = persons.company_id(principal.tenant_id)
    async with database.transaction(Scope.platform()) as session:
        ended = await sessions.end_all(session, company, principal.client_id)
        with audit.acting_as(principal.client_id):
            await audit.record(session, company, "person.signed_out", principal.client_id, sessions=ended)
    return _gone(f"{ended} sessions have ended.", settings)


async def _person(request: Request[Any, Any, Any], database: Database, settings: Settings) -> Principal:
    """The person of the request's session, not on a visit. Raises `NoSession` for an API client."""
    async with database.transaction(Scope.platform()) as session:
        principal = await Callers(settings).authenticate(session, presented(dict(request.scope)))
    if principal.session_id is None or principal.visit_id is not None:
        raise NoSession("Only a person in a session does this, outside of visits; API clients revoke their tokens.")
    return principal


def _gone(detail: str, settings: Settings) -> Response[Accepted]:
    return Response(Accepted(detail=detail), headers={"set-cookie": Cookies(settings.public_url).removal()})


ROUTES = [
    sign_in,
    accept_invitation,
    forget_password,
    reset_password,
    change_password,
    sign_out,
    sign_out_everywhere,
]
