"""The monthly run: every contract's invoice of a month, one transaction a contract (C7, rules 3 and 11).

`Contract.billed_through` is the usage month (the month in arrears) that a contract has been invoiced for. A run takes
each contract FOR UPDATE and moves it on by one month; so running twice issues nothing twice, and a run that died goes
on where it stopped. Rating holds the contract FOR SHARE: a call is either in the sum or on the next invoice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, contracts, invoices, leases, ledger, order_ends, order_invoices, usage
from billing.contracts import get_contract, terms_of
from billing.models import Contract, Holding, Invoice, OneOffCharge, UnratedCall
from billing.outages import history
from billing.rules.book import Book
from billing.rules.invoicing import final_invoice, monthly_due_on, monthly_invoice
from billing.rules.lines import InvoiceDraft
from billing.rules.months import Month
from billing.rules.terms import Terms
from billing.runs import late, progress, walk
from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.problems import Unavailable
from switch.models import NewCall

log = logs.get(__name__)
MAXIMUM_RATING_BATCHES = 1_000


@dataclass(slots=True)
class MonthRun:
    """What a run has done: invoices issued, contracts without a line, contracts set aside for an error (by id).

    `unrated_calls` are the calls of the month in arrears that have no price yet; they go on the next invoice.
    """

    month: Month
    issued: int = 0
    without_lines: int = 0
    set_aside: list[str] = field(default_factory=list)
    unrated_calls: int = 0


async def run_month(runtime: Runtime, month: Month, *, released_on: date | None = None) -> MonthRun:
    """Issue what is due up to the invoices dated the 1st of `month`, for every contract; safe to run again.

    `released_on` is the day on which finance released the run (None: today), for the due day of rule 3. A contract
    whose invoice cannot be made is set aside, logged and counted; the others go on. Raises `Unavailable` when the
    database is away; what was done until then stays.
    """
    run = MonthRun(month)
    async with runtime.database.transaction(Scope.platform()) as session:
        due = [(tenant_id, contract_id) for tenant_id, contract_id in await session.execute(due_contracts(month))]
        with_new_calls = frozenset((await session.execute(select(NewCall.tenant_id).distinct())).scalars())

    async def bill(tenant_id: str, contract_ids: list[str]) -> None:
        await _bill_tenant(
            runtime.database, run, tenant_id, contract_ids, released_on, rate=tenant_id in with_new_calls
        )

    await walk.tenant_by_tenant(due, bill)
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(func.count()).select_from(UnratedCall).where(UnratedCall.month <= month.preceding.first)
        run.unrated_calls = await session.scalar(query) or 0
    log.info(
        "invoice_run.ended",
        month=str(month),
        issued=run.issued,
        without_lines=run.without_lines,
        set_aside=len(run.set_aside),
        unrated_calls=run.unrated_calls,
    )
    return run


async def issue_openings(runtime: Runtime, today: date) -> int:
    """Issue the opening invoices whose third working day before opening has come (rule 2); returns how many."""
    query = (
        select(Holding.tenant_id, Holding.contract_id)
        .where(Holding.opening, Holding.invoiced_on.is_(None), ~Holding.lapsed)
        .distinct()
        .order_by(Holding.tenant_id, Holding.contract_id)
    )
    async with runtime.database.transaction(Scope.platform()) as session:
        waiting = (await session.execute(query)).all()
    issued = 0
    for tenant_id, contract_id in waiting:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                contract = await get_contract(session, tenant_id, contract_id, for_update=True)
                group = order_invoices.OrderGroup(True, contract.opens_on, contract.opens_on)
                invoice = await order_invoices.charge(session, contract, group, today=today)
                await ledger.set_off(session, tenant_id, today)
            issued += invoice is not None
        except Unavailable:
            raise
        except Exception:  # the others open on their day whatever becomes of this one; it is tried again every hour
            log.exception("opening.not_invoiced", tenant_id=tenant_id, contract_id=contract_id)
    return issued


async def end_contracts(runtime: Runtime, today: date) -> int:
    """Close the contracts whose last day is over (rule 11); returns how many."""
    query = (
        select(Contract.tenant_id, Contract.contract_id)
        .where(Contract.ends_on < today, Contract.state != "ended")
        .order_by(Contract.tenant_id, Contract.contract_id)
    )
    async with runtime.database.transaction(Scope.platform()) as session:
        ended = (await session.execute(query)).all()
    closed = 0
    for tenant_id, contract_id in ended:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await contracts.end(session, await get_contract(session, tenant_id, contract_id, for_update=True))
            closed += 1
        except Unavailable:
            raise
        except Exception:  # the same
            log.exception("contract.not_ended", tenant_id=tenant_id, contract_id=contract_id)
    return closed


async def bill_contract(
    session: AsyncSession, contract: Contract, usage_month: Month, *, released_on: date | None = None
) -> Invoice | None:
    """Make the invoice that follows a usage month, and move the contract on; None when it has no line.

    The contract is locked by the caller, and `usage_month` is the next one it has to be invoiced for. It is due as
    released on `released_on`; None: today.
    """
    month = usage_month.following
    today = clock.today()
    await order_ends.lapse_unpaid(session, contract, month.first)
    await ledger.set_off(session, contract.tenant_id, today)
    await leases.open_what_is_paid(session, contract, month.first)
    if contract.ends_on is not None and contract.ends_on < month.first:
        await contracts.end(session, contract)
    book = await books.load_book(session, contract, month)
    draft = _draft(contract, book, usage_month, released_on=released_on or today)
    await _note_taken(session, contract, book, month)
    await history.settle(session, contract, usage_month)
    contract.billed_through = usage_month.first
    invoice = None
    if draft is not None:
        invoice = await invoices.issue(session, contract, draft)
        await history.keep_credits(session, invoice, draft.fault_credited)
    await session.flush()
    await ledger.set_off(session, contract.tenant_id, today)
    return invoice


def next_usage_month(contract: Contract) -> Month:
    """The month in arrears of a contract's next invoice; the first is that of its opening (rule 3)."""
    if contract.billed_through is None:
        return Month.of(contract.opens_on)
    return Month.of(contract.billed_through).following


def _draft(contract: Contract, book: Book, usage_month: Month, *, released_on: date) -> InvoiceDraft | None:
    ends_on, month = contract.ends_on, usage_month.following
    terms = terms_of(contract, month.first)

    def terms_before(earlier: Month) -> Terms:
        return terms_of(contract, earlier.first)

    if ends_on is None or month.first <= ends_on:
        return monthly_invoice(terms, book, month, released_on=released_on, terms_before=terms_before)
    if usage_month == Month.of(ends_on):
        draft = final_invoice(terms, book, ends_on, terms_before=terms_before)
        return None if draft is None else replace(draft, due_on=monthly_due_on(terms, month, released_on))
    # A supplementary final invoice (rule 11): late calls, charges and faults, deposits that were paid late.
    draft = final_invoice(terms, book, usage_month.last, terms_before=terms_before)
    return None if draft is None else replace(draft, due_on=monthly_due_on(terms, month, released_on))


def due_contracts(month: Month) -> Select[str, str]:
    """Tenants and contracts with something to invoice before this month's 1st, in their order.

    After its final invoice a contract is due for late calls, charges, faults and deposits only.
    """
    last_month = func.least(func.date_trunc("month", Contract.ends_on), month.preceding.first)
    return (
        select(Contract.tenant_id, Contract.contract_id)
        .where(
            Contract.opens_on < month.first,
            Contract.billed_through.is_(None)
            | (Contract.billed_through < last_month)
            | late.calls(month)
            | late.data(month)
            | late.supplements(month)
            | (
                (late.charges(month) | late.faults(month) | late.deposits())
                & (Contract.billed_through < month.preceding.first)
            ),
        )
        .order_by(Contract.tenant_id, Contract.contract_id)
    )


async def _bill_tenant(
    database: Database,
    run: MonthRun,
    tenant_id: str,
    contract_ids: list[str],
    released_on: date | None,
    *,
    rate: bool,
) -> None:
    """Bill a tenant's contracts in their order, after its calls that wait for a price where there are any."""
    for contract_id in contract_ids:
        try:
            if rate:
                await _rate_what_waits(database, tenant_id)
                rate = False
            await _bill(database, run, tenant_id, contract_id, released_on)
        except Unavailable:
            raise
        except Exception as error:  # one contract that cannot be billed must not keep the others from it
            log.exception("invoice_run.contract_set_aside", tenant_id=tenant_id, contract_id=contract_id)
            run.set_aside.append(contract_id)
            async with database.transaction(Scope.platform()) as session:
                await progress.set_aside(
                    session,
                    tenant_id=tenant_id,
                    contract_id=contract_id,
                    month=run.month,
                    reason=progress.FAILED,
                    problem=progress.problem_of(error),
                )


async def _bill(database: Database, run: MonthRun, tenant_id: str, contract_id: str, released_on: date | None) -> None:
    """Every month that one contract is behind, each in a transaction of its own."""
    while True:
        async with database.transaction(Scope.platform()) as session:
            contract = await get_contract(session, tenant_id, contract_id, for_update=True)
            if not await has_to_bill(session, contract, run.month):
                return
            usage_month = next_usage_month(contract)
            invoice = await bill_contract(session, contract, usage_month, released_on=released_on)
            await progress.note_billed(session, contract, usage_month.following)
        run.issued += invoice is not None
        run.without_lines += invoice is None
        if next_usage_month(contract) >= run.month:
            return


async def has_to_bill(session: AsyncSession, contract: Contract, month: Month) -> bool:
    """Whether a contract lacks an invoice of up to this month; after its final one only what is late does."""
    if next_usage_month(contract) >= month:
        return False
    if contract.ends_on is None or contract.billed_through is None:
        return True
    if contract.billed_through < Month.of(contract.ends_on).first:
        return True
    query = select(Contract.contract_id).where(
        Contract.tenant_id == contract.tenant_id,
        Contract.contract_id == contract.contract_id,
        late.calls(month)
        | late.data(month)
        | late.supplements(month)
        | late.charges(month)
        | late.faults(month)
        | late.deposits(),
    )
    return await session.scalar(query) is not None


async def _note_taken(session: AsyncSession, contract: Contract, book: Book, month: Month) -> None:
    """Keep what this invoice has taken: one-off charges (also what rounded to nothing) and deposits given back."""
    is_final = contract.ends_on is not None and contract.ends_on < month.first
    await session.execute(
        update(OneOffCharge)
        .where(
            OneOffCharge.tenant_id == contract.tenant_id,
            OneOffCharge.contract_id == contract.contract_id,
            OneOffCharge.billed_on.is_(None),
            OneOffCharge.cancelled_at.is_(None),
            OneOffCharge.on < month.first,
        )
        .values(billed_on=month.first)
    )
    given_back = {
        holding.key
        for holding in book.holdings
        if holding.deposit and (is_final or (holding.closed_on is not None and holding.closed_on < month.first))
    }
    for item in sorted({key.item for key in given_back}):
        await session.execute(
            update(Holding)
            .where(
                Holding.tenant_id == contract.tenant_id,
                Holding.contract_id == contract.contract_id,
                Holding.item == item,
                Holding.number.in_([key.number for key in given_back if key.item == item]),
            )
            .values(deposit_returned=True, deposit_returned_on=month.first)
        )
    if is_final and book.fixed_deposit_held:
        contract.fixed_deposit_returned = True


async def _rate_what_waits(database: Database, tenant_id: str) -> None:
    """Price the tenant's calls that have come in, so that those of the month are on its invoice."""
    for _ in range(MAXIMUM_RATING_BATCHES):
        async with database.transaction(Scope.platform()) as session:
            batch = await usage.rate_batch(session, tenant_id)
        if batch.taken == 0:
            return
