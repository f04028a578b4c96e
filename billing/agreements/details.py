"""All that is known of one contract over time, read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.agreements.models import Consent, ContractAgreement, ContractReminder
from billing.models import Contract


@dataclass(frozen=True, slots=True)
class ContractHistory:
    """A contract with what was agreed, asked and reminded of since its signature, oldest first."""

    contract: Contract
    agreements: Sequence[ContractAgreement]
    consents: Sequence[Consent]
    reminders: Sequence[ContractReminder]


async def history_of(session: AsyncSession, contract: Contract) -> ContractHistory:
    """What belongs to a contract besides its terms and versions."""
    agreements = (
        select(ContractAgreement)
        .where(ContractAgreement.tenant_id == contract.tenant_id, ContractAgreement.contract_id == contract.contract_id)
        .order_by(ContractAgreement.recorded_at, ContractAgreement.agreement_id)
    )
    consents = (
        select(Consent)
        .where(Consent.tenant_id == contract.tenant_id, Consent.contract_id == contract.contract_id)
        .order_by(Consent.requested_at, Consent.consent_id)
    )
    reminders = (
        select(ContractReminder)
        .where(ContractReminder.tenant_id == contract.tenant_id, ContractReminder.contract_id == contract.contract_id)
        .order_by(ContractReminder.ends_on, ContractReminder.days_before.desc())
    )
    return ContractHistory(
        contract,
        (await session.execute(agreements)).scalars().all(),
        (await session.execute(consents)).scalars().all(),
        (await session.execute(reminders)).scalars().all(),
    )
