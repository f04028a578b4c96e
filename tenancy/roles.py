"""Roles and what each may do: one pure table."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["platform_operator", "finance", "tenant_admin", "tenant_viewer"]
ROLES: tuple[Role, ...] = get_args(Role)

_TENANT_READS = frozenset(
    {
        "tenants:read", "contracts:read", "seat_orders:read", "seats:read", "calls:read", "invoices:read",
        "payments:read", "charges:read", "call_charges:read", "rate_decks:read", "audit:read", "quotes:make",
        "numbers:read",
        "canary_checks:read", "billing_contacts:read", "reminders:read", "faults:read", "maintenance:read",
        "people:read", "visits:read", "identity_providers:read", "self:manage",
        "call_policy:read", "live:read", "refused_sign_ins:read", "papers:read", "equipment:read", "webhooks:read",
        "departures:read", "tunnels:read",
    }
)  # fmt: skip

_PERMISSIONS: dict[Role, frozenset[str]] = {
    "platform_operator": _TENANT_READS
    | {
        "exports:read", "exports:write", "departures:write",
        "papers:write", "papers:open", "papers:review", "equipment:write",
        "people:write", "visits:write", "visits:end", "identity_providers:write", "identity_providers:remove",
        "clients:read", "clients:write", "clients:revoke",
        "tenants:write", "tenants:contact", "contracts:write", "seat_orders:write", "seat_orders:waive_notice",
        "seats:write", "rate_decks:write", "nodes:read", "nodes:write", "numbers:write", "gateways:write",
        "number_pool:read", "number_pool:write",
        "set_aside_records:read", "set_aside_records:write", "invoice_runs:preview", "re_ratings:read",
        "write_offs:read", "bank_statements:read",
        "ledger:read", "payment_promises:read", "faults:report", "faults:decide", "maintenance:write",
        "maintenance:propose",
        "tax_particulars:write", "fapiao:export", "consents:request", "consents:decide",
        "stripe_events:read", "call_policy:write", "platform_call_policy:read", "platform_call_policy:write",
        "live:hang_up", "completeness:read", "completeness:sign_off",
        "tunnels:write", "tunnel_gateways:read", "tunnel_gateways:write",
    },
    "finance": _TENANT_READS
    | {
        "departures:write", "visits:write", "visits:end",
        "contracts:write", "rate_decks:write", "invoices:write", "payments:write", "charges:write",
        "refunds:write", "invoice_runs:preview", "invoice_runs:release", "re_ratings:read", "re_ratings:write",
        "write_offs:read", "write_offs:write", "set_aside_records:read", "bank_statements:read",
        "ledger:read", "payment_promises:read", "payment_promises:write", "billing_contacts:write",
        "faults:report", "faults:decide", "tax_particulars:write", "fapiao:export", "fapiao:write",
        "checkouts:write", "stripe_events:read", "stripe_events:write", "completeness:read", "completeness:sign_off",
    },
    "tenant_admin": _TENANT_READS
    | {
        "tenants:contact", "people:write", "visits:end", "identity_providers:write", "identity_providers:remove",
        "clients:read", "clients:write", "clients:revoke",
        "papers:write", "papers:open",
        "seat_orders:write", "seats:write", "billing_contacts:write", "faults:report",
        "tax_particulars:write", "consents:request", "checkouts:write", "call_policy:write", "live:hang_up",
        "webhooks:write", "exports:read", "exports:write",
        "tunnels:write",
    },
    "tenant_viewer": _TENANT_READS,
}  # fmt: skip

TENANT_ROLES: frozenset[Role] = frozenset({"tenant_admin", "tenant_viewer"})
"""Roles that belong to one tenant; the others belong to none."""


NEEDS_A_VISIT = frozenset(
    {
        "calls:read",
        "call_charges:read",
        "live:read",
        "live:hang_up",
        "seats:read",
        "seats:write",
        "call_policy:write",
        "tunnels:write",
        "webhooks:read",
        "exports:read",
        "exports:write",
    }
)
"""What is a tenant's own: a person of the platform gets at it on a visit only, for a reason that the tenant can read.

API clients of the platform are its own machinery and need none."""

LEADS_PAST_VISITS = frozenset({"clients:write", "identity_providers:write"})
"""What no person of the platform does: whoever holds an API client's secret, or chooses who vouches for a tenant's
people, comes in without a visit. Tenants' admins do it, `seatline client-create`, and machinery."""

_ON_A_VISIT: frozenset[str] = _PERMISSIONS["tenant_admin"] - {
    "clients:read", "clients:write", "clients:revoke", "people:write", "identity_providers:write",
    "identity_providers:remove", "webhooks:write", "self:manage",
}  # fmt: skip


def permissions_of_person(role: Role) -> frozenset[str]:
    """Everything that a person with this role may do when not on a visit."""
    return _PERMISSIONS[role] if role in TENANT_ROLES else _PERMISSIONS[role] - NEEDS_A_VISIT - LEADS_PAST_VISITS


def permissions_on_a_visit(role: Role) -> frozenset[str]:
    """What somebody of the platform may do within a tenant: an operator what its admin may, but for what outlasts the
    visit; finance of that what it may do by its own role."""
    return _ON_A_VISIT if role == "platform_operator" else _ON_A_VISIT & _PERMISSIONS[role]


def permissions_of(role: Role) -> frozenset[str]:
    """Everything a role may do."""
    return _PERMISSIONS[role]


def may_grant(granter: Role, granted: Role) -> bool:
    """Whether a caller may make a client, or invite a person, with this role: operators any, tenant admins those of
    their tenant."""
    if granter == "platform_operator":
        return True
    return granter == "tenant_admin" and granted in TENANT_ROLES
