"""A tenant's identity provider: which one, and what somebody unknown becomes who comes from there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from tenancy import tenants
from tenancy.oidc import outbound
from tenancy.oidc.errors import ProviderNotFound, ProviderRefused, ProviderSignInRefused
from tenancy.oidc.models import IdentityProvider
from tenancy.people.models import PersonSession
from tenancy.roles import TENANT_ROLES
from tenancy.webhooks.errors import TargetRefused

CLIENT_ID_LIMIT_CHARACTERS = 255
CLIENT_SECRET_LIMIT_CHARACTERS = 1_000
DOMAINS_LIMIT = 50
DOMAIN_LIMIT_CHARACTERS = 253
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
"""Of a mail address, with at least two parts; names with other letters in their ASCII form (xn--…)."""

BY_PROVIDER = "provider"
"""The way of sessions that began through an identity provider."""


async def put(
    session: AsyncSession,
    seal: Seal,
    settings: Settings,
    *,
    tenant_id: str,
    issuer: str,
    client_id: str,
    client_secret: str,
    new_people_role: str | None,
    allowed_email_domains: Sequence[str],
) -> IdentityProvider:
    """Make this the tenant's identity provider, in place of another. Sessions through another issuer end.

    `issuer` is https, and public outside development; what it answers is looked at when somebody signs in. With a role
    for new people it must be said of which domains their addresses are: at many providers anybody may have an account.
    Raises `ProviderRefused` naming the value at fault.
    """
    await tenants.get_staying(session, tenant_id)
    _check_issuer(issuer, settings)
    for field, text, limit in (
        ("client_id", client_id, CLIENT_ID_LIMIT_CHARACTERS),
        ("client_secret", client_secret, CLIENT_SECRET_LIMIT_CHARACTERS),
    ):
        if not 1 <= len(text) <= limit or not text.isascii() or not text.isprintable():
            raise ProviderRefused(f"`{field}` has 1 to {limit} printable ASCII characters.", field=field)
    if new_people_role is not None and new_people_role not in TENANT_ROLES:
        raise ProviderRefused(f"It is null or one of {', '.join(sorted(TENANT_ROLES))}.", field="new_people_role")
    domains = _checked_domains(allowed_email_domains, are_needed=new_people_role is not None)
    provider = await session.get(IdentityProvider, tenant_id, with_for_update=True)
    if provider is None:
        provider = IdentityProvider(tenant_id=tenant_id)
        session.add(provider)
    elif provider.issuer != issuer:
        await _end_sessions(session, tenant_id)
    provider.issuer, provider.client_id = issuer, client_id
    provider.sealed_client_secret = seal.close(client_secret)
    provider.new_people_role, provider.allowed_email_domains = new_people_role, domains
    provider.changed_at, provider.changed_by = clock.now(), audit.actor.get()
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "identity_provider.changed",
        tenant_id,
        issuer=issuer,
        client_id=client_id,
        new_people_role=new_people_role,
        allowed_email_domains=domains,
    )
    return provider


def lets_in(provider: IdentityProvider, address: str) -> bool:
    """Whether somebody new may come with this address, in small letters, which the provider vouches for: its domain is
    one of those named, not below one."""
    return address.rpartition("@")[2] in provider.allowed_email_domains


async def get(session: AsyncSession, tenant_id: str) -> IdentityProvider:
    """The tenant's identity provider. Raises `ProviderNotFound`."""
    provider = await session.get(IdentityProvider, tenant_id)
    if provider is None:
        raise ProviderNotFound(f"There is no identity provider of {tenant_id}.", field="tenant_id")
    return provider


def gone() -> ProviderSignInRefused:
    """The refusal of a sign-in whose provider is not the company's any more."""
    return ProviderSignInRefused("The company does not use this identity provider any more.")


async def hold(session: AsyncSession, asked: IdentityProvider) -> None:
    """Hold the tenant's identity provider as it was when somebody was let in there: whoever removes it waits, and ends
    the session that now begins. Raises `ProviderSignInRefused` where it was removed or replaced meanwhile."""
    query = select(IdentityProvider).where(IdentityProvider.tenant_id == asked.tenant_id)
    query = query.with_for_update(read=True).execution_options(populate_existing=True)
    now = (await session.execute(query)).scalar_one_or_none()
    if now is None or (now.issuer, now.client_id) != (asked.issuer, asked.client_id):
        raise gone()


async def remove(session: AsyncSession, tenant_id: str) -> None:
    """Let nobody come through the identity provider any more; sessions that began there end now."""
    provider = await get(session, tenant_id)
    await session.delete(provider)
    await _end_sessions(session, tenant_id)
    await audit.record(session, tenant_id, "identity_provider.removed", tenant_id, issuer=provider.issuer)


async def _end_sessions(session: AsyncSession, tenant_id: str) -> None:
    statement = update(PersonSession).where(
        PersonSession.tenant_id == tenant_id, PersonSession.way == BY_PROVIDER, PersonSession.ended_at.is_(None)
    )
    await session.execute(statement.values(ended_at=clock.now()))


def _checked_domains(domains: Sequence[str], *, are_needed: bool) -> list[str]:
    field = "allowed_email_domains"
    if len(domains) > DOMAINS_LIMIT:
        raise ProviderRefused(f"At most {DOMAINS_LIMIT} domains.", field=field)
    checked = sorted({domain.strip().lower() for domain in domains})
    for domain in checked:
        if len(domain) > DOMAIN_LIMIT_CHARACTERS or _DOMAIN.fullmatch(domain) is None:
            raise ProviderRefused(f"{domain[:60]!r} is not a domain such as example.com, in ASCII.", field=field)
    if are_needed and not checked:
        detail = "Name the domains of whose mail addresses somebody unknown may come, or let new_people_role be null."
        raise ProviderRefused(detail, field=field)
    return checked


def _check_issuer(issuer: str, settings: Settings) -> None:
    try:
        outbound.check_url(issuer, settings)
    except TargetRefused as refusal:
        raise ProviderRefused(refusal.detail, field="issuer") from refusal
    if "?" in issuer:
        raise ProviderRefused("An issuer has no query (OpenID Connect Core, section 2).", field="issuer")
