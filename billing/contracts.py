"""Contracts: signed with their own copy of the terms, found, ended (C1-C15, rule 11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing.agreements.models import ContractVersion
from billing.errors import AfterTheEnd, ContractNotFound, ContractNotOpen, ContractRefused
from billing.models import Contract, Holding
from billing.rules.contract_periods import LONGEST_TERM_YEARS, term_ends_on
from billing.rules.contract_versions import in_force
from billing.rules.reading import Reader
from billing.rules.terms import Terms, preset_terms, stored_terms
from infra.kit import audit, clock, jobs, money
from infra.kit.ids import new_id
from tenancy import tenants

TITLE_LIMIT_CHARACTERS = 200
LONGEST_CONTRACT_YEARS = 100
ADVANCE_ORDERS = "provisioning.advance_orders"
"""Opens what is paid and closes what has ended; it lives above this room and is deferred by name."""

_READER = Reader(ContractRefused)


async def create_contract(
    session: AsyncSession,
    *,
    tenant_id: str,
    title: str,
    preset: str,
    terms: Mapping[str, object],
    opens_on: date,
    ends_on: date | None = None,
    signed_on: date | None = None,
    term_years: int | None = None,
    agreed_penalty: str | None = None,
) -> Contract:
    """Sign a lease: a preset's terms with this contract's own overrides, stored whole.

    `signed_on` is today where it is not named. The contract lasts `term_years` from its signature (C14) or to
    `ends_on`, or has no end. `agreed_penalty` (CNY, a decimal string) is what an end for a ground of C16 costs.
    Nothing is rented yet: seats come with an order effective on `opens_on`. Raises `TermRefused` naming the term
    (`terms.rent_per_seat`), `ContractRefused` naming what else is wrong, `NotFound` for an unknown tenant.
    """
    own = preset_terms(preset, dict(terms))
    today = clock.today()
    if not title.strip() or len(title) > TITLE_LIMIT_CHARACTERS:
        raise ContractRefused("title", f"it has {len(title)} characters", f"1 to {TITLE_LIMIT_CHARACTERS} characters")
    latest = today.year + LONGEST_CONTRACT_YEARS
    if opens_on < today or opens_on.year > latest:
        raise ContractRefused("opens_on", f"{opens_on} is not acceptable", f"a day from {today} to the year {latest}")
    signed = signed_on or today
    if not today.year - LONGEST_TERM_YEARS <= signed.year or signed > today:
        raise ContractRefused("signed_on", f"{signed} is not acceptable", f"a day up to {today}, when it was signed")
    last_day = _last_day(signed, opens_on, ends_on, term_years)
    if last_day is not None and last_day.year > latest:
        raise ContractRefused("ends_on", f"{last_day} is not acceptable", f"a day up to the year {latest}")
    penalty = None if agreed_penalty is None else _READER.decimal(agreed_penalty, "agreed_penalty", places=money.FEN)
    contract = await sign(
        session,
        tenant_id=tenant_id,
        contract_id=new_id("ctr"),
        title=title.strip(),
        terms=own,
        signed_on=signed,
        opens_on=opens_on,
        ends_on=last_day,
        agreed_penalty=penalty,
    )
    contract.term_years = term_years
    await session.flush()
    await audit.record(session, tenant_id, "contract.signed", contract.contract_id, preset=preset, terms=dict(terms))
    return contract


def _last_day(signed_on: date, opens_on: date, ends_on: date | None, term_years: int | None) -> date | None:
    """The last day that a contract is signed for: one of the two, or none."""
    if term_years is not None:
        if ends_on is not None:
            raise ContractRefused("term_years", "there is an `ends_on` too", "one of the two")
        _READER.whole(term_years, "term_years", minimum=1, maximum=LONGEST_TERM_YEARS)
        ends_on = term_ends_on(signed_on, term_years)
        if ends_on < opens_on:
            expected = f"a term that outlasts the opening on {opens_on}"
            raise ContractRefused("term_years", f"the term ends on {ends_on}", expected)
    if ends_on is not None and ends_on < opens_on:
        raise ContractRefused("ends_on", f"{ends_on} is not acceptable", f"a day from {opens_on} on")
    return ends_on


async def sign(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    title: str,
    terms: Terms,
    signed_on: date,
    opens_on: date,
    ends_on: date | None,
    agreed_penalty: Decimal | None = None,
    rate_deck_id: str | None = None,
    transferred_from: str | None = None,
) -> Contract:
    """Store a contract of whole terms; what it is asked for was checked by the caller.

    Raises `NotFound` for an unknown tenant, `TenantClosed` for one that has left.
    """
    await tenants.get_staying(session, tenant_id)
    contract = Contract(
        tenant_id=tenant_id,
        contract_id=contract_id,
        title=title,
        preset=terms.preset,
        terms=terms.to_plain(),
        state="signed",
        signed_on=signed_on,
        opens_on=opens_on,
        ends_on=ends_on,
        term_years=None,
        agreed_penalty=agreed_penalty,
        transferred_from_contract_id=transferred_from,
        billed_through=None,
        rate_deck_id=rate_deck_id,
        fixed_deposit_returned=False,
        created_at=clock.now(),
        versions=[],
    )
    session.add(contract)
    await session.flush()
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


def terms_of(contract: Contract, on: date | None = None) -> Terms:
    """The contract's own terms that hold on a day (None: today), as the rules take them.

    Which day decides what: `billing.rules.contract_versions`. After the contract's end those of its last day stay.
    """
    version = version_of(contract, on)
    return stored_terms(contract.terms if version is None else version.terms)


def version_of(contract: Contract, on: date | None = None) -> ContractVersion | None:
    """The later version of the terms that holds on a day (None: today); None where those as signed do."""
    day = on or clock.today()
    if contract.ends_on is not None:
        day = min(day, contract.ends_on)
    return in_force({each.effective_on: each for each in contract.versions if each.cancelled_at is None}, day)


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
