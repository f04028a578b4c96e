"""HTTP for people, invitations and visits."""

from __future__ import annotations

from typing import Any, cast

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from infra.kit import audit, clock
from infra.kit.database import PLATFORM
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden, InvalidInput
from infra.kit.sealing import Seal
from tenancy.people import invitations, persons, sessions, visits
from tenancy.people.errors import VisitNeeded
from tenancy.people.models import Invitation, Person, PersonSession, Visit
from tenancy.people.schemas import (
    InvitationView,
    LanguageChange,
    Me,
    NewInvitation,
    NewVisit,
    PersonView,
    Removal,
    RemovedPersonView,
    RoleChange,
    SessionList,
    VisitView,
    invitation_view,
    person_view,
    removed_person_view,
    session_view,
    visit_view,
)
from tenancy.roles import ROLES, Role, may_grant

PEOPLE, INVITATIONS, VISITS = ["People"], ["Invitations"], ["Visits"]
NO_VISIT = "Begin a visit at POST /v1/tenants/{id}/visits to see a tenant's people."


@get("/v1/me", permission="self:manage", tags=PEOPLE, operation_id="GetMe")
async def get_me(session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]) -> Me:
    """Who the caller is and what it may do."""
    person = row = None
    if principal.session_id is not None:
        company = persons.company_id(principal.tenant_id)
        person = await persons.find(session, principal.client_id, company)
        row = await session.get_one(PersonSession, (company, principal.session_id))
    return Me(
        caller_id=principal.client_id,
        role=principal.role,
        tenant_id=principal.tenant_id,
        permissions=sorted(principal.permissions),
        person=None if person is None else person_view(person),
        csrf_token=None if row is None else row.csrf_token,
        expires_at=None if row is None else row.expires_at,
    )


@get("/v1/me/sessions", permission="self:manage", tags=PEOPLE, operation_id="ListOwnSessions")
async def list_own_sessions(
    session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> SessionList:
    """Where the caller is signed in; an API client is so nowhere."""
    company = persons.company_id(principal.tenant_id)
    rows = await sessions.of_person(session, company, principal.client_id)
    return SessionList(items=[session_view(row, principal.session_id) for row in rows])


@put("/v1/me/language", permission="self:manage", tags=PEOPLE, operation_id="ChangeLanguage")
async def change_language(
    data: JSONBody[LanguageChange], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PersonView:
    """Choose the language that the caller's mails are written in."""
    if principal.session_id is None:
        raise Forbidden("An API client gets no mail; a person changes this when signed in.")
    company = persons.company_id(principal.tenant_id)
    person = await persons.find(session, principal.client_id, company, for_update=True)
    await persons.change_language(session, person, data.language)
    return person_view(person)


@get("/v1/people", permission="people:read", tags=PEOPLE, operation_id="ListPeople")
async def list_people(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PersonView]:
    """People, newest first; removed ones too. The platform's people see those of a tenant on a visit."""
    query = _seen(principal, select(Person), Person.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Person.person_id,), limit=limit, after=after)
    return Page(items=[person_view(row) for row in rows], next=following)


@get("/v1/people/{person_id:str}", permission="people:read", tags=PEOPLE, operation_id="GetPerson")
async def get_person(
    person_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PersonView:
    """One person."""
    person = await persons.find(session, person_id, principal.tenant_id)
    if principal.is_unvisiting_person and person.tenant_id != PLATFORM:
        raise VisitNeeded(NO_VISIT, field="person_id")
    return person_view(person)


@post(
    "/v1/people/{person_id:str}/role",
    permission="people:write",
    tags=PEOPLE,
    operation_id="ChangeRole",
    status_code=HTTP_200_OK,
)
async def change_role(
    person_id: FromPath[str],
    data: JSONBody[RoleChange],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> PersonView:
    """Give a person another role, from its next request on. API clients of an admin's making that may do more than the
    new role are revoked. People of the platform change the roles of its own people alone."""
    _check_grant(principal, data.role)
    person = await persons.find(session, person_id, principal.tenant_id, for_update=True)
    if principal.is_unvisiting_person and person.tenant_id != PLATFORM:
        raise VisitNeeded(NO_VISIT, field="person_id")
    return person_view(await persons.change_role(session, person, data.role))


@post(
    "/v1/people/{person_id:str}/removal",
    permission="people:write",
    tags=PEOPLE,
    operation_id="RemovePerson",
    status_code=HTTP_200_OK,
)
async def remove_person(
    person_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    data: JSONBody[Removal | None] = None,
) -> RemovedPersonView:
    """Take a person's access away: every session ends with this answer, and the API clients that the person made, and
    so knows the secrets of, are revoked. With `keep_api_clients` they live on; the answer names them either way."""
    person = await persons.find(session, person_id, principal.tenant_id, for_update=True)
    keeps = data is not None and data.keep_api_clients
    clients = await persons.remove(session, person, keeps_api_clients=keeps)
    return removed_person_view(person, clients)


@post(
    "/v1/people/{person_id:str}/sign-out",
    permission="people:write",
    tags=PEOPLE,
    operation_id="SignPersonOut",
    status_code=HTTP_200_OK,
)
async def sign_person_out(
    person_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PersonView:
    """End every session of a person, who may sign in again."""
    person = await persons.find(session, person_id, principal.tenant_id)
    ended = await sessions.end_all(session, person.tenant_id, person.person_id)
    await audit.record(session, person.tenant_id, "person.signed_out", person.person_id, sessions=ended)
    return person_view(person)


@post("/v1/invitations", permission="people:write", tags=INVITATIONS, operation_id="InvitePerson")
async def invite_person(
    data: JSONBody[NewInvitation],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    seal: NamedDependency[Seal],
) -> InvitationView:
    """Invite somebody by mail, with a link that is good once and for a week. A person of the platform invites to a
    tenant its first admin, and nobody of the platform."""
    _check_grant(principal, data.role)
    tenant_id = data.tenant_id if principal.tenant_id is None else principal.tenant_for(data.tenant_id)
    invitation, _ = await invitations.invite(
        session,
        seal,
        tenant_id=tenant_id,
        address=data.address,
        name=data.name,
        role=data.role,
        language=data.language,
        is_by_visitor=principal.is_unvisiting_person,
    )
    return invitation_view(invitation)


@get("/v1/invitations", permission="people:read", tags=INVITATIONS, operation_id="ListInvitations")
async def list_invitations(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[InvitationView]:
    """Invitations, newest first. The platform's people see those of a tenant on a visit."""
    query = _seen(principal, select(Invitation), Invitation.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Invitation.invitation_id,), limit=limit, after=after)
    return Page(items=[invitation_view(row) for row in rows], next=following)


@post(
    "/v1/invitations/{invitation_id:str}/withdrawal",
    permission="people:write",
    tags=INVITATIONS,
    operation_id="WithdrawInvitation",
    status_code=HTTP_200_OK,
)
async def withdraw_invitation(
    invitation_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> InvitationView:
    """Make an invitation's link worthless."""
    return invitation_view(await invitations.withdraw(session, invitation_id, principal.tenant_id))


@post("/v1/tenants/{tenant_id:str}/visits", permission="visits:write", tags=VISITS, operation_id="BeginVisit")
async def begin_visit(
    tenant_id: FromPath[str],
    data: JSONBody[NewVisit],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> VisitView:
    """Enter a tenant for an hour, with a reason that it reads; send the visit's id in `Seatline-Visit` from then on."""
    return visit_view(await visits.begin(session, tenant_id, principal, data.reason), clock.now())


@get("/v1/visits", permission="visits:read", tags=VISITS, operation_id="ListVisits")
async def list_visits(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[VisitView]:
    """Operators' visits, newest first: who, when and why."""
    query = principal.narrowed(select(Visit), Visit.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Visit.visit_id,), limit=limit, after=after)
    now = clock.now()
    return Page(items=[visit_view(row, now) for row in rows], next=following)


@post(
    "/v1/visits/{visit_id:str}/end",
    permission="visits:end",
    tags=VISITS,
    operation_id="EndVisit",
    status_code=HTTP_200_OK,
)
async def end_visit(
    visit_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> VisitView:
    """End a visit at once; the tenant may do so too."""
    return visit_view(await visits.end(session, visit_id, principal.tenant_id), clock.now())


def _seen(
    principal: Principal, query: Select[Any], column: InstrumentedAttribute[str], tenant_id: str | None
) -> Select[Any]:
    """A list narrowed to whom the caller sees. Raises `VisitNeeded` for a tenant's people without a visit."""
    if not principal.is_unvisiting_person:
        return principal.narrowed(query, column, tenant_id)
    if tenant_id is not None:
        raise VisitNeeded(NO_VISIT, field="tenant_id")
    return query.where(column == PLATFORM)


def _check_grant(principal: Principal, role: str) -> None:
    if role not in ROLES:
        raise InvalidInput(f"A role is one of {', '.join(ROLES)}.", field="role")
    if not may_grant(cast("Role", principal.role), role):
        raise Forbidden(f"The role {principal.role} may not give anybody the role {role}.", field="role")


ROUTES = [
    get_me,
    list_own_sessions,
    change_language,
    list_people,
    get_person,
    change_role,
    remove_person,
    sign_person_out,
    invite_person,
    list_invitations,
    withdraw_invitation,
    begin_visit,
    list_visits,
    end_visit,
]
