"""New terms from a day on, agreed and signed by both (C15); what was invoiced stays as it is.

Each version holds the whole terms. Versions are agreed in the order in which they take effect, so that none silently
undoes another; the last one can be taken back until it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from billing import books
from billing.agreements import checks
from billing.agreements.checks import Signed
from billing.agreements.errors import TermsOverlap, VersionNotCancellable, VersionNotFound
from billing.agreements.models import ContractVersion
from billing.contracts import get_contract, terms_of
from billing.models import Contract
from billing.rules.book import Book
from billing.rules.contract_periods import earliest_change
from billing.rules.contract_versions import changed_terms
from billing.rules.invoicing import monthly_invoice
from billing.rules.lines import Line
from billing.rules.months import Month
from billing.rules.terms import Terms, stored_terms
from infra.kit import audit, clock, money

FIRST_VERSION = 1
"""The terms as signed."""


async def amend(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    effective_on: date,
    noticed_on: date,
    overrides: Mapping[str, object],
    signed: Signed,
    notice_waiver: str | None = None,
) -> ContractVersion:
    """Agree on new terms from `effective_on` on: the terms of then with `overrides` in their place.

    At least one month after the written notice, unless both sides waive that with a reason. Raises `TermRefused`
    naming the term, `AgreementRefused` and `AfterTheEnd` for the days and names, `InsideNotice`, `TermsOverlap`,
    `ContractNotOpen`, `ContractNotFound`.
    """
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    checks.check_lasting(contract, clock.today())
    checks.check_noticed(contract, noticed_on)
    checks.check_future(contract, effective_on, "effective_on")
    why_waived = checks.waiver(notice_waiver)
    earliest = earliest_change(noticed_on)
    checks.check_notice(
        effective_on, "effective_on", noticed_on=noticed_on, earliest=earliest, is_waived=why_waived is not None
    )
    is_needed = effective_on < earliest
    return await add_version(
        session,
        contract,
        effective_on=effective_on,
        overrides=overrides,
        signed=signed.checked(),
        noticed_on=noticed_on,
        notice_waiver=why_waived if is_needed else None,
    )


async def add_version(
    session: AsyncSession,
    contract: Contract,
    *,
    effective_on: date,
    overrides: Mapping[str, object],
    signed: Signed,
    noticed_on: date | None = None,
    notice_waiver: str | None = None,
) -> ContractVersion:
    """Store the terms that hold from `effective_on` on; the caller has locked the contract and checked the day.

    Raises `TermRefused`, `TermsOverlap`.
    """
    changed = changed_terms(_terms_before(contract, effective_on), dict(overrides))
    version = ContractVersion(
        tenant_id=contract.tenant_id,
        contract_id=contract.contract_id,
        version=FIRST_VERSION + len(contract.versions) + 1,
        effective_on=effective_on,
        terms=changed.to_plain(),
        noticed_on=noticed_on,
        notice_waiver=notice_waiver,
        reason=signed.reason,
        signed_by_operator=signed.by_operator,
        signed_by_tenant=signed.by_tenant,
        recorded_by=audit.actor.get(),
        recorded_at=clock.now(),
        cancelled_at=None,
        cancellation_reason=None,
    )
    contract.versions.append(version)
    await session.flush()
    await audit.record(
        session,
        contract.tenant_id,
        "contract.amended",
        contract.contract_id,
        version=version.version,
        effective_on=effective_on.isoformat(),
        terms=dict(overrides),
        reason=version.reason,
        notice_waiver=notice_waiver,
    )
    return version


async def cancel(
    session: AsyncSession, *, tenant_id: str, contract_id: str, version_number: int, reason: str
) -> ContractVersion:
    """Take agreed terms back before they hold; they stay to be seen.

    Raises `VersionNotFound`, `VersionNotCancellable`, `AgreementRefused` for no reason.
    """
    why = checks.text(reason, "reason", checks.REASON_LIMIT_CHARACTERS)
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    version = next((each for each in contract.versions if each.version == version_number), None)
    if version is None:
        raise VersionNotFound(f"The contract has no later terms of version {version_number}.", field="version")
    if version.cancelled_at is not None:
        raise VersionNotCancellable(f"Version {version_number} has been cancelled already.", field="version")
    if version.effective_on <= clock.today():
        raise VersionNotCancellable(
            f"Version {version_number} holds since {version.effective_on}; agree on new terms instead.", field="version"
        )
    if version.noticed_on is None:
        raise VersionNotCancellable(
            f"Version {version_number} came with the renewal; agree on new terms instead.", field="version"
        )
    last = _last_agreed(contract)
    if last is not version:
        later = "none" if last is None else str(last.version)
        raise VersionNotCancellable(
            f"Version {later} builds on version {version_number}; cancel that one first.", field="version"
        )
    version.cancelled_at = clock.now()
    version.cancellation_reason = why
    await session.flush()
    await audit.record(
        session, tenant_id, "contract.amendment_cancelled", contract_id, version=version_number, reason=why
    )
    return version


@dataclass(frozen=True, slots=True)
class RentPreview:
    """The rent of one month for what is held now, under the terms that stand and under the proposed ones; CNY."""

    month: Month
    before: Decimal
    after: Decimal
    lines: tuple[Line, ...]
    """The rent lines under the proposed terms."""


async def preview(
    session: AsyncSession,
    *,
    tenant_id: str,
    contract_id: str,
    effective_on: date,
    overrides: Mapping[str, object],
) -> RentPreview:
    """What terms from a day on would make of the first monthly invoice they decide, by the rule that bills.

    Counted is what is held, and not returned, as known now; usage, charges and credits are left out. Raises what
    `amend` raises about the day and the terms.
    """
    contract = await get_contract(session, tenant_id, contract_id)
    checks.check_lasting(contract, clock.today())
    checks.check_future(contract, effective_on, "effective_on")
    proposed = changed_terms(_terms_before(contract, effective_on), dict(overrides))
    month = Month.of(effective_on)
    if effective_on > month.first:
        month = month.following
    holdings = await books.load_holdings(session, contract, since=month)
    held = tuple(each for each in holdings if each.held_when_begins(month.first))
    book = Book(holdings=held, ends_on=contract.ends_on)
    before, _ = _rent(terms_of(contract, month.first), book, month)
    after, lines = _rent(proposed, book, month)
    return RentPreview(month, before, after, lines)


def _rent(terms: Terms, book: Book, month: Month) -> tuple[Decimal, tuple[Line, ...]]:
    draft = monthly_invoice(terms, book, month)
    lines = () if draft is None else tuple(line for line in draft.lines if line.kind == "rent")
    return sum((line.amount for line in lines), money.ZERO), lines


def _terms_before(contract: Contract, effective_on: date) -> Terms:
    """The terms that new ones from this day on build upon."""
    last = _last_agreed(contract)
    if last is None:
        return stored_terms(contract.terms)
    if effective_on <= last.effective_on:
        raise TermsOverlap(
            f"Version {last.version} of the terms is agreed from {last.effective_on} on; choose a later day, or cancel "
            "that version first.",
            field="effective_on",
            version=last.version,
        )
    return stored_terms(last.terms)


def _last_agreed(contract: Contract) -> ContractVersion | None:
    agreed = [each for each in contract.versions if each.cancelled_at is None]
    return max(agreed, key=lambda version: version.effective_on, default=None)
