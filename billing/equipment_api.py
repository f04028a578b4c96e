"""HTTP for the equipment register (C22)."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import equipment
from billing.equipment import HandOver
from billing.equipment_models import Equipment
from billing.equipment_schemas import (
    EquipmentEnd,
    EquipmentRevival,
    EquipmentView,
    NewEquipment,
    equipment_view,
)
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal

TAGS = ["Equipment"]
EquipmentState = Annotated[str | None, QueryParameter(name="state", description="out, returned, lost or damaged")]


@post("/v1/equipment", permission="equipment:write", tags=TAGS, operation_id="HandOutEquipment")
async def hand_out(
    data: JSONBody[NewEquipment], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> EquipmentView:
    """Put a thing on the register that a tenant gets with its seats: a partition, a desk, a computer, a headset."""
    thing = HandOver(
        kind=data.kind, label=data.label, makers_price=data.makers_price, on=data.on, seat_number=data.seat_number
    )
    return equipment_view(
        await equipment.hand_out(
            session, tenant_id=principal.tenant_for(data.tenant_id), contract_id=data.contract_id, thing=thing
        )
    )


@get("/v1/equipment", permission="equipment:read", tags=TAGS, operation_id="ListEquipment")
async def list_equipment(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    equipment_state: EquipmentState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[EquipmentView]:
    """The register, newest first; what has ended too."""
    query = principal.narrowed(select(Equipment), Equipment.tenant_id, tenant_id)
    if contract_id is not None:
        query = query.where(Equipment.contract_id == contract_id)
    if equipment_state is not None:
        query = query.where(Equipment.state == equipment_state)
    rows, following = await fetch_page(session, query, keys=(Equipment.equipment_id,), limit=limit, after=after)
    return Page(items=[equipment_view(row) for row in rows], next=following)


@get("/v1/equipment/{equipment_id:str}", permission="equipment:read", tags=TAGS, operation_id="GetEquipment")
async def get_equipment(
    equipment_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> EquipmentView:
    """One thing on the register."""
    return equipment_view(await equipment.find(session, equipment_id, principal.tenant_id))


@post(
    "/v1/equipment/{equipment_id:str}/end",
    permission="equipment:write",
    tags=TAGS,
    operation_id="EndEquipment",
    status_code=HTTP_200_OK,
)
async def end_equipment(
    equipment_id: FromPath[str], data: JSONBody[EquipmentEnd], session: NamedDependency[AsyncSession]
) -> EquipmentView:
    """A thing was returned, lost or damaged; what the tenant has lost or damaged is charged, once."""
    return equipment_view(
        await equipment.end(
            session,
            equipment_id=equipment_id,
            how=data.outcome,
            on=data.on,
            note=data.note,
            by_tenant=data.by_tenant,
            amount=data.amount,
        )
    )


@post(
    "/v1/equipment/{equipment_id:str}/revival",
    permission="equipment:write",
    tags=TAGS,
    operation_id="ReviveEquipment",
    status_code=HTTP_200_OK,
)
async def revive_equipment(
    equipment_id: FromPath[str], data: JSONBody[EquipmentRevival], session: NamedDependency[AsyncSession]
) -> EquipmentView:
    """A thing has turned up, or its end was a mistake: it is out again and its charge cancelled, if not billed yet."""
    return equipment_view(await equipment.take_back(session, equipment_id=equipment_id, reason=data.reason))


ROUTES = [hand_out, list_equipment, get_equipment, end_equipment, revive_equipment]
