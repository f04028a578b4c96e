"""What tenants can hear of: one table from what the audit trail tells to what a webhook says. Pure.

Only the named facts leave the house: the trail also holds reasons, names and notes that were not written for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CALL_ENDED = "call.ended"
TEST = "webhook.test"


@dataclass(frozen=True, slots=True)
class Told:
    """What becomes of an audit entry: the event's type, the name of its object's id, and the facts that go along."""

    event_type: str
    object_name: str
    facts: tuple[str, ...] = ()


_FAULT_FACTS = ("contract_id", "item", "numbers", "cause", "began_at", "ended_at")
_WINDOW_FACTS = ("begins_at", "ends_at", "begins_at_before", "ends_at_before", "ended_at")

BY_ACTION: Mapping[str, Told] = {
    "contract.ended": Told("contract.ended", "contract_id", ("ends_on",)),
    "contract.opened": Told("contract.opened", "contract_id", ("on",)),
    "contract.seats_closed": Told("seat.closed", "contract_id", ("count", "seat_ids")),
    "departure.announced": Told("departure.announced", "departure_id", ("erase_on",)),
    "departure.cancelled": Told("departure.cancelled", "departure_id"),
    "fault.confirmed": Told("fault.decided", "fault_id", ("cause",)),
    "fault.corrected": Told("fault.changed", "fault_id", _FAULT_FACTS),
    "fault.ended": Told("fault.closed", "fault_id", ("ended_at",)),
    "fault.observed": Told("fault.opened", "fault_id", _FAULT_FACTS),
    "fault.reclassified": Told("fault.decided", "fault_id", ("cause", "cause_before")),
    "fault.reported": Told("fault.opened", "fault_id", _FAULT_FACTS),
    "fault.split": Told("fault.changed", "fault_id", ("numbers", "into")),
    "fault.withdrawn": Told("fault.withdrawn", "fault_id"),
    "invoice.credited": Told("invoice.credited", "invoice_id", ("number", "total")),
    "invoice.issued": Told("invoice.issued", "invoice_id", ("number", "reason", "period", "total")),
    "invoice.voided": Told("invoice.voided", "invoice_id", ("number",)),
    "maintenance_window.announced": Told("maintenance_window.announced", "window_id", _WINDOW_FACTS),
    "maintenance_window.begun": Told("maintenance_window.begun", "window_id"),
    "maintenance_window.cancelled": Told("maintenance_window.cancelled", "window_id"),
    "maintenance_window.closed": Told("maintenance_window.closed", "window_id", _WINDOW_FACTS),
    "maintenance_window.moved": Told("maintenance_window.moved", "window_id", _WINDOW_FACTS),
    "maintenance_window.overruns": Told("maintenance_window.overruns", "window_id", ("ends_at",)),
    "paper.accepted": Told("paper.accepted", "paper_id", ("kind", "valid_until")),
    "paper.refused": Told("paper.refused", "paper_id", ("kind", "reason")),
    "payment.recorded": Told("payment.recorded", "payment_id", ("amount", "value_on")),
    "payment.reversed": Told("payment.reversed", "payment_id", ("amount",)),
    "seat.resumed": Told("seat.restored", "seat_id"),
    "seat.suspended": Told("seat.suspended", "seat_id"),
    "seat_order.cancelled": Told("seat_order.cancelled", "order_id"),
    "seat_order.done": Told("seat_order.done", "order_id", ("quantity",)),
    "seat_order.lapsed": Told("seat_order.lapsed", "order_id", ("quantity", "reason")),
    "seat_order.placed": Told("seat_order.placed", "order_id", ("kind", "item", "quantity", "effective_on")),
    "seat_order.moved": Told("seat_order.moved", "order_id", ("effective_on", "before")),
    "seats.closed": Told("seat.closed", "order_id", ("contract_id", "item", "count", "seat_ids")),
    "seats.opened": Told("seat.opened", "order_id", ("contract_id", "item", "seat_ids")),
    "sip_account.reissued": Told("seat.credentials_reissued", "seat_id"),
    "tenant.active": Told("tenant.restored", "tenant_id"),
    "tenant.suspended": Told("tenant.suspended", "tenant_id", ("reason",)),
    "visit.began": Told("visit.began", "visit_id", ("visitor", "reason")),
    "visit.ended": Told("visit.ended", "visit_id"),
}
"""By action of the audit trail. An entry of the platform (a maintenance window) is told to every tenant."""

TYPES: tuple[str, ...] = tuple(sorted({told.event_type for told in BY_ACTION.values()} | {CALL_ENDED}))
"""What an endpoint may subscribe to; `webhook.test` comes to whoever asks for it."""


def data_of(told: Told, tenant_id: str, object_id: str | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The `data` of an event."""
    named = {name: facts[name] for name in told.facts if name in facts}
    return {"tenant_id": tenant_id, told.object_name: object_id} | named
