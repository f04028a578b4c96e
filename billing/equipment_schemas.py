"""Request and response bodies of the equipment register."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from billing.equipment_models import Equipment
from infra.kit import money
from infra.kit.http import Body, View


class NewEquipment(Body):
    """A thing handed out. `makers_price`: CNY with tax, a decimal string; `seat_number`: the seat's in its contract."""

    contract_id: str
    kind: str
    label: str
    makers_price: str
    on: date
    seat_number: int | None = None
    tenant_id: str | None = None


class EquipmentEnd(Body):
    """How a thing left the tenant. What is lost or damaged `by_tenant` costs the maker's price, or `amount` if less."""

    outcome: Literal["returned", "lost", "damaged"]
    on: date
    note: str
    by_tenant: bool = True
    amount: str | None = None


class EquipmentRevival(Body):
    """Why the end of a thing is taken back."""

    reason: str


class EquipmentView(View):
    """A thing on the register. `state`: out, returned, lost or damaged; `charge_id`: the charge for its end, if any."""

    equipment_id: str
    tenant_id: str
    contract_id: str
    seat_number: int | None
    kind: str
    label: str
    makers_price: str
    currency: str
    state: str
    handed_out_on: date
    ended_on: date | None
    note: str | None
    charge_id: str | None
    created_at: datetime
    changed_at: datetime


def equipment_view(row: Equipment) -> EquipmentView:
    """A thing as its tenant and the operator see it."""
    return EquipmentView(
        equipment_id=row.equipment_id,
        tenant_id=row.tenant_id,
        contract_id=row.contract_id,
        seat_number=row.seat_number,
        kind=row.kind,
        label=row.label,
        makers_price=money.amount_text(row.makers_price),
        currency=money.CURRENCY,
        state=row.state,
        handed_out_on=row.handed_out_on,
        ended_on=row.ended_on,
        note=row.note,
        charge_id=row.charge_id,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
