"""A term that goes on: renewed at least a month before its end, with new terms where both agree (C14)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from billing import order_invoices
from billing.agreements import amendments, checks, ends
from billing.agreements.checks import Signed
from billing.agreements.errors import AgreementRefused, NothingToRenew, RenewalTooLate
from billing.agreements.models import ContractAgreement
from billing.contracts import LONGEST_CONTRACT_YEARS, get_contract
from billing.models import Contract
from billing.rules.contract_periods import LONGEST_TERM_YEARS, renewal_deadline, term_ends_on
from billing.rules.months import ONE_DAY
from billing.rules.reading import Reader
from infra.kit import clock

_READER = Reader(AgreementRefused)


async def renew(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    term_years: int | None,
    ends_on: date | None,
    overrides: Mapping[str, object],
    signed: Signed,
) -> ContractAgreement:
    """Move the contract's end: by a term in years from the day after it, or to a day; one of the two.

    `overrides` are terms that hold from the new term's first day on. Orders that were charged up to the old end only
    are charged anew. Raises `NothingToRenew`, `RenewalTooLate`, `AgreementRefused` naming the value, `TermRefused`
    naming the term, `InvoiceNotVoidable` where a fapiao was issued for such an order, `ContractNotOpen`,
    `ContractNotFound`.
    """
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    today = clock.today()
    checks.check_lasting(contract, today)
    checked = signed.checked()
    ended_before = await _renewable_end(session, contract, today)
    new_term = ended_before + ONE_DAY
    last_day = _new_end(new_term, term_years, ends_on)
    contract.ends_on = last_day
    await session.flush()
    await order_invoices.recharge_cut_at(session, contract, ended_before, today=today)
    version: int | None = None
    if overrides:
        added = await amendments.add_version(
            session, contract, effective_on=new_term, overrides=overrides, signed=checked
        )
        version = added.version
    return await ends.record(
        session,
        contract,
        kind="renewal",
        ends_on_before=ended_before,
        ends_on=last_day,
        reason=checked.reason,
        signed_by_operator=checked.by_operator,
        signed_by_tenant=checked.by_tenant,
        version=version,
    )


async def _renewable_end(session: AsyncSession, contract: Contract, today: date) -> date:
    if contract.ends_on is None:
        raise NothingToRenew("The contract has no end; there is nothing to renew.", field="contract_id")
    early = await ends.standing_early_end(session, contract)
    if early is not None:
        raise NothingToRenew(
            f"The contract ends early on {early.ends_on} ({early.kind}); withdraw that first, or sign a new contract.",
            field="contract_id",
        )
    deadline = renewal_deadline(contract.ends_on)
    if today > deadline:
        raise RenewalTooLate(
            f"A renewal is agreed at least one month before the end; for {contract.ends_on} that was {deadline}. "
            "Sign a new contract that opens when this one ends.",
            field="contract_id",
            renewal_deadline=deadline.isoformat(),
        )
    return contract.ends_on


def _new_end(first_day: date, term_years: int | None, ends_on: date | None) -> date:
    if term_years is not None and ends_on is None:
        _READER.whole(term_years, "term_years", minimum=1, maximum=LONGEST_TERM_YEARS)
        return term_ends_on(first_day, term_years)
    if term_years is not None or ends_on is None:
        raise AgreementRefused("term_years", "neither or both are given", "either `term_years` or `ends_on`")
    latest_year = clock.today().year + LONGEST_CONTRACT_YEARS
    if ends_on < first_day or ends_on.year > latest_year:
        expected = f"a day from {first_day} to the year {latest_year}"
        raise AgreementRefused("ends_on", f"{ends_on} is not acceptable", expected)
    return ends_on
