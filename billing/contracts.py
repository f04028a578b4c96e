"""Contracts: signed with their own copy of the terms, found, ended (C1-C15, rule 11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing.errors import AfterTheEnd, ContractNotFound, ContractNotOpen, ContractRefused
from billing.models import Contract, Holding
from billing.rules.terms import Terms, preset_terms, stored_terms
from infra.kit import audit, clock, jobs
from infra.kit.ids import new_id
from tenancy import tenants

TITLE_LIMIT_CHARACTERS = 200
LONGEST_CONTRACT_YEARS = 100
ADVANCE_ORDERS = "provisioning.advance_orders"
"""Opens what is paid and closes what has ended; it lives above this room and is deferred by name."""


async def create_contract(
    session: AsyncSession,
    *,
    tenant_id: str,
    title: str,
    preset: str,
    terms: Mapping[str, object],
    opens_on: date,
    ends_on: date | None = None,
) -> Contract:
    """Sign a lease: a preset's terms with this contract's own overrides, stored whole.

    Nothing is rented yet: seats come with an order effective on `opens_on`. Raises `TermRefused` naming the term
    (`terms.rent_per_seat`), `ContractRefused` for title or dates, `NotFound` for an unknown tenant.
    """
    tenant = await tenants.get(session, tenant_id)
    if tenant.standing == "closed":
        raise ContractNotOpen(f"The tenant {tenant_id} is closed; it signs no contracts.", field="tenant_id")
    own = preset_terms(preset, dict(terms))
    today = clock.today()
    if not title.strip() or len(title) > TITLE_LIMIT_CHARACTERS:
        raise ContractRefused("title", f"it has {len(title)} characters", f"1 to {TITLE_LIMIT_CHARACTERS} characters")
    latest = today.year + LONGEST_CONTRACT_YEARS
    if opens_on < today or opens_on.year > latest:
        raise ContractRefused("opens_on", f"{opens_on} is not acceptable", f"a day from {today} to the year {latest}")
    if ends_on is not None and not (opens_on <= ends_on and ends_on.year <= latest):
        raise ContractRefused("ends_on", f"{ends_on} is not acceptable", f"a day from {opens_on} to the year {latest}")
    contract = Contract(
        tenant_id=tenant_id,
        contract_id=new_id("ctr"),
        title=title.strip(),
        preset=own.preset,
        terms=own.to_plain(),
        state="signed",
        signed_on=today,
        opens_on=opens_on,
        ends_on=ends_on,
        billed_through=None,
        rate_deck_id=None,
        fixed_deposit_returned=False,
        created_at=clock.now(),
    )
    session.add(contract)
    await session.flush()
    await audit.record(session, tenant_id, "contract.signed", contract.contract_id, preset=preset, terms=dict(terms))
    return contract


async def get_contract(session: AsyncSession, tenant_id: str, contract_id: str, for_update: bool = False) -> Contract:
    """A tenant's contract; `for_update` locks first the tenant and then the contract, always in this order.

    Every transaction that changes money or holdings takes these locks, so that they follow one another; rating holds
    the contract FOR SHARE. Raises `ContractNotFound`.
    """
    query = select(Contract).where(Contract.tenant_id == tenant_id, Contract.contract_id == contract_id)
    if for_update:
        await tenants.get(session, tenant_id, for_update=True)
        query = query.with_for_update().execution_options(populate_existing=True)
    contract = (await session.execute(query)).scalar_one_or_none()
    if contract is None:
        raise ContractNotFound(f"There is no contract {contract_id}.", field="contract_id")
    return contract


async def find_contract(session: AsyncSession, contract_id: str, tenant_id: str | None) -> Contract:
    """A contract by its id alone, narrowed to a tenant where the caller belongs to one. Raises `ContractNotFound`."""
    query = select(Contract).where(Contract.contract_id == contract_id)
    if tenant_id is not None:
        query = query.where(Contract.tenant_id == tenant_id)
    contract = (await session.execute(query)).scalar_one_or_none()
    if contract is None:
        raise ContractNotFound(f"There is no contract {contract_id}.", field="contract_id")
    return contract


def terms_of(contract: Contract) -> Terms:
    """The contract's own terms as the rules take them."""
    return stored_terms(contract.terms)


def check_orderable(contract: Contract, effective_on: date) -> None:
    """Refuse an order under a contract that has ended or lapsed, or for a day after its end."""
    if contract.state in {"ended", "lapsed"}:
        raise ContractNotOpen(
            f"The contract {contract.contract_id} has {contract.state}; order under another one.", field="contract_id"
        )
    if effective_on < contract.opens_on:
        raise ContractRefused("effective_on", f"{effective_on} is before the opening", f"{contract.opens_on} or later")
    if contract.ends_on is not None and effective_on > contract.ends_on:
        raise AfterTheEnd(f"The contract ends on {contract.ends_on}; choose an earlier day.", field="effective_on")


async def end(session: AsyncSession, contract: Contract) -> None:
    """Close what is still held at the end of the contract's last day (rule 11); the caller has locked the contract."""
    if contract.ends_on is None or contract.state == "ended":
        return
    await session.execute(
        update(Holding)
        .where(
            Holding.tenant_id == contract.tenant_id,
            Holding.contract_id == contract.contract_id,
            Holding.opened_on.is_not(None),
            (Holding.closes_on.is_(None)) | (Holding.closes_on > contract.ends_on),
        )
        .values(closes_on=contract.ends_on, returned=False)
    )
    contract.state = "ended"
    await session.flush()
    await audit.record(
        session, contract.tenant_id, "contract.ended", contract.contract_id, ends_on=contract.ends_on.isoformat()
    )
    await jobs.defer(session, ADVANCE_ORDERS, lock=f"tenant:{contract.tenant_id}", tenant_id=contract.tenant_id)
