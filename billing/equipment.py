"""The register of equipment handed out with seats; what is lost or damaged by the tenant is charged once (C22).

A thing is `out` until it was returned, lost or damaged, and its end is one move under the locks of tenant and contract:
whoever comes second finds it ended. The charge is made in the same transaction and belongs to the thing for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import one_off_charges
from billing.contracts import get_contract, terms_of
from billing.equipment_models import Equipment
from billing.errors import ContractNotOpen
from billing.models import Contract, Holding
from billing.rules.errors import BillingRefused
from billing.rules.reading import Reader
from infra.kit import audit, clock, money, reasons
from infra.kit.ids import new_id
from infra.kit.problems import Conflict, NotFound

KINDS = ("partition", "desk", "chair", "computer", "headset", "telephone", "other")
ENDS = ("returned", "lost", "damaged")
End = Literal["returned", "lost", "damaged"]
STATES = ("out", *ENDS)
LABEL_LIMIT_CHARACTERS = 100
CHARGE_KIND = "equipment"


class EquipmentRefused(BillingRefused):
    """What is said of a thing is not acceptable; `field` names it."""

    code = "equipment_refused"
    title = "The equipment is not acceptable"


class EquipmentUnknown(NotFound):
    """There is no such thing on the register for this caller."""

    code = "equipment_not_found"


class EquipmentNotInContract(Conflict):
    """The contract hands out no equipment (C22)."""

    code = "equipment_not_in_contract"


class EquipmentIsOut(Conflict):
    """Something with this label is out already."""

    code = "equipment_is_out"


class EquipmentEnded(Conflict):
    """The thing was returned, lost or damaged already; it is charged at most once."""

    code = "equipment_ended"


class EquipmentBilled(Conflict):
    """The charge for the thing is on an invoice."""

    code = "equipment_billed"


_READER = Reader(EquipmentRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """A thing that is handed out: its label, the maker's price (CNY with tax, a decimal string), its seat if any."""

    kind: str
    label: str
    makers_price: str
    on: date
    seat_number: int | None = None


async def hand_out(session: AsyncSession, *, tenant_id: str, contract_id: str, thing: HandOver) -> Equipment:
    """Put a thing on the register.

    Raises `EquipmentRefused`, `EquipmentNotInContract`, `EquipmentIsOut`, `ContractNotFound`, `ContractNotOpen`.
    """
    _READER.choice(thing.kind, "kind", KINDS)
    label = thing.label.strip()
    if not 1 <= len(label) <= LABEL_LIMIT_CHARACTERS:
        raise EquipmentRefused("label", f"it has {len(label)} characters", f"1 to {LABEL_LIMIT_CHARACTERS}")
    price = _READER.decimal(thing.makers_price, "makers_price", places=money.FEN, minimum=money.ZERO)
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    if contract.state in {"ended", "lapsed"}:
        raise ContractNotOpen(f"The contract {contract_id} has {contract.state}.", field="contract_id")
    if not terms_of(contract).equipment_on_register:
        raise EquipmentNotInContract("Under this contract no equipment is handed out.", field="contract_id")
    _check_day(contract, thing.on, "on")
    if thing.seat_number is not None:
        await _check_seat(session, contract, thing.seat_number)
    taken = select(Equipment.equipment_id).where(
        Equipment.tenant_id == tenant_id, Equipment.label == label, Equipment.state == "out"
    )
    if (await session.execute(taken)).first() is not None:
        raise EquipmentIsOut(f"{label} is out with this tenant already.", field="label")
    now = clock.now()
    row = Equipment(
        tenant_id=tenant_id,
        equipment_id=new_id("equ"),
        contract_id=contract_id,
        seat_number=thing.seat_number,
        kind=thing.kind,
        label=label,
        makers_price=price,
        state="out",
        handed_out_on=thing.on,
        ended_on=None,
        note=None,
        charge_id=None,
        created_at=now,
        changed_at=now,
    )
    session.add(row)
    await session.flush()
    await _tell(session, row, "equipment.handed_out")
    return row


async def end(
    session: AsyncSession, *, equipment_id: str, how: End, on: date, note: str, by_tenant: bool = True,
    amount: str | None = None,
) -> Equipment:  # fmt: skip
    """Take a thing off the register: returned, lost or damaged.

    What the tenant has lost or damaged is charged at the maker's price, or at less (`amount`), on the invoice after the
    month of `on`; what was returned, and what is not the tenant's doing, costs nothing. Raises `EquipmentUnknown`,
    `EquipmentEnded`, `EquipmentRefused`.
    """
    _READER.choice(how, "outcome", ENDS)
    said = reasons.given(note, field="note")
    row, contract = await _locked(session, equipment_id)
    if row.state != "out":
        raise EquipmentEnded(f"{row.label} was {row.state} on {row.ended_on} already.", field="equipment_id")
    _check_day(contract, on, "on")
    if on < row.handed_out_on:
        raise EquipmentRefused("on", f"{on} is before it was handed out", f"{row.handed_out_on} or later")
    owed = _owed(row, how, by_tenant=by_tenant, amount=amount)
    if owed:
        charge = await one_off_charges.create(
            session,
            tenant_id=row.tenant_id,
            contract_id=row.contract_id,
            kind=CHARGE_KIND,
            on=on,
            amount=money.amount_text(owed),
            note=f"{row.kind} {row.label}: {how}",
        )
        row.charge_id = charge.charge_id
    row.state, row.ended_on, row.note, row.changed_at = how, on, said, clock.now()
    await session.flush()
    await _tell(session, row, f"equipment.{how}", charged=money.amount_text(owed), reason=said)
    return row


async def labels_out(session: AsyncSession, tenant_id: str, contract_id: str | None = None) -> list[str]:
    """What a tenant still has, under one contract or all, by label."""
    query = select(Equipment.label).where(Equipment.tenant_id == tenant_id, Equipment.state == "out")
    if contract_id is not None:
        query = query.where(Equipment.contract_id == contract_id)
    return list((await session.execute(query.order_by(Equipment.label))).scalars())


async def take_back(session: AsyncSession, *, equipment_id: str, reason: str) -> Equipment:
    """The thing has turned up, or its end was recorded by mistake: it is out again and its charge is cancelled.

    Raises `EquipmentEnded` for one that is out, `EquipmentBilled` where an invoice has the charge: a credit note undoes
    that. `EquipmentIsOut` where its label is out anew.
    """
    said = reasons.given(reason)
    row, _ = await _locked(session, equipment_id)
    if row.state == "out":
        raise EquipmentEnded(f"{row.label} is out; there is nothing to take back.", field="equipment_id")
    if row.charge_id is not None:
        charge = await one_off_charges.find(session, row.charge_id, row.tenant_id)
        if one_off_charges.state_of(charge) == "billed":
            raise EquipmentBilled(
                f"Its charge is on the invoice of {charge.billed_on}; credit that by a note.", field="equipment_id"
            )
        if one_off_charges.state_of(charge) == "waiting":
            await one_off_charges.cancel(session, tenant_id=row.tenant_id, charge_id=row.charge_id, reason=said)
    taken = select(Equipment.equipment_id).where(
        Equipment.tenant_id == row.tenant_id, Equipment.label == row.label, Equipment.state == "out"
    )
    if (await session.execute(taken)).first() is not None:
        raise EquipmentIsOut(f"{row.label} was handed out anew.", field="label")
    row.state, row.ended_on, row.note, row.charge_id, row.changed_at = "out", None, None, None, clock.now()
    await session.flush()
    await _tell(session, row, "equipment.out_again", reason=said)
    return row


async def find(session: AsyncSession, equipment_id: str, tenant_id: str | None) -> Equipment:
    """A thing, narrowed to a tenant where the caller belongs to one. Raises `EquipmentUnknown`."""
    query = (
        select(Equipment).where(Equipment.equipment_id == equipment_id).execution_options(populate_existing=True)
    )  # fmt: skip
    if tenant_id is not None:
        query = query.where(Equipment.tenant_id == tenant_id)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise EquipmentUnknown(f"There is no equipment {equipment_id}.", field="equipment_id")
    return row


async def _locked(session: AsyncSession, equipment_id: str) -> tuple[Equipment, Contract]:
    """A thing as it is now, under the locks of its tenant and contract."""
    found = await find(session, equipment_id, None)
    contract = await get_contract(session, found.tenant_id, found.contract_id, for_update=True)
    return await find(session, equipment_id, found.tenant_id), contract


def _owed(row: Equipment, how: End, *, by_tenant: bool, amount: str | None) -> Decimal:
    """What its end costs the tenant, CNY."""
    if how == "returned" or not by_tenant:
        if amount is not None:
            raise EquipmentRefused("amount", "nothing is charged", "no amount")
        return money.ZERO
    if amount is None:
        return row.makers_price
    return _READER.decimal(amount, "amount", places=money.FEN, minimum=money.ZERO, maximum=row.makers_price)


def _check_day(contract: Contract, on: date, field: str) -> None:
    first, today = min(contract.signed_on, contract.opens_on), clock.today()
    if not first <= on <= today:
        raise EquipmentRefused(field, f"{on} is not acceptable", f"a day from {first} to {today}")


async def _check_seat(session: AsyncSession, contract: Contract, number: int) -> None:
    query = select(Holding.number).where(
        Holding.tenant_id == contract.tenant_id,
        Holding.contract_id == contract.contract_id,
        Holding.item == "seat",
        Holding.number == number,
        Holding.lapsed.is_(False),
    )
    if (await session.execute(query)).first() is None:
        raise EquipmentRefused("seat_number", f"the contract has no seat {number}", "the number of one of its seats")


async def _tell(session: AsyncSession, row: Equipment, action: str, **facts: str) -> None:
    await audit.record(
        session, row.tenant_id, action, row.equipment_id, contract_id=row.contract_id, label=row.label,
        charge_id=row.charge_id, **facts,
    )  # fmt: skip
