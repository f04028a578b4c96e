"""The operator's consent to a transfer to another company or to sub-letting (C17).

A transfer touches two tenants and no transaction does: the consent ends the old contract and wakes a job that opens
the contract of the receiving tenant, under the id that the consent has named. Its seats and its deposit come with an
order and an opening invoice of its own, as under any contract.
"""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.agreements import checks, ends
from billing.agreements.errors import AgreementRefused, ConsentDecided, ConsentNotFound
from billing.agreements.models import Consent
from billing.contracts import find_contract, get_contract, sign, terms_of
from billing.errors import ContractNotOpen
from billing.models import Contract
from billing.rules.reading import Reader
from infra.kit import audit, clock, jobs
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from tenancy import tenants

KINDS = ("transfer", "sub_letting")
STATES = ("requested", "granted", "refused")
OPEN_TRANSFERRED = "billing.open_transferred_contract"

_READER = Reader(AgreementRefused)


async def request(
    session: AsyncSession, *, tenant_id: str, contract_id: str, kind: str, company: str, reason: str
) -> Consent:
    """Ask the operator for its consent. Raises `AgreementRefused` naming the value, `ContractNotOpen`."""
    _READER.choice(kind, "kind", KINDS)
    named = checks.text(company, "company", checks.NAME_LIMIT_CHARACTERS)
    why = checks.text(reason, "reason", checks.REASON_LIMIT_CHARACTERS)
    contract = await find_contract(session, contract_id, tenant_id)
    checks.check_lasting(contract, clock.today())
    consent = Consent(
        tenant_id=tenant_id,
        consent_id=new_id("cns"),
        contract_id=contract_id,
        kind=kind,
        company=named,
        reason=why,
        state="requested",
        requested_by=audit.actor.get(),
        requested_at=clock.now(),
        decided_by=None,
        decided_at=None,
        decision_reason=None,
        effective_on=None,
        receiving_tenant_id=None,
        remaining_until=None,
        receiving_contract_id=None,
    )
    session.add(consent)
    await session.flush()
    await audit.record(
        session, tenant_id, "consent.requested", consent.consent_id, contract_id=contract_id, kind=kind, company=named
    )
    return consent


async def grant(
    session: AsyncSession,
    *,
    tenant_id: str,
    consent_id: str,
    reason: str,
    effective_on: date | None = None,
    receiving_tenant_id: str | None = None,
) -> Consent:
    """Consent. A transfer names the receiving tenant and its first day; the contract here ends the day before.

    Raises `AgreementRefused` naming the value, `ConsentDecided`, `ConsentNotFound`, `NotFound` for an unknown
    receiving tenant, `ContractNotOpen`, and what an early end may refuse (`EndNotEarlier`, `OrdersBeyondTheEnd`).
    """
    contract, consent = await _undecided(session, tenant_id, consent_id)
    why = checks.text(reason, "reason", checks.REASON_LIMIT_CHARACTERS)
    checks.check_lasting(contract, clock.today())
    if consent.kind == "transfer":
        await _transfer(
            session,
            contract,
            consent,
            effective_on=effective_on,
            receiving_tenant_id=receiving_tenant_id,
            why=why,
        )
    elif effective_on is not None or receiving_tenant_id is not None:
        raise AgreementRefused(
            "effective_on" if effective_on is not None else "receiving_tenant_id",
            "a consent to sub-letting moves no contract",
            "nothing",
        )
    await _decide(session, consent, "granted", why)
    return consent


async def refuse(session: AsyncSession, *, tenant_id: str, consent_id: str, reason: str) -> Consent:
    """Refuse the consent. Raises `ConsentDecided`, `ConsentNotFound`, `AgreementRefused` for no reason."""
    why = checks.text(reason, "reason", checks.REASON_LIMIT_CHARACTERS)
    _, consent = await _undecided(session, tenant_id, consent_id)
    await _decide(session, consent, "refused", why)
    return consent


async def open_transferred(session: AsyncSession, *, consent: Consent, from_contract: Contract) -> Contract | None:
    """Sign the receiving tenant's contract with the terms of the one it goes on from; None when that is done already.

    It lasts to the end that the old one had before the transfer. What is read of the old contract was read in a
    transaction before, so that this one touches the receiving tenant alone.
    """
    effective_on, tenant_id, contract_id = (
        consent.effective_on, consent.receiving_tenant_id, consent.receiving_contract_id,
    )  # fmt: skip
    if effective_on is None or tenant_id is None or contract_id is None:
        raise ValueError(f"the consent {consent.consent_id} is {consent.state}; expected a granted transfer")
    await tenants.get(session, tenant_id, for_update=True)
    known = select(Contract.contract_id).where(Contract.tenant_id == tenant_id, Contract.contract_id == contract_id)
    if await session.scalar(known) is not None:
        return None
    contract = await sign(
        session,
        tenant_id=tenant_id,
        contract_id=contract_id,
        title=from_contract.title,
        terms=terms_of(from_contract, effective_on),
        signed_on=clock.local_date(consent.decided_at or clock.now()),
        opens_on=effective_on,
        ends_on=consent.remaining_until,
        agreed_penalty=from_contract.agreed_penalty,
        rate_deck_id=from_contract.rate_deck_id,
        transferred_from=from_contract.contract_id,
    )
    await audit.record(
        session, tenant_id, "contract.transferred_here", contract_id, from_contract_id=from_contract.contract_id
    )
    return contract


async def find(session: AsyncSession, consent_id: str, tenant_id: str | None) -> Consent:
    """A consent by its id, narrowed to a tenant where the caller belongs to one. Raises `ConsentNotFound`."""
    query = select(Consent).where(Consent.consent_id == consent_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(Consent.tenant_id == tenant_id)
    consent = (await session.execute(query)).scalar_one_or_none()
    if consent is None:
        raise ConsentNotFound(f"There is no consent {consent_id}.", field="consent_id")
    return consent


def wanted(*, tenant_id: str | None, contract_id: str | None, state: str | None) -> Select[Consent]:
    """Consents narrowed to a tenant, a contract and a state; None: every one. Raises `InvalidInput` for the state."""
    query = select(Consent)
    if tenant_id is not None:
        query = query.where(Consent.tenant_id == tenant_id)
    if contract_id is not None:
        query = query.where(Consent.contract_id == contract_id)
    if state is None:
        return query
    if state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    return query.where(Consent.state == state)


async def _transfer(
    session: AsyncSession,
    contract: Contract,
    consent: Consent,
    *,
    effective_on: date | None,
    receiving_tenant_id: str | None,
    why: str,
) -> None:
    if effective_on is None:
        raise AgreementRefused("effective_on", "it is missing", "the receiving company's first day")
    if receiving_tenant_id is None or receiving_tenant_id == contract.tenant_id:
        raise AgreementRefused("receiving_tenant_id", "it is missing or the tenant itself", "another tenant")
    receiving = await tenants.get(session, receiving_tenant_id)
    if receiving.standing == "closed":
        raise ContractNotOpen(
            f"The tenant {receiving_tenant_id} is closed; it takes no contract over.", field="receiving_tenant_id"
        )
    checks.check_future(contract, effective_on, "effective_on")
    consent.remaining_until = contract.ends_on
    await ends.shorten(
        session,
        contract,
        kind="transfer",
        ends_on=effective_on - timedelta(days=1),
        reason=why,
        signed_by_operator=audit.actor.get(),
        consent_id=consent.consent_id,
    )
    consent.effective_on = effective_on
    consent.receiving_tenant_id = receiving_tenant_id
    consent.receiving_contract_id = new_id("ctr")
    await jobs.defer(
        session,
        OPEN_TRANSFERRED,
        lock=f"tenant:{receiving_tenant_id}",
        tenant_id=contract.tenant_id,
        consent_id=consent.consent_id,
    )


async def _undecided(session: AsyncSession, tenant_id: str, consent_id: str) -> tuple[Contract, Consent]:
    """The contract, locked, and the consent as it is under that lock."""
    found = await find(session, consent_id, tenant_id)
    contract = await get_contract(session, tenant_id, found.contract_id, for_update=True)
    consent = await find(session, consent_id, tenant_id)
    if consent.state != "requested":
        raise ConsentDecided(f"The request was {consent.state} already; ask anew.", field="consent_id")
    return contract, consent


async def _decide(session: AsyncSession, consent: Consent, state: str, why: str) -> None:
    consent.state = state
    consent.decided_by = audit.actor.get()
    consent.decided_at = clock.now()
    consent.decision_reason = why
    await session.flush()
    await audit.record(
        session,
        consent.tenant_id,
        f"consent.{state}",
        consent.consent_id,
        contract_id=consent.contract_id,
        reason=why,
        effective_on=None if consent.effective_on is None else consent.effective_on.isoformat(),
        receiving_contract_id=consent.receiving_contract_id,
    )
