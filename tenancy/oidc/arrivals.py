"""Whoever comes from a tenant's identity provider is one of its people, becomes one, or is sent away."""

from __future__ import annotations

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit
from infra.kit.mail_address import is_address
from infra.kit.outbox.posting import DEFAULT_LANGUAGE
from tenancy.oidc import providers
from tenancy.oidc.errors import ProviderSignInRefused
from tenancy.oidc.id_tokens import Identity
from tenancy.oidc.models import IdentityProvider
from tenancy.people import invitations, persons
from tenancy.people.errors import PersonExists
from tenancy.people.models import Person


async def person_of(session: AsyncSession, provider: IdentityProvider, identity: Identity) -> Person:
    """The person, locked: known by subject; else by a vouched-for address, which from then on belongs to the subject;
    else invited; else, where the tenant wants people of the address's domain and has not removed them, new.

    Raises `ProviderSignInRefused`.
    """
    known = await _by_subject(session, provider, identity.subject)
    if known is not None:
        return known
    address = (identity.address or "").strip().lower()
    if not is_address(address):
        raise ProviderSignInRefused("The identity provider vouches for no mail address (email, email_verified).")
    person = await persons.by_address(session, provider.tenant_id, address, for_update=True)
    if person is not None:
        if person.issuer == provider.issuer and person.subject not in (None, identity.subject):
            raise ProviderSignInRefused("The address belongs to somebody else of the same identity provider.")
        person.issuer, person.subject = provider.issuer, identity.subject
        with audit.acting_as(person.person_id):
            await audit.record(session, person.tenant_id, "person.linked", person.person_id, issuer=provider.issuer)
        return person
    invitation = await invitations.open_for(session, provider.tenant_id, address)
    role = _role_of_new(provider, address) if invitation is None else invitation.role
    if role is None or (invitation is None and await _was_removed(session, provider, identity.subject, address)):
        raise ProviderSignInRefused("You are not among the company's people here; ask your administrator.")
    try:
        person = await persons.create(
            session,
            tenant_id=provider.tenant_id,
            address=address,
            name=_name(identity, address) if invitation is None else invitation.name,
            role=role,
            language=DEFAULT_LANGUAGE if invitation is None else invitation.language,
            password_hash=None,
            issuer=provider.issuer,
            subject=identity.subject,
        )
    except PersonExists:
        person = await _by_subject(session, provider, identity.subject)
        if person is None:
            raise
        return person  # another tab of the same browser was quicker
    if invitation is not None:
        await invitations.note_accepted(session, invitation, person)
    return person


async def _by_subject(session: AsyncSession, provider: IdentityProvider, subject: str) -> Person | None:
    query = select(Person).where(
        Person.tenant_id == provider.tenant_id,
        Person.issuer == provider.issuer,
        Person.subject == subject,
        Person.removed_at.is_(None),
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


async def _was_removed(session: AsyncSession, provider: IdentityProvider, subject: str, address: str) -> bool:
    """Whether somebody of this subject or address was among the company's people: only an invitation brings them back,
    not that the provider still knows them."""
    query = select(Person.person_id).where(
        Person.tenant_id == provider.tenant_id,
        Person.removed_at.is_not(None),
        or_(and_(Person.issuer == provider.issuer, Person.subject == subject), Person.address == address),
    )
    return (await session.execute(query.limit(1))).first() is not None


def _role_of_new(provider: IdentityProvider, address: str) -> str | None:
    """What somebody becomes whom nobody has invited; None: nothing."""
    return provider.new_people_role if providers.lets_in(provider, address) else None


def _name(identity: Identity, address: str) -> str:
    name = " ".join((identity.name or "").split())[: persons.NAME_LIMIT_CHARACTERS]
    return name or address.partition("@")[0][: persons.NAME_LIMIT_CHARACTERS]
