"""What stands between a tenant and its end, read from all rooms."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import Date, DateTime, case, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from billing import equipment, journal, ledger
from billing.models import Contract, UnratedCall
from billing.outages.models import Fault
from infra.kit import money
from provisioning.models import Seat, SeatOrder
from provisioning.rules.departure import Account
from provisioning.rules.order_steps import PENDING
from switch.models import NewCall

_OVER = ("ended", "lapsed")
_LEFT = ("closed", "cancelled")


async def account_of(session: AsyncSession, tenant_id: str) -> Account:
    """What is known of a tenant that is to leave."""
    query = select(Contract).where(Contract.tenant_id == tenant_id).order_by(Contract.contract_id)
    contracts = list((await session.execute(query)).scalars())
    balance = await ledger.balance(session, tenant_id)
    accounts = await journal.balances(session, tenant_id)
    deposit = -sum((accounts.get(name, money.ZERO) for name in ("deposit_due", "deposit_held")), Decimal(0))
    orders = select(func.count()).where(SeatOrder.tenant_id == tenant_id, SeatOrder.state.in_(PENDING))
    seats = select(func.count()).where(Seat.tenant_id == tenant_id, Seat.state.not_in(_LEFT))
    new = select(func.count()).where(NewCall.tenant_id == tenant_id)
    faults = select(func.count()).where(Fault.tenant_id == tenant_id, Fault.state == "reported")
    unrated = select(func.count()).where(UnratedCall.tenant_id == tenant_id)
    return Account(
        running_contracts=[each.contract_id for each in contracts if each.state not in _OVER],
        uninvoiced_contracts=[each.contract_id for each in contracts if _has_more_to_invoice(each)],
        pending_orders=(await session.execute(orders)).scalar_one(),
        held_seats=(await session.execute(seats)).scalar_one(),
        unrated_calls=(await session.execute(new)).scalar_one() + (await session.execute(unrated)).scalar_one(),
        undecided_faults=(await session.execute(faults)).scalar_one(),
        equipment_out=await equipment.labels_out(session, tenant_id),
        owed=balance.owed,
        credit=balance.credit,
        deposit=deposit,
        last_end=await session.scalar(select(last_end()).where(Contract.tenant_id == tenant_id)),
    )


def last_end() -> ColumnElement[date | None]:
    """The last end of a tenant's contracts. One that lapsed unopened was over on the first day after the month that it
    was to open in (rule 5), whatever end had been agreed."""
    opening_month = func.date_trunc("month", cast(Contract.opens_on, DateTime))
    lapsed_on = cast(opening_month + text("interval '1 month'"), Date)
    return func.max(case((Contract.state == "lapsed", lapsed_on), else_=Contract.ends_on))


def _has_more_to_invoice(contract: Contract) -> bool:
    """Whether the final invoice (rule 11), which bills the month of the end in arrears, is still to come."""
    if contract.state != "ended" or contract.ends_on is None:
        return False
    return contract.billed_through is None or contract.billed_through < contract.ends_on.replace(day=1)
