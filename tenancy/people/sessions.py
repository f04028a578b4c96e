"""Sessions of people: kept at the server, named by a cookie, ended by idleness, age, sign-out and removal.

The cookie is out of reach of scripts, goes over TLS only (where the installation is reached by https) and is not sent
by other sites' forms (`SameSite=Lax`). A change needs the session's `X-CSRF-Token` besides, and when a browser says
where the request comes from, that must be us.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, sealing
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.principal import Presented, Principal
from infra.kit.problems import Unauthenticated
from tenancy.people.errors import CsrfRefused
from tenancy.people.models import Person, PersonSession
from tenancy.roles import Role, permissions_of_person

IDLE = timedelta(minutes=60)
"""A session ends when nothing has been asked for this long."""
LIFETIME = timedelta(hours=12)
"""However busy, a session ends after this."""
SEEN_EVERY = timedelta(minutes=1)
TOKEN_PREFIX = "sas_"  # noqa: S105 - a prefix that lets scanners recognise a leaked token
USER_AGENT_LIMIT_CHARACTERS = 200
SESSIONS_LIMIT = 20
"""Of one person at a time; with one more the oldest ends."""


@dataclass(frozen=True, slots=True)
class Began:
    """A new session, and the token for its cookie, which is shown this once."""

    row: PersonSession
    token: str


class Cookies:
    """How the session's cookie is written and read, and where our own pages come from."""

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self.secure = parts.scheme == "https"
        self.origin = origin_of(public_url)
        self.name = "__Host-seatline_session" if self.secure else "seatline_session"

    def header(self, token: str) -> str:
        """`Set-Cookie` with a session; the browser keeps it until it is closed, the server decides when it ends."""
        return f"{self.name}={token}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if self.secure else ''}"

    def removal(self) -> str:
        """`Set-Cookie` that makes the browser forget it."""
        return f"{self.name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{'; Secure' if self.secure else ''}"

    def token_of(self, cookie: str | None) -> str | None:
        """The session's token in a `Cookie` header; None where there is none."""
        return cookie_value(cookie, self.name)


def origin_of(url: str) -> str:
    """The origin of a URL as browsers write it (RFC 6454, section 6.2): small letters, and no port that is usual."""
    parts = urlsplit(url)
    usual = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(usual)}"


def check_origin(origin: str | None, own: str) -> None:
    """Raise `CsrfRefused` where a browser says that a request comes from a page that is not ours."""
    if origin is not None and origin != own:
        raise CsrfRefused(f"The request comes from another site than {own}.", field="Origin")


def cookie_value(cookie: str | None, name: str) -> str | None:
    """A cookie by its name in a `Cookie` header; None where it is missing or empty.

    Split by hand (RFC 6265, section 5.4): `http.cookies` gives everything up for one odd cookie of somebody else's.
    """
    for pair in (cookie or "").split(";"):
        found, _, value = pair.strip().partition("=")
        if found == name:
            return value.strip('"') or None
    return None


async def begin(session: AsyncSession, person: Person, *, way: str, source: str, user_agent: str) -> Began:
    """A new session of a person; ends its oldest beyond `SESSIONS_LIMIT`. Needs the platform's role."""
    now = clock.now()
    live = list(await of_person(session, person.tenant_id, person.person_id))
    for oldest in live[SESSIONS_LIMIT - 1 :]:
        oldest.ended_at = now
    token = TOKEN_PREFIX + sealing.new_secret()
    row = PersonSession(
        tenant_id=person.tenant_id,
        session_id=new_id("ses"),
        person_id=person.person_id,
        token_digest=sealing.digest(token),
        csrf_token=sealing.new_secret(),
        way=way,
        source=source,
        user_agent=user_agent[:USER_AGENT_LIMIT_CHARACTERS],
        began_at=now,
        seen_at=now,
        expires_at=now + LIFETIME,
        ended_at=None,
    )
    person.signed_in_at = now
    session.add(row)
    await session.flush()
    with audit.acting_as(person.person_id):
        await audit.record(session, person.tenant_id, "person.signed_in", person.person_id, way=way, source=source)
    return Began(row, token)


async def of_person(session: AsyncSession, tenant_id: str, person_id: str) -> Sequence[PersonSession]:
    """A person's sessions that have not ended, newest first."""
    now = clock.now()
    query = (
        select(PersonSession)
        .where(
            PersonSession.tenant_id == tenant_id,
            PersonSession.person_id == person_id,
            PersonSession.ended_at.is_(None),
            PersonSession.expires_at > now,
            PersonSession.seen_at > now - IDLE,
        )
        .order_by(PersonSession.session_id.desc())
    )
    return (await session.execute(query)).scalars().all()


async def end(session: AsyncSession, tenant_id: str, session_id: str) -> None:
    """End one session from this commit on."""
    statement = update(PersonSession).where(
        PersonSession.tenant_id == tenant_id,
        PersonSession.session_id == session_id,
        PersonSession.ended_at.is_(None),
    )
    await session.execute(statement.values(ended_at=clock.now()))


async def end_all(session: AsyncSession, tenant_id: str, person_id: str) -> int:
    """End every session of a person from this commit on; returns how many had not ended."""
    statement = update(PersonSession).where(
        PersonSession.tenant_id == tenant_id,
        PersonSession.person_id == person_id,
        PersonSession.ended_at.is_(None),
        PersonSession.expires_at > clock.now(),
    )
    done = cast("CursorResult[None]", await session.execute(statement.values(ended_at=clock.now())))
    return done.rowcount


async def authenticate(session: AsyncSession, token: str, presented: Presented, origin: str) -> Principal:
    """The person of a session's cookie. Raises `Unauthenticated`, or `CsrfRefused` where `presented` is a change that
    does not come from a page of ours (`origin`)."""
    now = clock.now()
    query = (
        select(PersonSession, Person)
        .join(Person, (Person.tenant_id == PersonSession.tenant_id) & (Person.person_id == PersonSession.person_id))
        .where(PersonSession.token_digest == sealing.digest(token))
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise _ended()
    row, person = cast("tuple[PersonSession, Person]", tuple(found))
    is_over = row.ended_at is not None or row.expires_at <= now or row.seen_at <= now - IDLE
    if is_over or person.removed_at is not None:
        raise _ended()
    if not presented.is_safe:
        _check_page(row, presented, origin)
    if presented.is_activity and now - row.seen_at >= SEEN_EVERY:
        await _note_seen(session, row)
    return Principal(
        client_id=person.person_id,
        tenant_id=None if person.tenant_id == PLATFORM else person.tenant_id,
        role=person.role,
        permissions=permissions_of_person(cast("Role", person.role)),
        session_id=row.session_id,
    )


async def _note_seen(session: AsyncSession, row: PersonSession) -> None:
    """Move the end of idleness; where another request is at it, that will do."""
    mine = (
        select(PersonSession.session_id)
        .where(PersonSession.tenant_id == row.tenant_id, PersonSession.session_id == row.session_id)
        .with_for_update(skip_locked=True)
    )
    statement = update(PersonSession).where(
        PersonSession.tenant_id == row.tenant_id, PersonSession.session_id.in_(mine.scalar_subquery())
    )
    await session.execute(statement.values(seen_at=func.greatest(PersonSession.seen_at, clock.now())))


def _check_page(row: PersonSession, presented: Presented, origin: str) -> None:
    check_origin(presented.origin, origin)
    if not hmac.compare_digest((presented.csrf_token or "").encode(), row.csrf_token.encode()):
        raise CsrfRefused("Send the session's token in `X-CSRF-Token`; GET /v1/me tells it.", field="X-CSRF-Token")


def _ended() -> Unauthenticated:
    return Unauthenticated("The session has ended; sign in again at POST /sign-in.", scheme="Session")
