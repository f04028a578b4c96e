"""What we hold of a tenant, table by table: whether it goes into the export, and what becomes of it at the end (C26).

`erase`: the rows go. `blank`: the rows stay without what is personal in them. `keep`: they stay as they are, because
the law asks for it (vouchers, invoices and books: ten years and more) or because nothing in them is personal.
A test holds every table with a tenant against this map: a new table without an entry fails it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Fate = Literal["erase", "blank", "keep", "trail"]


@dataclass(frozen=True, slots=True)
class Treatment:
    """`blanks`: what stands in a column instead. `hidden`: columns that no export shows (secrets, sealed texts)."""

    fate: Fate
    why: str
    blanks: Mapping[str, Any] = field(default_factory=dict[str, Any])
    hidden: frozenset[str] = frozenset()
    is_exported: bool = True


BOOKS = "part of the books: kept as long as the law asks"
NOT_PERSONAL = "nothing personal in it"
AGREED = "what was agreed and charged: proof of the books"


def _erase(*, hidden: str = "", exported: bool = True) -> Treatment:
    return Treatment("erase", "of no use after the end", hidden=frozenset(hidden.split()), is_exported=exported)


def _keep(why: str, *, exported: bool = True) -> Treatment:
    return Treatment("keep", why, is_exported=exported)


def _blank(why: str, blanks: Mapping[str, Any], *, hidden: str = "") -> Treatment:
    return Treatment("blank", why, blanks, hidden=frozenset(hidden.split()))


BY_TABLE: Mapping[str, Treatment] = {
    # tenancy: the company stays as the books name it; its people, papers and secrets go
    "tenant": _blank("the company that the books name", {"contact_email": None}),
    "client": _erase(hidden="secret_digest"),
    "person": _erase(hidden="password_hash"),
    "person_session": _erase(exported=False),
    "password_reset": _erase(exported=False),
    "invitation": _erase(hidden="token_digest"),
    "identity_provider": _erase(hidden="sealed_client_secret"),
    "visit": _erase(),
    "paper": _erase(),
    "sip_domain": _erase(),
    "audit_entry": Treatment("trail", "what moved money stays, without names, reasons and notes"),
    "webhook_endpoint": _erase(hidden="sealed_secret sealed_former_secret"),
    "webhook_event": _erase(),
    "webhook_delivery": _erase(),
    "webhook_attempt": _erase(),
    "outbox_mail": _erase(hidden="sealed_secret"),
    # switch: calls stay as counts and lengths that were charged, without who called whom
    "call_record": _blank(
        AGREED, {"caller": "", "destination": "", "body": b"", "seat_id": None, "other_leg_id": None}, hidden="body"
    ),
    "ended_call": _erase(exported=False),
    "new_call": _erase(exported=False),
    "live_leg": _erase(exported=False),
    "live_registration": _erase(exported=False),
    "refused_sign_in": _erase(),
    "sip_account": _erase(hidden="a1_hash"),
    "placement": _erase(),
    "phone_number": _erase(),
    "pooled_number": _keep("the number is the platform's, and is parted from the tenant", exported=False),
    "number_event": _erase(),
    "media_policy": _erase(),
    "call_policy": _erase(),
    "canary_check": _erase(),
    "registration_watch": _erase(exported=False),
    # billing: the books
    "allocation": _keep(BOOKS),
    "card_payment": _keep(BOOKS),
    "card_return": _keep(BOOKS),
    "charge": _keep(BOOKS),
    "checkout": _blank(BOOKS, {"url": ""}, hidden="url"),
    "data_usage": _keep(BOOKS),
    "fapiao": _keep(BOOKS),
    "fault_credit": _keep(BOOKS),
    "holding": _keep(BOOKS),
    "invoice": _keep(BOOKS),
    "invoice_counter": _keep(BOOKS, exported=False),
    "invoice_line": _keep(BOOKS),
    "one_off_charge": _keep(BOOKS),
    "payment": _keep(BOOKS),
    "posting": _keep(BOOKS),
    "re_rated_call": _keep(BOOKS),
    "re_rating": _keep(BOOKS),
    "refund": _keep(BOOKS),
    "rent_charge": _keep(BOOKS),
    "tax_particulars": _blank(BOOKS, {"phone": None}),
    "write_off": _keep(BOOKS),
    "consent": _blank(AGREED, {"reason": "", "decision_reason": None}),
    "contract": _keep(AGREED),
    "contract_agreement": _blank(
        AGREED, {"signed_by_operator": "", "signed_by_tenant": "", "reason": "", "withdrawal_reason": None}
    ),
    "contract_version": _blank(
        AGREED, {"signed_by_operator": "", "signed_by_tenant": "", "reason": "", "cancellation_reason": None}
    ),
    "equipment": _blank(AGREED, {"note": None}),
    "fault": _blank(AGREED, {"note": "", "decision_reason": None}),
    "fault_evidence": _erase(),
    "suspension": _keep(AGREED),
    "payment_promise": _erase(),
    "billing_contact": _erase(),
    "contract_reminder": _keep(NOT_PERSONAL, exported=False),
    "set_aside_contract": _keep(NOT_PERSONAL, exported=False),
    "spend_alert": _erase(),
    "spend_cap": _erase(),
    "unrated_call": _erase(exported=False),
    # provisioning: how many seats when, not whose
    "seat": _blank(
        AGREED,
        {"name": None, "group_name": None, "person_name": None, "person_mail": None, "person_number": None},
    ),
    "seat_order": _keep(AGREED),
    "hand_out": _erase(),
    "hand_out_link": _erase(exported=False),
    "observation": _erase(),
    "tunnel_account": _erase(),
    "tunnel_block": _erase(exported=False),
    "tunnel_counter": _erase(),
    "tunnel_key": _erase(exported=False),
    "tunnel_network": _erase(exported=False),
    "tunnel_pool": _erase(exported=False),
    "tenant_export": _blank("that there was one", {"link_digest": None, "state": "expired"}, hidden="link_digest"),
    "departure": _keep("the proof of the end itself"),
}
"""Clients go first of all: from then on nobody acts for the tenant. The order of the rest does not matter."""

COLLECTIONS: tuple[str, ...] = ("papers", "exports")
"""What lies in object storage for a tenant; all of it is removed."""

TRAIL_OF_MONEY: tuple[str, ...] = (
    "bank_statement_line.", "card_payment.", "card_refund.", "checkout.", "consent.", "contract.", "departure.",
    "fapiao.", "fault.", "holdings.", "invoice.", "one_off_charge.", "order.", "payment.", "re_rating.", "refund.",
    "seat_order.", "tenant.active", "tenant.created", "tenant.suspended", "write_off.",
)  # fmt: skip
"""Beginnings of the actions that stay in the audit trail."""

FACTS_OF_MONEY: tuple[str, ...] = (
    "amount", "cause", "contract_id", "count", "deck_id", "effective_on", "ends_on", "ends_on_before", "erase_on",
    "invoice_id", "item", "kind", "month", "number", "numbers", "objects", "on", "period", "quantity", "rows",
    "settled_amount", "settled_currency", "total", "value_on", "version",
)  # fmt: skip
"""Facts that stay with them; all others (names, notes, reasons, references) go."""
