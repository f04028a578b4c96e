"""Request and response bodies around people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from infra.kit.database import PLATFORM
from infra.kit.http import Body, View
from tenancy.models import Client
from tenancy.people import invitations
from tenancy.people.models import Invitation, Person, PersonSession, Visit


class SignIn(Body):
    """Address and password; `company` is the company's SIP domain, null for the platform's own people."""

    address: str
    password: str
    company: str | None = None


class Acceptance(Body):
    """The token of an invitation's link and the password to sign in with; `name` in place of the invitation's."""

    token: str
    password: str
    name: str | None = None


class Forgotten(Body):
    """Whose password is forgotten."""

    address: str
    company: str | None = None


class NewPassword(Body):
    """The token of a link for a new password, and the password."""

    token: str
    password: str


class PasswordChange(Body):
    """The present password and the new one."""

    current: str
    password: str


class Accepted(View):
    """The request is taken; whether there is such an account is not told."""

    detail: str


class PersonView(View):
    """Somebody who works for a tenant, or (`tenant_id` null) for the platform. `state`: `active` or `removed`.

    `ways`: how they may sign in, of `password` and `provider`.
    """

    person_id: str
    tenant_id: str | None
    address: str
    name: str
    role: str
    language: str
    state: str
    ways: list[str]
    created_at: datetime
    signed_in_at: datetime | None
    removed_at: datetime | None


class Removal(Body):
    """How a person is removed. `keep_api_clients`: the API clients that they made are not revoked with them."""

    keep_api_clients: bool = False


class MadeClientView(View):
    """An API client that a person made, itself or by another client of theirs; `revoked_at` null: it lives on."""

    client_id: str
    name: str
    role: str
    revoked_at: datetime | None


class RemovedPersonView(PersonView):
    """Somebody whose access was taken away, with the API clients of theirs that were in use until then."""

    api_clients: list[MadeClientView]


class SignedIn(View):
    """A session has begun; its cookie came with the answer. `csrf_token` goes with every change, in `X-CSRF-Token`."""

    person: PersonView
    csrf_token: str
    expires_at: datetime


class Me(View):
    """The caller: an API client, or a person in a session. `csrf_token`, `expires_at`: of the session."""

    caller_id: str
    role: str
    tenant_id: str | None
    permissions: list[str]
    person: PersonView | None
    csrf_token: str | None
    expires_at: datetime | None


class SessionView(View):
    """A signed-in browser. `way`: `password`, `provider`, `invitation` or `reset`; `is_this_one`: the caller's."""

    session_id: str
    way: str
    source: str
    user_agent: str
    began_at: datetime
    seen_at: datetime
    expires_at: datetime
    is_this_one: bool


class SessionList(View):
    """The sessions of a person that have not ended, newest first."""

    items: list[SessionView]


class LanguageChange(Body):
    """`zh` or `en`: the language of the mails and hand-outs that a person gets."""

    language: str


class RoleChange(Body):
    """The role that a person has from now on."""

    role: str


class NewInvitation(Body):
    """Somebody to invite by mail. `language`: `zh` or `en`. Operators name the tenant; null invites to the platform."""

    address: str
    name: str
    role: str
    language: str = "zh"
    tenant_id: str | None = None


class InvitationView(View):
    """An invitation. `state`: `open`, `accepted`, `withdrawn` or `expired`."""

    invitation_id: str
    tenant_id: str | None
    address: str
    name: str
    role: str
    language: str
    state: str
    invited_by: str
    created_at: datetime
    expires_at: datetime
    person_id: str | None


class NewVisit(Body):
    """Why an operator enters the tenant; the tenant reads it."""

    reason: str


class VisitView(View):
    """An operator within a tenant. `state`: `going_on` or `over`."""

    visit_id: str
    tenant_id: str
    visitor: str
    reason: str
    state: str
    began_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def person_view(person: Person) -> PersonView:
    """A person as the API shows it."""
    ways = [("password", person.password_hash), ("provider", person.subject)]
    return PersonView(
        person_id=person.person_id,
        tenant_id=invitations.tenant_of(person.tenant_id),
        address=person.address,
        name=person.name,
        role=person.role,
        language=person.language,
        state="active" if person.removed_at is None else "removed",
        ways=[way for way, there in ways if there is not None],
        created_at=person.created_at,
        signed_in_at=person.signed_in_at,
        removed_at=person.removed_at,
    )


def removed_person_view(person: Person, clients: Sequence[Client]) -> RemovedPersonView:
    """Somebody removed as the API shows them, with clients of theirs."""
    made = [
        MadeClientView(client_id=each.client_id, name=each.name, role=each.role, revoked_at=each.revoked_at)
        for each in clients
    ]
    return RemovedPersonView(**msgspec.structs.asdict(person_view(person)), api_clients=made)


def session_view(row: PersonSession, own_session_id: str | None) -> SessionView:
    """A session as the API shows it."""
    return SessionView(
        session_id=row.session_id,
        way=row.way,
        source=row.source,
        user_agent=row.user_agent,
        began_at=row.began_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
        is_this_one=row.session_id == own_session_id,
    )


def invitation_view(invitation: Invitation) -> InvitationView:
    """An invitation as the API shows it."""
    return InvitationView(
        invitation_id=invitation.invitation_id,
        tenant_id=None if invitation.tenant_id == PLATFORM else invitation.tenant_id,
        address=invitation.address,
        name=invitation.name,
        role=invitation.role,
        language=invitation.language,
        state=invitations.state_of(invitation),
        invited_by=invitation.invited_by,
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
        person_id=invitation.person_id,
    )


def visit_view(visit: Visit, now: datetime) -> VisitView:
    """A visit as the API shows it."""
    return VisitView(
        visit_id=visit.visit_id,
        tenant_id=visit.tenant_id,
        visitor=visit.visitor,
        reason=visit.reason,
        state="going_on" if visit.ended_at is None and visit.expires_at > now else "over",
        began_at=visit.began_at,
        expires_at=visit.expires_at,
        ended_at=visit.ended_at,
    )
