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
        "call_policy:read", "live:read", "papers:read", "equipment:read", "webhooks:read", "departures:read",
        "tunnels:read",
    }
)  # fmt: skip

_PERMISSIONS: dict[Role, frozenset[str]] = {
    "platform_operator": _TENANT_READS
    | {
        "exports:read", "exports:write", "departures:write",
        "papers:write", "papers:open", "papers:review", "equipment:write",
        "people:write", "visits:write", "visits:end", "identity_providers:write",
        "tenants:write", "clients:write", "contracts:write", "seat_orders:write", "seat_orders:waive_notice",
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
        "departures:write",
        "contracts:write", "rate_decks:write", "invoices:write", "payments:write", "charges:write",
        "refunds:write", "invoice_runs:preview", "invoice_runs:release", "re_ratings:read", "re_ratings:write",
        "write_offs:read", "write_offs:write", "set_aside_records:read", "bank_statements:read",
        "ledger:read", "payment_promises:read", "payment_promises:write", "billing_contacts:write",
        "faults:report", "faults:decide", "tax_particulars:write", "fapiao:export", "fapiao:write",
        "checkouts:write", "stripe_events:read", "stripe_events:write", "completeness:read", "completeness:sign_off",
    },
    "tenant_admin": _TENANT_READS
    | {
        "people:write", "visits:end", "identity_providers:write",
        "papers:write", "papers:open",
        "seat_orders:write", "seats:write", "clients:write", "billing_contacts:write", "faults:report",
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
        "seats:write",
        "call_policy:write",
        "tunnels:write",
        "webhooks:read",
        "exports:read",
        "exports:write",
    }
)
"""What is a tenant's own: an operator's person gets at it on a visit only, for a reason that the tenant can read.

API clients of operators are the platform's own machinery and need none."""

ON_A_VISIT: frozenset[str] = _PERMISSIONS["tenant_admin"] - {
    "clients:write", "people:write", "identity_providers:write", "webhooks:write", "self:manage",
}  # fmt: skip
"""What an operator may do within a tenant: what its admin may, but for what outlasts the visit."""


def permissions_of_person(role: Role) -> frozenset[str]:
    """Everything that a person with this role may do when not on a visit."""
    return _PERMISSIONS[role] - NEEDS_A_VISIT if role == "platform_operator" else _PERMISSIONS[role]


def permissions_of(role: Role) -> frozenset[str]:
    """Everything a role may do."""
    return _PERMISSIONS[role]


def may_grant(granter: Role, granted: Role) -> bool:
    """Whether a caller may make a client, or invite a person, with this role: operators any, tenant admins those of
    their tenant."""
    if granter == "platform_operator":
        return True
    return granter == "tenant_admin" and granted in TENANT_ROLES
