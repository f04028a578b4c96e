"""Request and response bodies of the tenancy slice."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from infra.kit.http import Body, View
from infra.kit.models import AuditEntry
from tenancy.models import Client, Tenant


class NewTenant(Body):
    """A tenant to create."""

    name: str
    sip_domain: str
    contact_email: str | None = None
    address: str | None = None
    credit_code: str | None = None


class TenantView(View):
    """A tenant."""

    tenant_id: str
    name: str
    sip_domain: str
    standing: str
    standing_reason: str | None
    standing_changed_at: datetime
    contact_email: str | None
    address: str | None
    credit_code: str | None
    created_at: datetime


class ContactChange(Body):
    """The address that mails go to while the tenant has neither admins nor billing contacts; null for none."""

    contact_email: str | None


class SuspensionRequest(Body):
    """Why an operator suspends a tenant by hand."""

    note: str


class NewClient(Body):
    """An API client to create; `tenant_id` for the roles that belong to a tenant."""

    name: str
    role: str
    tenant_id: str | None = None


class ClientView(View):
    """An API client, without its secret. `made_by`: the person or client that made it and has seen its secret."""

    client_id: str
    tenant_id: str | None
    name: str
    role: str
    made_by: str | None
    created_at: datetime
    revoked_at: datetime | None


class ClientWithSecret(ClientView):
    """A client just created: the only time its secret is shown."""

    client_secret: str


class AuditEntryView(View):
    """One entry of the audit trail."""

    entry_id: str
    tenant_id: str
    occurred_at: datetime
    actor: str
    action: str
    object_id: str | None
    facts: dict[str, Any]


def tenant_view(tenant: Tenant) -> TenantView:
    """A tenant as the API shows it."""
    return TenantView(
        tenant_id=tenant.tenant_id,
        name=tenant.name,
        sip_domain=tenant.sip_domain,
        standing=tenant.standing,
        standing_reason=tenant.standing_reason,
        standing_changed_at=tenant.standing_changed_at,
        contact_email=tenant.contact_email,
        address=tenant.address,
        credit_code=tenant.credit_code,
        created_at=tenant.created_at,
    )


def client_view(client: Client) -> ClientView:
    """A client as the API shows it."""
    return ClientView(
        client_id=client.client_id,
        tenant_id=client.tenant_id,
        name=client.name,
        role=client.role,
        made_by=client.made_by,
        created_at=client.created_at,
        revoked_at=client.revoked_at,
    )


def client_with_secret(client: Client, secret: str) -> ClientWithSecret:
    """A client with the secret that is shown once."""
    return ClientWithSecret(
        client_id=client.client_id,
        tenant_id=client.tenant_id,
        name=client.name,
        role=client.role,
        made_by=client.made_by,
        created_at=client.created_at,
        revoked_at=client.revoked_at,
        client_secret=secret,
    )


def audit_entry_view(entry: AuditEntry) -> AuditEntryView:
    """An audit entry as the API shows it."""
    return AuditEntryView(
        entry_id=entry.entry_id,
        tenant_id=entry.tenant_id,
        occurred_at=entry.occurred_at,
        actor=entry.actor,
        action=entry.action,
        object_id=entry.object_id,
        facts=entry.facts,
    )
