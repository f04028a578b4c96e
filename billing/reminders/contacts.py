"""Billing contacts: the addresses of a tenant that get its billing mail, kept by itself or by finance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.reminders.errors import ContactRefused
from billing.reminders.models import BillingContact
from billing.reminders.topics import DEFAULT_LANGUAGE, TOPICS, wants
from billing.rules.errors import shown
from infra.kit import audit, clock
from infra.kit.languages import LANGUAGES
from infra.kit.mail_address import is_address
from tenancy import tenants

LIMIT_CONTACTS = 20


@dataclass(frozen=True, slots=True)
class ContactWanted:
    """An address, the language it is written to in, and the topics that it gets."""

    address: str
    language: str
    topics: Sequence[str]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a tenant's mail of some kind; an empty address is kept to show that there was nobody."""

    address: str
    language: str


async def replace(session: AsyncSession, tenant_id: str, wanted: Sequence[ContactWanted]) -> list[BillingContact]:
    """Make these the tenant's billing contacts in place of all former ones; none is allowed, and visible to finance.

    Raises `ContactRefused` naming the contact and value at fault (`contacts[2].address`), `NotFound` for an unknown
    tenant.
    """
    await tenants.get_staying(session, tenant_id)
    check(wanted)
    before = {contact.address: contact for contact in await of_tenant(session, tenant_id)}
    gone = before.keys() - {each.address for each in wanted}
    if gone:
        await session.execute(
            delete(BillingContact).where(BillingContact.tenant_id == tenant_id, BillingContact.address.in_(gone))
        )
    for each in wanted:
        contact = before.get(each.address)
        if contact is None:
            contact = BillingContact(tenant_id=tenant_id, address=each.address, created_at=clock.now())
        contact.language, contact.topics = each.language, list(each.topics)
        session.add(contact)
    await session.flush()
    addresses = [each.address for each in wanted]
    await audit.record(session, tenant_id, "billing_contacts.replaced", tenant_id, addresses=addresses)
    return await of_tenant(session, tenant_id)


async def of_tenant(session: AsyncSession, tenant_id: str) -> list[BillingContact]:
    """The tenant's billing contacts by address."""
    query = select(BillingContact).where(BillingContact.tenant_id == tenant_id).order_by(BillingContact.address)
    return list((await session.execute(query)).scalars())


async def readers_of(session: AsyncSession, tenant_id: str, kind: str) -> Sequence[Reader]:
    """The contacts that want this kind; of a tenant that has no contact at all, the address that it signed with."""
    listed = await of_tenant(session, tenant_id)
    if not listed:
        tenant = await tenants.get(session, tenant_id)
        return [Reader(tenant.contact_email or "", DEFAULT_LANGUAGE)]
    return [Reader(each.address, each.language) for each in listed if wants(each.topics, kind)]


def check(wanted: Sequence[ContactWanted]) -> None:
    """Refuse what is no list of contacts, naming the first value at fault."""
    if len(wanted) > LIMIT_CONTACTS:
        raise ContactRefused("contacts", f"there are {len(wanted)}", f"at most {LIMIT_CONTACTS}")
    seen: set[str] = set()
    for index, each in enumerate(wanted):
        place = f"contacts[{index}]"
        if not is_address(each.address):
            problem = f"{shown(each.address)} is not an address"
            raise ContactRefused(f"{place}.address", problem, "one such as finance@example.com, in ASCII")
        if each.address.lower() in seen:
            raise ContactRefused(f"{place}.address", f"{each.address} is there twice", "each address once")
        seen.add(each.address.lower())
        if each.language not in LANGUAGES:
            raise ContactRefused(f"{place}.language", f"{shown(each.language)} is unknown", " or ".join(LANGUAGES))
        if not each.topics or not set(each.topics) <= set(TOPICS) or len(set(each.topics)) != len(each.topics):
            expected = f"one or more of {', '.join(TOPICS)}, each once"
            raise ContactRefused(f"{place}.topics", f"{shown(list(each.topics))} is not acceptable", expected)
