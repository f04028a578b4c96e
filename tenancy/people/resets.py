"""A forgotten password: a link by mail, once and for an hour, of which only a digest is kept."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, sealing
from infra.kit.ids import new_id
from infra.kit.outbox import posting
from infra.kit.sealing import Seal
from tenancy.oidc.models import IdentityProvider
from tenancy.people import invitations, mails, persons, sessions
from tenancy.people.errors import LinkNotValid
from tenancy.people.models import PasswordReset, Person

LIFETIME = timedelta(hours=1)
LIMIT_AT_ONCE = 3
"""Links of one person that are good at the same time; more are not sent."""
TOKEN_PREFIX = "sar_"  # noqa: S105 - a prefix that lets scanners recognise a leaked token
BEGIN = "tenancy.begin_password_reset"
"""The task that looks whether there is such a person: who asks cannot tell by the time it takes."""


async def begin(session: AsyncSession, seal: Seal, *, company: str | None, address: str) -> bool:
    """Send a link to a person who signs in with a password, or could by nothing else: without one and without an
    identity provider of the company. False where there is none, or links enough."""
    tenant_id = await persons.company_of(session, company)
    person = None
    if tenant_id is not None:
        person = await persons.by_address(session, tenant_id, address.strip().lower(), for_update=True)
    if person is None or not await _may_have_password(session, person):
        return False
    now = clock.now()
    unused = (
        select(func.count())
        .select_from(PasswordReset)
        .where(
            PasswordReset.tenant_id == person.tenant_id,
            PasswordReset.person_id == person.person_id,
            PasswordReset.used_at.is_(None),
            PasswordReset.expires_at > now,
        )
    )
    if (await session.scalar(unused) or 0) >= LIMIT_AT_ONCE:
        return False
    token = TOKEN_PREFIX + sealing.new_secret()
    reset = PasswordReset(
        tenant_id=person.tenant_id,
        reset_id=new_id("rst"),
        person_id=person.person_id,
        token_digest=sealing.digest(token),
        created_at=now,
        expires_at=now + LIFETIME,
        used_at=None,
    )
    session.add(reset)
    await session.flush()
    await posting.put(
        session,
        kind=mails.RESET,
        subject_id=reset.reset_id,
        tenant_id=invitations.tenant_of(person.tenant_id),
        recipient=person.address,
        language=person.language,
        secret=(seal, token),
    )
    await audit.record(session, person.tenant_id, "password.reset_requested", person.person_id)
    return True


async def _may_have_password(session: AsyncSession, person: Person) -> bool:
    """Whether somebody has a password, or needs one since the provider that they came by is gone."""
    if person.password_hash is not None:
        return True
    query = select(IdentityProvider.tenant_id).where(IdentityProvider.tenant_id == person.tenant_id)
    return (await session.execute(query)).first() is None


async def by_token(session: AsyncSession, token: str) -> tuple[PasswordReset, Person]:
    """The link and its person, both locked. Raises `LinkNotValid` for whatever is not good any more."""
    query = select(PasswordReset).where(PasswordReset.token_digest == sealing.digest(token))
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise LinkNotValid
    # The person first: whoever uses one link makes all others of the person worthless.
    person = await persons.find(session, found.person_id, found.tenant_id, for_update=True)
    query = query.with_for_update().execution_options(populate_existing=True)
    reset = (await session.execute(query)).scalar_one_or_none()
    if reset is None or reset.used_at is not None or reset.expires_at <= clock.now() or person.removed_at is not None:
        raise LinkNotValid
    return reset, person


async def finish(session: AsyncSession, token: str, *, password_hash: str) -> Person:
    """Set the password by a link: it ends every session and every other link of the person."""
    _, person = await by_token(session, token)
    await set_password(session, person, password_hash, action="password.reset")
    return person


async def set_password(session: AsyncSession, person: Person, password_hash: str, *, action: str) -> None:
    """Give a (locked) person a new password; sessions and links of before are over, and a mail tells of it."""
    now = clock.now()
    person.password_hash = password_hash
    await sessions.end_all(session, person.tenant_id, person.person_id)
    links = update(PasswordReset).where(
        PasswordReset.tenant_id == person.tenant_id,
        PasswordReset.person_id == person.person_id,
        PasswordReset.used_at.is_(None),
    )
    await session.execute(links.values(used_at=now))
    with audit.acting_as(person.person_id):
        await audit.record(session, person.tenant_id, action, person.person_id)
    await posting.put(
        session,
        kind=mails.CHANGED,
        subject_id=new_id("pwc"),
        tenant_id=invitations.tenant_of(person.tenant_id),
        recipient=person.address,
        language=person.language,
        facts={"person_id": person.person_id},
    )
