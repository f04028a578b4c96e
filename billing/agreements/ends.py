"""The end of a contract before its term is over: agreed by both (C15), or for a ground by the operator alone (C16).

Both move `Contract.ends_on`; what closes then, and the final invoice, is the same as at the end of a term (rule 11).
A month that is charged already stays charged: an end inside it was not known when it was.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import one_off_charges
from billing.agreements import checks
from billing.agreements.checks import Signed
from billing.agreements.errors import (
    AgreementRefused,
    EndNotEarlier,
    EndNotWithdrawable,
    NoEndToWithdraw,
    OrdersBeyondTheEnd,
    PenaltyUnknown,
    SubLettingConsented,
)
from billing.agreements.models import Consent, ContractAgreement
from billing.contracts import LONGEST_CONTRACT_YEARS, get_contract
from billing.models import Contract, Holding, RentCharge
from billing.rules.contract_periods import GROUNDS, earliest_change, earliest_extraordinary_end
from billing.rules.months import Month
from billing.rules.reading import Reader
from infra.kit import audit, clock, money
from infra.kit.ids import new_id

EARLY_ENDS = ("agreed_end", "extraordinary_end", "transfer")
NAMED_ORDERS = 20
"""Orders that stand in the way are named up to this many."""

_READER = Reader(AgreementRefused)


async def agree(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    ends_on: date,
    noticed_on: date,
    signed: Signed,
    notice_waiver: str | None = None,
) -> ContractAgreement:
    """End a contract early by agreement of both (C15), at least a month after the notice unless both waive that.

    Raises `InsideNotice`, `EndNotEarlier`, `OrdersBeyondTheEnd`, `AgreementRefused` naming the value,
    `ContractNotOpen`, `ContractNotFound`.
    """
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    checks.check_lasting(contract, clock.today())
    checks.check_noticed(contract, noticed_on)
    why_waived, earliest = checks.waiver(notice_waiver), earliest_change(noticed_on)
    checks.check_notice(ends_on, "ends_on", noticed_on=noticed_on, earliest=earliest, is_waived=why_waived is not None)
    checked = signed.checked()
    if contract.ends_on is not None and ends_on >= contract.ends_on:
        raise EndNotEarlier(f"The contract ends on {contract.ends_on} anyway; renew it to go on.", field="ends_on")
    return await shorten(
        session,
        contract,
        kind="agreed_end",
        ends_on=ends_on,
        noticed_on=noticed_on,
        notice_waiver=why_waived if ends_on < earliest else None,
        reason=checked.reason,
        signed_by_operator=checked.by_operator,
        signed_by_tenant=checked.by_tenant,
    )


async def end_extraordinarily(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    ends_on: date,
    noticed_on: date,
    ground: str,
    reason: str,
    signed_by_operator: str,
    penalty: str | None = None,
) -> ContractAgreement:
    """End a contract for one of the grounds of C16, five days or more after the written notice, and charge the penalty.

    The penalty (CNY, a decimal string) is the one that the contract names; `penalty` may be less, or tell it where the
    contract names none. It is a one-off charge of the last day, so that the final invoice carries it. Raises
    `AgreementRefused` naming the value, `InsideNotice`, `SubLettingConsented`, `PenaltyUnknown`, `EndNotEarlier`,
    `OrdersBeyondTheEnd`, `ContractNotOpen`, `ContractNotFound`.
    """
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    checks.check_lasting(contract, clock.today())
    _READER.choice(ground, "ground", GROUNDS)
    why = checks.text(reason, "reason", checks.REASON_LIMIT_CHARACTERS)
    by_operator = checks.text(signed_by_operator, "signed_by_operator", checks.NAME_LIMIT_CHARACTERS)
    checks.check_noticed(contract, noticed_on)
    earliest = earliest_extraordinary_end(noticed_on)
    checks.check_notice(ends_on, "ends_on", noticed_on=noticed_on, earliest=earliest, is_waived=False)
    if ground == "sub_letting":
        await _check_not_consented(session, contract)
    owed = _penalty_owed(contract, penalty)
    if contract.ends_on is not None and ends_on > contract.ends_on:
        raise EndNotEarlier(f"The contract ends on {contract.ends_on}; choose a day until then.", field="ends_on")
    agreement = await shorten(
        session,
        contract,
        kind="extraordinary_end",
        ends_on=ends_on,
        noticed_on=noticed_on,
        ground=ground,
        reason=why,
        signed_by_operator=by_operator,
    )
    if owed:
        charge = await one_off_charges.create(
            session,
            tenant_id=tenant_id,
            contract_id=contract_id,
            kind="penalty",
            on=ends_on,
            amount=money.amount_text(owed),
            note=f"C16, {ground}: {why}"[: one_off_charges.NOTE_LIMIT_CHARACTERS],
        )
        agreement.penalty_charge_id = charge.charge_id
        await session.flush()
    return agreement


async def withdraw(session: AsyncSession, *, tenant_id: str, contract_id: str, reason: str) -> ContractAgreement:
    """Take the early end that stands back before it takes effect: the end before it stands again, the penalty falls.

    Raises `NoEndToWithdraw`, `EndNotWithdrawable`, `AgreementRefused` for no reason.
    """
    why = checks.text(reason, "reason", checks.REASON_LIMIT_CHARACTERS)
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    checks.check_lasting(contract, clock.today())
    agreement = await standing_early_end(session, contract)
    if agreement is None:
        raise NoEndToWithdraw("No early end of this contract is agreed.", field="contract_id")
    if agreement.kind == "transfer":
        raise EndNotWithdrawable(
            f"The contract goes over to another company after {agreement.ends_on}; its new contract stands.",
            field="contract_id",
        )
    if await _is_charged_to_the_end(session, contract, agreement.ends_on):
        raise EndNotWithdrawable(
            f"Rent of {Month.of(agreement.ends_on)} was charged up to {agreement.ends_on} only; let the contract end "
            "and sign a new one.",
            field="contract_id",
        )
    contract.ends_on = agreement.ends_on_before
    agreement.withdrawn_at = clock.now()
    agreement.withdrawal_reason = why
    await session.flush()
    if agreement.penalty_charge_id is not None:
        charge = await one_off_charges.find(session, agreement.penalty_charge_id, tenant_id)
        if one_off_charges.state_of(charge) == "waiting":  # finance may have let it fall before
            note = "the early end was withdrawn"
            await one_off_charges.cancel(session, tenant_id=tenant_id, charge_id=charge.charge_id, reason=note)
    await audit.record(
        session,
        tenant_id,
        "contract.end_withdrawn",
        contract_id,
        agreement_id=agreement.agreement_id,
        reason=why,
    )
    return agreement


async def shorten(
    session: AsyncSession, contract: Contract, *, kind: str, ends_on: date, **about: Any
) -> ContractAgreement:
    """Move the last day of a contract forward and keep why (`record`'s arguments); the contract is locked.

    Raises `AgreementRefused` for a day that is past, before the opening or far away, and `OrdersBeyondTheEnd`.
    """
    first, latest_year = max(clock.today(), contract.opens_on), clock.today().year + LONGEST_CONTRACT_YEARS
    if ends_on < first or ends_on.year > latest_year:
        expected = f"a day from {first} (today, or the opening) to the year {latest_year}"
        raise AgreementRefused("ends_on", f"{ends_on} is not acceptable", expected)
    await _check_no_orders_beyond(session, contract, ends_on)
    before = contract.ends_on
    contract.ends_on = ends_on
    return await record(session, contract, kind=kind, ends_on_before=before, ends_on=ends_on, **about)


async def record(
    session: AsyncSession,
    contract: Contract,
    *,
    kind: str,
    ends_on_before: date | None,
    ends_on: date,
    reason: str,
    signed_by_operator: str,
    signed_by_tenant: str | None = None,
    noticed_on: date | None = None,
    notice_waiver: str | None = None,
    ground: str | None = None,
    version: int | None = None,
    consent_id: str | None = None,
) -> ContractAgreement:
    """Keep what has moved a contract's last day, with its audit entry."""
    agreement = ContractAgreement(
        tenant_id=contract.tenant_id,
        agreement_id=new_id("agr"),
        contract_id=contract.contract_id,
        kind=kind,
        ends_on_before=ends_on_before,
        ends_on=ends_on,
        ground=ground,
        noticed_on=noticed_on,
        notice_waiver=notice_waiver,
        reason=reason,
        signed_by_operator=signed_by_operator,
        signed_by_tenant=signed_by_tenant,
        version=version,
        penalty_charge_id=None,
        consent_id=consent_id,
        recorded_by=audit.actor.get(),
        recorded_at=clock.now(),
        withdrawn_at=None,
        withdrawal_reason=None,
    )
    session.add(agreement)
    await session.flush()
    await audit.record(
        session,
        contract.tenant_id,
        f"contract.{kind}",
        contract.contract_id,
        agreement_id=agreement.agreement_id,
        ends_on_before=None if ends_on_before is None else ends_on_before.isoformat(),
        ends_on=ends_on.isoformat(),
        ground=ground,
        reason=reason,
    )
    return agreement


async def standing_early_end(session: AsyncSession, contract: Contract) -> ContractAgreement | None:
    """The early end that stands: the last one that was neither withdrawn nor overtaken."""
    query = (
        select(ContractAgreement)
        .where(
            ContractAgreement.tenant_id == contract.tenant_id,
            ContractAgreement.contract_id == contract.contract_id,
            ContractAgreement.kind.in_(EARLY_ENDS),
            ContractAgreement.withdrawn_at.is_(None),
        )
        .order_by(ContractAgreement.agreement_id.desc())
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


def _penalty_owed(contract: Contract, penalty: str | None) -> Decimal:
    agreed = contract.agreed_penalty
    if penalty is None:
        if agreed is None:
            raise PenaltyUnknown(
                "The contract names no penalty; say what was agreed: `penalty`, 0.00 for nothing.", field="penalty"
            )
        return agreed
    return _READER.decimal(penalty, "penalty", places=money.FEN, maximum=agreed)


async def _check_not_consented(session: AsyncSession, contract: Contract) -> None:
    query = select(Consent.company).where(
        Consent.tenant_id == contract.tenant_id,
        Consent.contract_id == contract.contract_id,
        Consent.kind == "sub_letting",
        Consent.state == "granted",
    )
    company = (await session.execute(query.limit(1))).scalar()
    if company is not None:
        raise SubLettingConsented(
            f"The sub-letting to {company} has the operator's consent. If it is another one, name the ground "
            "outside_purpose.",
            field="ground",
        )


async def _check_no_orders_beyond(session: AsyncSession, contract: Contract, ends_on: date) -> None:
    query = (
        select(Holding.order_id)
        .where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.opened_on.is_(None),
            Holding.lapsed.is_(False),
            Holding.effective_on > ends_on,
        )
        .distinct()
        .order_by(Holding.order_id)
        .limit(NAMED_ORDERS)
    )
    order_ids = list((await session.execute(query)).scalars())
    if order_ids:
        raise OrdersBeyondTheEnd(
            f"Orders take effect after {ends_on}: {', '.join(order_ids)}. Cancel them first, or choose a later day.",
            field="ends_on",
            order_ids=order_ids,
        )


async def _is_charged_to_the_end(session: AsyncSession, contract: Contract, ends_on: date) -> bool:
    """Whether some rent of the end's month was cut at that end; taking the end back would leave days uncharged."""
    month = Month.of(ends_on)
    if ends_on == month.last:
        return False
    query = (
        select(Holding.effective_on, RentCharge.days)
        .join(
            RentCharge,
            (RentCharge.tenant_id == Holding.tenant_id)
            & (RentCharge.contract_id == Holding.contract_id)
            & (RentCharge.item == Holding.item)
            & (RentCharge.number == Holding.number),
        )
        .where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.lapsed.is_(False),
            RentCharge.month == month.first,
        )
    )
    for effective_on, days in await session.execute(query):
        first_day = effective_on.day if effective_on > month.first else 1
        if first_day + days - 1 == ends_on.day:
            return True
    return False
