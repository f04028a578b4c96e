"""One-off charges: recorded by finance, taken by the next monthly run, cancelled before that (C16, C21-C23, rule 3).

Data traffic (C3) comes the same way: rated records whose amounts have up to four decimals, rounded once on the invoice.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import get_contract
from billing.errors import ChargeNotCancellable, ChargeNotFound, ChargeRefused, ContractNotOpen
from billing.models import Invoice, OneOffCharge
from billing.rules.reading import Reader
from billing.rules.terms import CHARGE_KINDS
from infra.kit import audit, clock, money, reasons
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput

NOTE_LIMIT_CHARACTERS = 500
LEAST_AMOUNT = Decimal("0.01")
LONGEST_AHEAD_DAYS = 366
"""A charge agreed now for a later day; further ahead it is a slip of the pen."""

DATA = "data"
KINDS = (*CHARGE_KINDS, DATA)
LEAST_DATA_AMOUNT = Decimal("0.0001")

STATES = ("waiting", "billed", "cancelled")
_READER = Reader(ChargeRefused)


async def create(
    session: AsyncSession, *, tenant_id: str, contract_id: str, kind: str, on: date, amount: str, note: str
) -> OneOffCharge:
    """Record a charge (CNY with tax, a decimal string) that the invoice after the month of `on` takes.

    A charge has two decimals, a rated record of data traffic up to four (rule 3).

    One dated in a month that is invoiced already goes on the next invoice, after the contract's final invoice on a
    supplementary one (rules 3 and 11). Raises `ChargeRefused` naming the value, `ContractNotFound`, `ContractNotOpen`
    for a contract that has lapsed and so gets no invoice.
    """
    _READER.choice(kind, "kind", KINDS)
    places, least = (money.RATED, LEAST_DATA_AMOUNT) if kind == DATA else (money.FEN, LEAST_AMOUNT)
    sum_charged = _READER.decimal(amount, "amount", places=places, minimum=least)
    if not note.strip() or len(note) > NOTE_LIMIT_CHARACTERS:
        raise ChargeRefused(
            "note", f"it has {len(note.strip())} characters", f"1 to {NOTE_LIMIT_CHARACTERS} that say why"
        )
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    if contract.state == "lapsed":
        raise ContractNotOpen(f"The contract {contract_id} has lapsed; nothing is invoiced.", field="contract_id")
    first = min(contract.signed_on, contract.opens_on)
    last = clock.today() + timedelta(days=LONGEST_AHEAD_DAYS)
    if not first <= on <= last:
        raise ChargeRefused("on", f"{on} is not acceptable", f"a day from {first} (the contract's first) to {last}")
    charge = OneOffCharge(
        tenant_id=tenant_id,
        charge_id=new_id("ooc"),
        contract_id=contract_id,
        kind=kind,
        on=on,
        amount=sum_charged,
        note=note.strip(),
        billed_on=None,
        cancelled_at=None,
        cancellation_reason=None,
    )
    session.add(charge)
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "one_off_charge.recorded",
        charge.charge_id,
        contract_id=contract_id,
        kind=kind,
        on=on.isoformat(),
        amount=amount_of(charge),
    )
    return charge


async def cancel(session: AsyncSession, *, tenant_id: str, charge_id: str, reason: str) -> OneOffCharge:
    """Take a charge back that is on no invoice yet; it stays to be seen.

    Raises `ChargeNotFound`, `ChargeNotCancellable` for one that is billed or cancelled, `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    found = await find(session, charge_id, tenant_id)
    await get_contract(session, tenant_id, found.contract_id, for_update=True)  # the monthly run takes this lock too
    charge = await find(session, charge_id, tenant_id)
    if state_of(charge) != "waiting":
        raise ChargeNotCancellable(
            f"The charge {charge_id} is {state_of(charge)}; only one that waits for its invoice can be cancelled.",
            field="charge_id",
        )
    charge.cancelled_at = clock.now()
    charge.cancellation_reason = reason
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "one_off_charge.cancelled",
        charge_id,
        amount=amount_of(charge),
        reason=charge.cancellation_reason,
    )
    return charge


async def find(session: AsyncSession, charge_id: str, tenant_id: str | None) -> OneOffCharge:
    """A charge by its id, narrowed to a tenant where the caller belongs to one. Raises `ChargeNotFound`."""
    query = select(OneOffCharge).where(OneOffCharge.charge_id == charge_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(OneOffCharge.tenant_id == tenant_id)
    charge = (await session.execute(query)).scalar_one_or_none()
    if charge is None:
        raise ChargeNotFound(f"There is no one-off charge {charge_id}.", field="charge_id")
    return charge


def amount_of(charge: OneOffCharge) -> str:
    """The amount as it is shown, CNY: two decimals, a record of data traffic with four."""
    return f"{money.rated(charge.amount):f}" if charge.kind == DATA else money.amount_text(charge.amount)


def state_of(charge: OneOffCharge) -> str:
    """One of `STATES`; `billed` also where its kind rounded to nothing on the invoice."""
    if charge.cancelled_at is not None:
        return "cancelled"
    return "waiting" if charge.billed_on is None else "billed"


def wanted(*, tenant_id: str | None, contract_id: str | None, state: str | None) -> Select[OneOffCharge]:
    """Charges narrowed to a tenant, a contract and a state; None: every one. Raises `InvalidInput` for the state."""
    query = select(OneOffCharge)
    if tenant_id is not None:
        query = query.where(OneOffCharge.tenant_id == tenant_id)
    if contract_id is not None:
        query = query.where(OneOffCharge.contract_id == contract_id)
    match state:
        case None:
            return query
        case "waiting":
            return query.where(OneOffCharge.billed_on.is_(None), OneOffCharge.cancelled_at.is_(None))
        case "billed":
            return query.where(OneOffCharge.billed_on.is_not(None))
        case "cancelled":
            return query.where(OneOffCharge.cancelled_at.is_not(None))
        case _:
            raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")


async def taken_by(session: AsyncSession, invoice: Invoice, kind: str) -> list[OneOffCharge]:
    """The charges of a kind that an invoice has taken, by day."""
    query = (
        select(OneOffCharge)
        .where(
            OneOffCharge.tenant_id == invoice.tenant_id,
            OneOffCharge.contract_id == invoice.contract_id,
            OneOffCharge.kind == kind,
            OneOffCharge.billed_on == invoice.issued_on,
        )
        .order_by(OneOffCharge.on, OneOffCharge.charge_id)
    )
    return list((await session.execute(query)).scalars())
