"""HTTP for tenants, API clients, tokens and the audit trail."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from litestar import MediaType, Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import PLATFORM, Database, Scope
from infra.kit.http import DEFAULT_PAGE, PUBLIC, After, Limit
from infra.kit.models import AuditEntry
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden, InvalidInput
from infra.kit.settings import Settings
from tenancy import tenants, tokens
from tenancy.models import Client, Tenant
from tenancy.people import persons
from tenancy.roles import ROLES, Role, may_grant
from tenancy.schemas import (
    AuditEntryView,
    ClientView,
    ClientWithSecret,
    ContactChange,
    NewClient,
    NewTenant,
    SuspensionRequest,
    TenantView,
    audit_entry_view,
    client_view,
    client_with_secret,
    tenant_view,
)

TAGS = ["Tenants"]
OF_A_TENANTS_PEOPLE = (
    "person.", "password.", "invitation.", "seat.named", "seat.person_changed", "seat.written", "billing_contacts.",
    "tenant.contact_changed", "hand_out.",
)  # fmt: skip
"""Actions whose facts name a tenant's people: names, addresses, where they signed in from."""


@post("/v1/tenants", permission="tenants:write", tags=TAGS, operation_id="CreateTenant")
async def create_tenant(data: JSONBody[NewTenant], session: NamedDependency[AsyncSession]) -> TenantView:
    """Create a tenant. Its seats come with a contract and seat orders."""
    tenant = await tenants.create_tenant(
        session,
        name=data.name,
        sip_domain=data.sip_domain,
        contact_email=data.contact_email,
        address=data.address,
        credit_code=data.credit_code,
    )
    return tenant_view(tenant)


@get("/v1/tenants", permission="tenants:read", tags=TAGS, operation_id="ListTenants")
async def list_tenants(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[TenantView]:
    """The tenants the caller may see, newest first."""
    query = select(Tenant)
    if principal.tenant_id is not None:
        query = query.where(Tenant.tenant_id == principal.tenant_id)
    rows, following = await fetch_page(session, query, keys=(Tenant.tenant_id,), limit=limit, after=after)
    return Page(items=[tenant_view(row) for row in rows], next=following)


@get("/v1/tenants/{tenant_id:str}", permission="tenants:read", tags=TAGS, operation_id="GetTenant")
async def get_tenant(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> TenantView:
    """One tenant."""
    return tenant_view(await tenants.get(session, principal.tenant_for(tenant_id)))


@put("/v1/tenants/{tenant_id:str}/contact", permission="tenants:contact", tags=TAGS, operation_id="ChangeContact")
async def change_contact(
    tenant_id: FromPath[str],
    data: JSONBody[ContactChange],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> TenantView:
    """Change the address that a tenant is written to while it has no people and no billing contacts for a mail."""
    return tenant_view(await tenants.change_contact(session, principal.tenant_for(tenant_id), data.contact_email))


@post(
    "/v1/tenants/{tenant_id:str}/suspension",
    permission="tenants:write",
    tags=TAGS,
    operation_id="SuspendTenant",
    status_code=HTTP_200_OK,
)
async def suspend_tenant(
    tenant_id: FromPath[str], data: JSONBody[SuspensionRequest], session: NamedDependency[AsyncSession]
) -> TenantView:
    """Suspend a tenant by an operator's decision; overdue payment does it by itself."""
    if not data.note.strip():
        raise InvalidInput("Say why the tenant is suspended.", field="note")
    await tenants.suspend(session, tenant_id, reason="operator_decision")
    await tenants.note_decision(session, tenant_id, data.note)
    return tenant_view(await tenants.get(session, tenant_id))


@post(
    "/v1/tenants/{tenant_id:str}/restoration",
    permission="tenants:write",
    tags=TAGS,
    operation_id="LiftSuspension",
    status_code=HTTP_200_OK,
)
async def lift_suspension(tenant_id: FromPath[str], session: NamedDependency[AsyncSession]) -> TenantView:
    """End a suspension by an operator's decision. The tenant opens seconds later, unless payment is overdue."""
    return tenant_view(await tenants.lift_decision(session, tenant_id))


@post("/v1/clients", permission="clients:write", tags=["Clients"], operation_id="CreateClient")
async def create_client(
    data: JSONBody[NewClient], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ClientWithSecret:
    """Create an API client; its secret is shown this once. People of the platform make none: whoever holds a secret
    would need no visit."""
    if data.role not in ROLES:
        raise InvalidInput(f"A role is one of {', '.join(ROLES)}.", field="role")
    if not may_grant(cast("Role", principal.role), data.role):
        raise Forbidden(f"The role {principal.role} may not make a client with the role {data.role}.", field="role")
    tenant_id = data.tenant_id if principal.tenant_id is None else principal.tenant_for(data.tenant_id)
    if tenant_id is not None:
        await tenants.get_staying(session, tenant_id)
    if principal.session_id is not None:
        await persons.hold(session, principal.client_id, principal.tenant_id)
    else:
        await tokens.hold_maker(session, principal.client_id)
    client, secret = await tokens.create_client(session, name=data.name, role=data.role, tenant_id=tenant_id)
    return client_with_secret(client, secret)


@get("/v1/clients", permission="clients:read", tags=["Clients"], operation_id="ListClients")
async def list_clients(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ClientView]:
    """API clients, newest first."""
    query = select(Client)
    query = principal.narrowed(query, Client.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Client.client_id,), limit=limit, after=after)
    return Page(items=[client_view(row) for row in rows], next=following)


@post(
    "/v1/clients/{client_id:str}/revocation",
    permission="clients:revoke",
    tags=["Clients"],
    operation_id="RevokeClient",
    status_code=HTTP_200_OK,
)
async def revoke_client(
    client_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ClientView:
    """End an API client and all its tokens at once."""
    return client_view(await tokens.revoke_client(session, client_id, principal.tenant_id))


@get("/v1/audit", permission="audit:read", tags=["Audit"], operation_id="ListAuditEntries")
async def list_audit(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[AuditEntryView]:
    """Who did what, newest first. A person of the platform sees that a tenant's people were changed, and who and how
    on a visit only."""
    query = select(AuditEntry)
    query = principal.narrowed(query, AuditEntry.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(AuditEntry.entry_id,), limit=limit, after=after)
    return Page(items=[_seen_entry(row, principal) for row in rows], next=following)


def _seen_entry(entry: AuditEntry, principal: Principal) -> AuditEntryView:
    view = audit_entry_view(entry)
    is_of_people = entry.tenant_id != PLATFORM and entry.action.startswith(OF_A_TENANTS_PEOPLE)
    if is_of_people and principal.is_unvisiting_person:
        view.facts = {}
    return view


async def _form(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


@post(
    "/oauth/token",
    permission=PUBLIC,
    tags=["Tokens"],
    operation_id="IssueToken",
    status_code=HTTP_200_OK,
)
async def issue_token(
    request: Request[Any, Any, Any], database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[bytes]:
    """Client credentials (RFC 6749 section 4.4): a form with `grant_type=client_credentials`, HTTP Basic or body
    authentication, answered with an opaque bearer token."""
    form = await _form(request)
    async with database.transaction(Scope.platform()) as session:
        status, body, headers = await tokens.token_response(
            session,
            form,
            dict(request.headers.items()),
            lifetime_seconds=settings.access_token_lifetime_seconds,
        )
    headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return Response(msgspec.json.encode(body), status_code=status, headers=headers, media_type=MediaType.JSON)


@post(
    "/oauth/revoke",
    permission=PUBLIC,
    tags=["Tokens"],
    operation_id="RevokeToken",
    status_code=HTTP_200_OK,
)
async def revoke_token(request: Request[Any, Any, Any], database: NamedDependency[Database]) -> None:
    """End the bearer token in `token` (RFC 7009); the caller authenticates with a token of the same client."""
    form = await _form(request)
    async with database.transaction(Scope.platform()) as session:
        principal = await tokens.authenticate(session, request.headers.get("authorization"))
        await tokens.revoke_token(session, form.get("token", ""), principal.client_id)


ROUTES = [
    create_tenant,
    list_tenants,
    get_tenant,
    change_contact,
    suspend_tenant,
    lift_suspension,
    create_client,
    list_clients,
    revoke_client,
    list_audit,
    issue_token,
    revoke_token,
]
