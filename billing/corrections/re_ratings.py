"""Re-ratings: a past month's calls priced with another deck; finance looks at the difference and settles it (C3).

Nothing changes before it is settled. Then a call of an invoiced month keeps the price that the invoice has added up
(`Charge.amount`) and has its new one beside it (`revised_amount`); the exact difference of all calls is settled once:
by a credit note on that invoice, or as a part of the next invoice's line of calls. So the sum of all charges and of all
settled differences is the sum of all lines of calls, with the rounding of each line. Where the month is on no invoice
yet, the new prices take the place of the old ones.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices, rate_decks, usage
from billing.contracts import get_contract
from billing.corrections import credit_notes, re_rated_charges
from billing.corrections.errors import ReRatingNotFound, ReRatingOpen, ReRatingRefused, ReRatingState
from billing.corrections.models import ReRating
from billing.models import Contract, Invoice
from billing.rules.credit_notes import CorrectedLine, CreditRefused
from billing.rules.months import Month
from infra.kit import audit, clock, jobs, money, reasons
from infra.kit.ids import new_id
from infra.kit.partitions import month_after
from infra.kit.problems import InvalidInput

COMPUTE = "billing.compute_re_rating"
STATES = ("computing", "computed", "settled", "cancelled")
COMPUTING, COMPUTED, SETTLED, CANCELLED = STATES
OPEN_STATES = (COMPUTING, COMPUTED)
REPLACED, CREDIT_NOTE, SUPPLEMENT, NOTHING = "replaced", "credit_note", "supplement", "nothing"
CALLS = "calls"
_NOTHING_YET = Decimal(0)


async def request(
    session: AsyncSession, *, tenant_id: str, contract_id: str, month: Month, deck_id: str | None, reason: str
) -> ReRating:
    """Have the calls of a contract's usage month priced again; a job does it, and nothing is charged by it.

    `deck_id` None: the contract's own deck as it is now, or the default one. Each call is priced by the rows that were
    valid when it was answered. Raises `ContractNotFound`, `NotFound` for the deck, `ReRatingRefused` for a month that
    has not ended or has no calls of the contract, `ReRatingOpen`, `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    contract = await get_contract(session, tenant_id, contract_id, for_update=True)
    _check_month(contract, month)
    deck_id = deck_id or contract.rate_deck_id or await rate_decks.default_deck_id(session)
    if deck_id is None:
        raise ReRatingRefused("There is no deck; name one, or upload one.", field="rate_deck_id")
    await rate_decks.get(session, deck_id)
    open_one = await session.scalar(
        select(ReRating.re_rating_id).where(_of_month(contract, month.first), ReRating.state.in_(OPEN_STATES))
    )
    if open_one is not None:
        raise ReRatingOpen(f"Settle or cancel {open_one} of this month first.", field="month")
    re_rating = ReRating(
        tenant_id=tenant_id,
        re_rating_id=new_id("rrt"),
        contract_id=contract_id,
        month=month.first,
        deck_id=deck_id,
        reason=reason,
        state=COMPUTING,
        requested_by=audit.actor.get(),
        requested_at=clock.now(),
        phase="charges",
        last_month=None,
        last_leg_id=None,
        calls=0,
        changed=0,
        without_price=0,
        first_priced=0,
        old_total=_NOTHING_YET,
        new_total=_NOTHING_YET,
        first_total=_NOTHING_YET,
        computed_at=None,
        settled_at=None,
        settled_by=None,
        settlement=None,
        credit_note_id=None,
        billing_month=None,
        cancelled_at=None,
    )
    session.add(re_rating)
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "re_rating.requested",
        re_rating.re_rating_id,
        contract_id=contract_id,
        month=str(month),
        deck_id=deck_id,
        reason=reason,
    )
    await jobs.defer(
        session, COMPUTE, lock=re_rating.re_rating_id, tenant_id=tenant_id, re_rating_id=re_rating.re_rating_id
    )
    return re_rating


async def compute_next(session: AsyncSession, *, tenant_id: str, re_rating_id: str) -> bool:
    """Price the next batch of calls; False where nothing is left to price, also because it was cancelled.

    Contracts are held first, as by everything else that changes a re-rating. Raises `ReRatingNotFound`.
    """
    await usage.hold_contracts(session, tenant_id)
    re_rating = await find(session, re_rating_id, tenant_id, for_update=True)
    return re_rating.state == COMPUTING and await re_rated_charges.compute_batch(session, re_rating)


async def cancel(session: AsyncSession, *, tenant_id: str, re_rating_id: str) -> ReRating:
    """Leave everything as it is; what was computed stays to be seen. Raises `ReRatingNotFound`, `ReRatingState`."""
    found = await find(session, re_rating_id, tenant_id)
    await get_contract(session, tenant_id, found.contract_id, for_update=True)
    re_rating = await find(session, re_rating_id, tenant_id, for_update=True)
    if re_rating.state not in OPEN_STATES:
        raise _wrong_state(re_rating)
    re_rating.state = CANCELLED
    re_rating.cancelled_at = clock.now()
    await session.flush()
    await audit.record(session, tenant_id, "re_rating.cancelled", re_rating_id)
    return re_rating


async def settle(session: AsyncSession, *, tenant_id: str, re_rating_id: str) -> ReRating:
    """Give the calls their new prices and settle the difference of those that were invoiced.

    Less than before: a credit note on the month's invoice, as the line of calls would have been with the new prices.
    More: a part of the calls on the contract's next invoice. Calls that had no price go on the next invoice like any
    late call. Raises `ReRatingNotFound`, `ReRatingState` unless it is computed, `CreditRefused` where the line of
    calls was credited otherwise before.
    """
    found = await find(session, re_rating_id, tenant_id)
    contract = await get_contract(session, tenant_id, found.contract_id, for_update=True)
    re_rating = await find(session, re_rating_id, tenant_id, for_update=True)
    if re_rating.state != COMPUTED:
        raise _wrong_state(re_rating)
    difference = re_rating.new_total - re_rating.old_total
    if contract.billed_through is None or contract.billed_through < re_rating.month:
        next_month = re_rating.month
        re_rating.settlement = REPLACED if re_rating.changed else NOTHING
        await re_rated_charges.replace(session, re_rating)
    else:
        next_month = month_after(contract.billed_through)
        await _settle_difference(session, contract, re_rating, difference, next_month)
        await re_rated_charges.revise(session, re_rating)
    await re_rated_charges.charge_first_prices(session, re_rating, billing_month=next_month)
    re_rating.state = SETTLED
    re_rating.settled_at = clock.now()
    re_rating.settled_by = audit.actor.get()
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "re_rating.settled",
        re_rating_id,
        settlement=re_rating.settlement,
        difference=str(difference),
        credit_note_id=re_rating.credit_note_id,
    )
    return re_rating


async def find(
    session: AsyncSession, re_rating_id: str, tenant_id: str | None, *, for_update: bool = False
) -> ReRating:
    """A re-rating by its id, narrowed to a tenant where the caller belongs to one. Raises `ReRatingNotFound`."""
    query = select(ReRating).where(ReRating.re_rating_id == re_rating_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(ReRating.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update()
    re_rating = (await session.execute(query)).scalar_one_or_none()
    if re_rating is None:
        raise ReRatingNotFound(f"There is no re-rating {re_rating_id}.", field="re_rating_id")
    return re_rating


def wanted(*, contract_id: str | None, state: str | None) -> Select[ReRating]:
    """Re-ratings narrowed to a contract and a state; None: every one. Raises `InvalidInput` for the state."""
    query = select(ReRating)
    if contract_id is not None:
        query = query.where(ReRating.contract_id == contract_id)
    if state is None:
        return query
    if state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    return query.where(ReRating.state == state)


def _check_month(contract: Contract, month: Month) -> None:
    first, last = Month.of(contract.opens_on), Month.of(clock.today()).preceding
    if not first <= month <= last:
        expected = f"from {first} to {last}" if first <= last else f"{first} at the earliest, once it has ended"
        raise ReRatingRefused(f"{month} cannot be priced again; name a month {expected}.", field="month")


async def _settle_difference(
    session: AsyncSession, contract: Contract, re_rating: ReRating, difference: Decimal, next_month: date
) -> None:
    """Decide where the difference of an invoiced month goes, and put it there; `next_month` is billed next."""
    if difference > 0:
        re_rating.settlement, re_rating.billing_month = SUPPLEMENT, next_month
        return
    re_rating.settlement = NOTHING
    before = await _exact_on_line(session, contract, re_rating.month)
    credited = money.fen(before) - money.fen(before + difference)
    if credited <= 0:
        return
    invoice = await _invoice_of(session, contract, re_rating.month)
    corrected = await credit_notes.corrected_invoice(session, invoice)
    line = next(line for line in corrected.lines if line.kind == CALLS)
    if credited > line.left:
        await _refuse_double_credit(session, contract, re_rating, line, credited)
        re_rating.settlement, re_rating.billing_month = SUPPLEMENT, next_month
        return
    note = await credit_notes.issue(
        session,
        contract,
        invoice,
        corrected,
        {line.number: credited},
        reason=re_rating.reason,
        inputs=(("re-rating", re_rating.re_rating_id), ("month", str(Month.of(re_rating.month)))),
    )
    re_rating.settlement, re_rating.credit_note_id = CREDIT_NOTE, note.invoice_id


async def _exact_on_line(session: AsyncSession, contract: Contract, month: date) -> Decimal:
    """What the month's line of calls comes to exactly, less what re-ratings have credited of it."""
    charged = await re_rated_charges.sum_charged(session, contract, month)
    credited = await _differences(session, contract, ReRating.month == month, (CREDIT_NOTE, NOTHING))
    supplements = await _differences(session, contract, ReRating.billing_month == month, (SUPPLEMENT,))
    return charged + credited + supplements


async def _differences(
    session: AsyncSession, contract: Contract, which: ColumnElement[bool], settlements: tuple[str, ...]
) -> Decimal:
    query = select(func.coalesce(func.sum(ReRating.new_total - ReRating.old_total), 0)).where(
        ReRating.tenant_id == contract.tenant_id,
        ReRating.contract_id == contract.contract_id,
        which,
        ReRating.state == SETTLED,
        ReRating.settlement.in_(settlements),
    )
    return await session.scalar(query) or _NOTHING_YET


async def _refuse_double_credit(
    session: AsyncSession, contract: Contract, re_rating: ReRating, line: CorrectedLine, credited: Decimal
) -> None:
    """More than the line has left may go on the next invoice only where a supplement of this month went there too."""
    if await _differences(session, contract, ReRating.month == re_rating.month, (SUPPLEMENT,)) <= 0:
        raise CreditRefused(
            f"lines.{line.number}",
            f"{credited} of the calls is to be credited, and other notes have left {line.left}",
            "a re-rating that credits no more; cancel this one, or void a note first",
        )


async def _invoice_of(session: AsyncSession, contract: Contract, month: date) -> Invoice:
    """The invoice that has added up the calls of a usage month."""
    query = select(Invoice.invoice_id).where(
        Invoice.tenant_id == contract.tenant_id,
        Invoice.contract_id == contract.contract_id,
        Invoice.reason.in_(("monthly", "final")),
        Invoice.issued_on == month_after(month),
        Invoice.voided_at.is_(None),
    )
    return await invoices.get(session, contract.tenant_id, (await session.execute(query)).scalar_one())


def _of_month(contract: Contract, month: date) -> ColumnElement[bool]:
    return (
        (ReRating.tenant_id == contract.tenant_id)
        & (ReRating.contract_id == contract.contract_id)
        & (ReRating.month == month)
    )


def _wrong_state(re_rating: ReRating) -> ReRatingState:
    return ReRatingState(f"The re-rating {re_rating.re_rating_id} is {re_rating.state}.", field="re_rating_id")
