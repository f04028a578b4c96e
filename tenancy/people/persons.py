"""Persons: found, given another role, removed."""

from __future__ import annotations

from typing import cast

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, languages
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.mail_address import is_address
from infra.kit.problems import InvalidInput
from tenancy import tenants, tokens
from tenancy.models import Client, SipDomain
from tenancy.people import sessions, visits
from tenancy.people.errors import LastAdmin, PersonExists, PersonNotFound, TooManyPeople
from tenancy.people.models import Invitation, Person
from tenancy.roles import ROLES, TENANT_ROLES, Role, permissions_of

PEOPLE_LIMIT = 1_000
"""Of one tenant, or of the platform."""
NAME_LIMIT_CHARACTERS = 100


def company_id(tenant_id: str | None) -> str:
    """Under which tenant people are kept: their own, or `platform`."""
    return PLATFORM if tenant_id is None else tenant_id


def checked_role(role: str, tenant_id: str | None) -> str:
    """A role that fits the company. Raises `InvalidInput`."""
    if role not in ROLES:
        raise InvalidInput(f"A role is one of {', '.join(ROLES)}.", field="role")
    if (role in TENANT_ROLES) != (tenant_id is not None):
        expected = "needs" if role in TENANT_ROLES else "has no"
        raise InvalidInput(f"A person with the role {role} {expected} tenant_id.", field="tenant_id")
    return role


def checked_address(address: str) -> str:
    """A mail address in the form that is kept. Raises `InvalidInput`."""
    text = address.strip().lower()
    if not is_address(text):
        raise InvalidInput("The address is one such as li.wei@example.com, in ASCII.", field="address")
    return text


def checked_name(name: str) -> str:
    """A person's name without spaces around it. Raises `InvalidInput`."""
    text = name.strip()
    if not text or len(text) > NAME_LIMIT_CHARACTERS:
        raise InvalidInput(f"A person's name has 1 to {NAME_LIMIT_CHARACTERS} characters.", field="name")
    return text


async def company_of(session: AsyncSession, company: str | None) -> str | None:
    """The tenant whose SIP domain people name when they sign in; `platform` for none; None for an unknown domain."""
    if not company:
        return PLATFORM
    query = select(SipDomain.tenant_id).where(SipDomain.domain == company.strip().lower())
    return (await session.execute(query)).scalar_one_or_none()


async def domain_of(session: AsyncSession, tenant_id: str) -> str | None:
    """What a company's people name when they sign in; None for the platform."""
    if tenant_id == PLATFORM:
        return None
    return await session.scalar(select(SipDomain.domain).where(SipDomain.tenant_id == tenant_id).limit(1))


async def create(
    session: AsyncSession,
    *,
    tenant_id: str,
    address: str,
    name: str,
    role: str,
    language: str,
    password_hash: str | None,
    issuer: str | None = None,
    subject: str | None = None,
) -> Person:
    """A new person of a company, who has come by a link or a provider.

    Raises `PersonExists`, `TooManyPeople` and `TenantClosed`.
    """
    if tenant_id != PLATFORM:
        await tenants.get_staying(session, tenant_id)
    await check_room(session, tenant_id)
    if await by_address(session, tenant_id, address) is not None:
        raise PersonExists(f"{address} is among your people already.", field="address")
    person = Person(
        tenant_id=tenant_id,
        person_id=new_id("per"),
        address=address,
        name=name,
        role=role,
        language=language,
        password_hash=password_hash,
        issuer=issuer,
        subject=subject,
        created_at=clock.now(),
        signed_in_at=None,
        removed_at=None,
    )
    try:
        async with session.begin_nested():
            session.add(person)
    except IntegrityError as error:  # the same one came at the same moment
        raise PersonExists(f"{address} is among your people already.", field="address") from error
    with audit.acting_as(person.person_id):
        await audit.record(session, tenant_id, "person.created", person.person_id, address=address, role=role)
    return person


async def check_room(session: AsyncSession, tenant_id: str) -> None:
    """Raise `TooManyPeople` where a company has as many as it may."""
    query = select(func.count()).select_from(Person).where(Person.tenant_id == tenant_id, Person.removed_at.is_(None))
    if (await session.scalar(query) or 0) >= PEOPLE_LIMIT:
        raise TooManyPeople(f"A company has at most {PEOPLE_LIMIT} people here; remove some first.")


async def by_address(session: AsyncSession, tenant_id: str, address: str, *, for_update: bool = False) -> Person | None:
    """Who has an address (in small letters) among a company's people."""
    query = select(Person).where(Person.tenant_id == tenant_id, Person.address == address, Person.removed_at.is_(None))
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one_or_none()


async def has_admin(session: AsyncSession, tenant_id: str) -> bool:
    """Whether a tenant has anybody who administers it."""
    query = select(Person.person_id).where(
        Person.tenant_id == tenant_id, Person.role == "tenant_admin", Person.removed_at.is_(None)
    )
    return (await session.execute(query.limit(1))).first() is not None


async def is_of_the_platform(session: AsyncSession, address: str) -> bool:
    """Whether a mail address (in small letters) is one of the platform's people, whatever stands behind a `+` in it."""
    query = select(Person.address).where(Person.tenant_id == PLATFORM, Person.removed_at.is_(None))
    return _mailbox(address) in {_mailbox(each) for each in (await session.execute(query)).scalars()}


def _mailbox(address: str) -> tuple[str, str]:
    local, _, domain = address.rpartition("@")
    return local.partition("+")[0], domain


async def find(session: AsyncSession, person_id: str, tenant_id: str | None, *, for_update: bool = False) -> Person:
    """A person by id, narrowed to a tenant where the caller belongs to one. Raises `PersonNotFound`."""
    query = select(Person).where(Person.person_id == person_id)
    if tenant_id is not None:
        query = query.where(Person.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    person = (await session.execute(query)).scalar_one_or_none()
    if person is None:
        raise PersonNotFound(f"There is no person {person_id}.", field="person_id")
    return person


async def change_role(session: AsyncSession, person: Person, role: str) -> Person:
    """Give a (locked) person another role of its company, from the next request on; its visits end.

    The API clients of its making that may do what it may do no more are revoked. Raises `LastAdmin`.
    """
    _check_there(person)
    checked_role(role, None if person.tenant_id == PLATFORM else person.tenant_id)
    if role != person.role:
        await _check_admin_stays(session, person)
        before, person.role = person.role, role
        await _withdraw_invitations(session, person)
        await visits.end_all_of(session, person.person_id)
        facts = {"before": before, "role": role, "clients_revoked": await _revoke_stronger(session, person)}
        await audit.record(session, person.tenant_id, "person.role_changed", person.person_id, **facts)
    return person


async def _revoke_stronger(session: AsyncSession, person: Person) -> list[str]:
    """Revoke the clients whose secrets a person has seen and that may do more than the person; returns their ids."""
    own = permissions_of(cast("Role", person.role))
    stronger = [
        client.client_id
        for client in await tokens.live_clients_of(session, person.person_id)
        if not permissions_of(cast("Role", client.role)) <= own
    ]
    for client_id in stronger:
        await tokens.revoke_client(session, client_id, None)
    return stronger


async def change_language(session: AsyncSession, person: Person, language: str) -> None:
    """Write to a (locked) person in another language. Raises `InvalidInput` for one that nothing is written in."""
    _check_there(person)
    before, person.language = person.language, languages.checked(language)
    await audit.record(
        session, person.tenant_id, "person.language_changed", person.person_id, before=before, after=person.language
    )


async def remove(session: AsyncSession, person: Person, *, keeps_api_clients: bool) -> list[Client]:
    """Take a (locked) person's access away, with every session, from this commit on.

    The API clients whose secrets the person has seen are revoked as well, unless they are kept. Returns them. For one
    who was removed before only the clients are looked at. Raises `LastAdmin`.
    """
    clients = await tokens.live_clients_of(session, person.person_id)
    client_ids = [client.client_id for client in clients]
    if person.removed_at is None:
        await _check_admin_stays(session, person)
        person.removed_at = clock.now()
        ended = await sessions.end_all(session, person.tenant_id, person.person_id)
        await _withdraw_invitations(session, person)
        facts = {"address": person.address, "sessions": ended}
        fate = {"clients_kept" if keeps_api_clients else "clients_revoked": client_ids}
        await audit.record(session, person.tenant_id, "person.removed", person.person_id, **facts, **fate)
    if not keeps_api_clients:
        for client_id in client_ids:
            await tokens.revoke_client(session, client_id, None)
    return clients


async def hold(session: AsyncSession, person_id: str, tenant_id: str | None) -> None:
    """Hold a person until the end of the transaction: whoever removes them waits, and finds what they have made.

    Raises `PersonNotFound` where they were removed meanwhile.
    """
    query = select(Person).where(Person.tenant_id == company_id(tenant_id), Person.person_id == person_id)
    query = query.with_for_update(read=True).execution_options(populate_existing=True)
    _check_there((await session.execute(query)).scalar_one())


async def _withdraw_invitations(session: AsyncSession, inviter: Person) -> None:
    """Make the open invitations of somebody worthless who may invite no more: none of them is a way back in."""
    query = (
        select(Invitation)
        .where(
            Invitation.tenant_id == inviter.tenant_id,
            Invitation.invited_by == inviter.person_id,
            Invitation.accepted_at.is_(None),
            Invitation.withdrawn_at.is_(None),
        )
        .order_by(Invitation.invitation_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for invitation in (await session.execute(query)).scalars():
        invitation.withdrawn_at = clock.now()
        await audit.record(session, inviter.tenant_id, "invitation.withdrawn", invitation.invitation_id)


def _check_there(person: Person) -> None:
    if person.removed_at is not None:
        raise PersonNotFound(f"{person.person_id} was removed.", field="person_id")


async def _check_admin_stays(session: AsyncSession, leaving: Person) -> None:
    """Raise `LastAdmin` where nobody else of the company could administer it; locks those who could."""
    admin = "platform_operator" if leaving.tenant_id == PLATFORM else "tenant_admin"
    if leaving.role != admin:
        return
    query = (
        select(Person.person_id)
        .where(Person.tenant_id == leaving.tenant_id, Person.role == admin, Person.removed_at.is_(None))
        .order_by(Person.person_id)
        .with_for_update()
    )
    if set((await session.execute(query)).scalars()) <= {leaving.person_id}:
        raise LastAdmin(f"{leaving.person_id} is the last {admin}; give somebody else that role first.", field="role")
