"""Invitations: a link by mail, once and for a week, of which only a digest is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, languages, sealing
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.outbox import posting
from infra.kit.sealing import Seal
from tenancy import tenants
from tenancy.people import mails, persons
from tenancy.people.errors import (
    FirstAdminOnly,
    InvitationClosed,
    InvitationNotFound,
    LinkNotValid,
    PersonExists,
    TooManyPeople,
)
from tenancy.people.models import Invitation, Person

LIFETIME = timedelta(days=7)
OPEN_LIMIT = 200
"""Open invitations of one company at a time."""
DAY = timedelta(days=1)
DAY_LIMIT, ADDRESS_DAY_LIMIT = 400, 5
"""Invitations of one company, and to one address by it, within a day: each is a mail of ours to whom it names."""
FIRST_ROLE = "tenant_admin"
TOKEN_PREFIX = "sai_"  # noqa: S105 - a prefix that lets scanners recognise a leaked token


async def invite(
    session: AsyncSession,
    seal: Seal,
    *,
    tenant_id: str | None,
    address: str,
    name: str,
    role: str,
    language: str,
    is_by_visitor: bool = False,
) -> tuple[Invitation, str]:
    """Invite somebody by mail; an open invitation of the same address is withdrawn. Returns it and its token.

    `tenant_id` None: to the platform. `is_by_visitor`: by a person who would need a visit to enter the tenant, and so
    invites its first admin only; of such invitations one is open at a time. Raises `InvalidInput`, `PersonExists`,
    `TooManyPeople`, `NotFound`, `FirstAdminOnly`.
    """
    if tenant_id is not None:
        await tenants.get_staying(session, tenant_id, for_update=is_by_visitor)
    role = persons.checked_role(role, tenant_id)
    address, name = persons.checked_address(address), persons.checked_name(name)
    company = persons.company_id(tenant_id)
    if is_by_visitor and tenant_id is not None:
        await _check_first_admin(session, tenant_id, address, role)
    if await persons.by_address(session, company, address) is not None:
        raise PersonExists(f"{address} is among your people already.", field="address")
    await persons.check_room(session, company)
    await _check_mails(session, company, address)
    now = clock.now()
    for former in await _open(session, company, address):
        former.withdrawn_at = now
    if await _count_open(session, company) >= OPEN_LIMIT:
        raise TooManyPeople(f"There are {OPEN_LIMIT} open invitations; withdraw some first.")
    token = TOKEN_PREFIX + sealing.new_secret()
    invitation = Invitation(
        tenant_id=company,
        invitation_id=new_id("inv"),
        address=address,
        name=name,
        role=role,
        language=languages.checked(language),
        token_digest=sealing.digest(token),
        invited_by=audit.actor.get(),
        created_at=now,
        expires_at=now + LIFETIME,
        accepted_at=None,
        withdrawn_at=None,
        person_id=None,
    )
    session.add(invitation)
    await session.flush()
    await posting.put(
        session,
        kind=mails.INVITED,
        subject_id=invitation.invitation_id,
        tenant_id=tenant_id,
        recipient=address,
        language=language,
        secret=(seal, token),
    )
    await audit.record(session, company, "person.invited", invitation.invitation_id, address=address, role=role)
    return invitation, token


async def withdraw(session: AsyncSession, invitation_id: str, tenant_id: str | None) -> Invitation:
    """Make an invitation's link worthless. Raises `InvitationNotFound`, `InvitationClosed`."""
    query = select(Invitation).where(Invitation.invitation_id == invitation_id)
    if tenant_id is not None:
        query = query.where(Invitation.tenant_id == tenant_id)
    invitation = (await session.execute(query.with_for_update())).scalar_one_or_none()
    if invitation is None:
        raise InvitationNotFound(f"There is no invitation {invitation_id}.", field="invitation_id")
    if state_of(invitation) != "open":
        raise InvitationClosed(f"The invitation is {state_of(invitation)}; there is nothing to withdraw.")
    invitation.withdrawn_at = clock.now()
    await audit.record(session, invitation.tenant_id, "invitation.withdrawn", invitation_id)
    return invitation


async def by_token(session: AsyncSession, token: str) -> Invitation:
    """The open invitation of a link, locked with all of its address. Raises `LinkNotValid` for whatever is not one."""
    query = select(Invitation).where(Invitation.token_digest == sealing.digest(token))
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise LinkNotValid
    for invitation in await _open(session, found.tenant_id, found.address):
        if invitation.invitation_id == found.invitation_id:
            return invitation
    raise LinkNotValid


async def accept(session: AsyncSession, token: str, *, name: str | None, password_hash: str) -> Person:
    """Become a person by an invitation's link, once. Raises `LinkNotValid`, `PersonExists`, `TooManyPeople`."""
    invitation = await by_token(session, token)
    person = await persons.create(
        session,
        tenant_id=invitation.tenant_id,
        address=invitation.address,
        name=invitation.name if name is None else persons.checked_name(name),
        role=invitation.role,
        language=invitation.language,
        password_hash=password_hash,
    )
    await note_accepted(session, invitation, person)
    return person


async def open_for(session: AsyncSession, tenant_id: str, address: str) -> Invitation | None:
    """The open invitation of an address (in small letters) by a company, locked; the newest where there are more."""
    return next(reversed(await _open(session, tenant_id, address)), None)


async def note_accepted(session: AsyncSession, invitation: Invitation, person: Person) -> None:
    """An invitation (locked) has led to a person; its link is used, and any other to the same address worthless."""
    now = clock.now()
    for each in await _open(session, invitation.tenant_id, invitation.address):
        each.withdrawn_at = None if each is invitation else now
    invitation.accepted_at, invitation.person_id = now, person.person_id


def state_of(invitation: Invitation) -> str:
    """`open`, `accepted`, `withdrawn` or `expired`."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.withdrawn_at is not None:
        return "withdrawn"
    return "open" if invitation.expires_at > clock.now() else "expired"


def tenant_of(company: str) -> str | None:
    """The tenant of a company; None for the platform."""
    return None if company == PLATFORM else company


async def _open(session: AsyncSession, company: str, address: str) -> Sequence[Invitation]:
    """Locked, oldest first: always in this order, so that nobody waits for one who waits for him."""
    query = select(Invitation).where(Invitation.address == address, *_is_open(company))
    query = query.order_by(Invitation.invitation_id).with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalars().all()


async def _check_first_admin(session: AsyncSession, tenant_id: str, address: str, role: str) -> None:
    """Raise `FirstAdminOnly` where a person of the platform could make a way into a (locked) tenant for one of its own;
    withdraw what such people have open there."""
    if role != FIRST_ROLE or await persons.has_admin(session, tenant_id):
        raise FirstAdminOnly(
            f"People of the platform invite a tenant's first {FIRST_ROLE}; that one invites all others.",
            field="tenant_id",
        )
    if await persons.is_of_the_platform(session, address):
        raise FirstAdminOnly("Nobody of the platform is invited to a tenant; begin a visit.", field="address")
    query = select(Invitation).where(*_is_open(tenant_id), Invitation.invited_by.startswith("per_"))
    for former in (await session.execute(query.order_by(Invitation.invitation_id).with_for_update())).scalars():
        former.withdrawn_at = clock.now()


async def _check_mails(session: AsyncSession, company: str, address: str) -> None:
    """Raise `TooManyPeople` where a company has us write to too many people, or too often to one."""
    recent = select(func.count()).select_from(Invitation)
    recent = recent.where(Invitation.tenant_id == company, Invitation.created_at > clock.now() - DAY)
    if (await session.scalar(recent) or 0) >= DAY_LIMIT:
        raise TooManyPeople(f"There were {DAY_LIMIT} invitations within a day; go on tomorrow.")
    if (await session.scalar(recent.where(Invitation.address == address)) or 0) >= ADDRESS_DAY_LIMIT:
        raise TooManyPeople(
            f"{address} was invited {ADDRESS_DAY_LIMIT} times within a day; go on tomorrow.", field="address"
        )


async def _count_open(session: AsyncSession, company: str) -> int:
    return await session.scalar(select(func.count()).select_from(Invitation).where(*_is_open(company))) or 0


def _is_open(company: str) -> tuple[ColumnElement[bool], ...]:
    return (
        Invitation.tenant_id == company,
        Invitation.accepted_at.is_(None),
        Invitation.withdrawn_at.is_(None),
        Invitation.expires_at > clock.now(),
    )
