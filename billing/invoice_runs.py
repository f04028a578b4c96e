"""The monthly run: every contract's invoice of a month, one transaction a contract (C7, rules 3 and 11).

`Contract.billed_through` is the usage month (the month in arrears) that a contract has been invoiced for. A run takes
each contract FOR UPDATE and moves it on by one month; so running twice issues nothing twice, and a run that died goes
on where it stopped. Rating holds the contract FOR SHARE: a call is either in the sum or on the next invoice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, contracts, invoices, leases, ledger, order_invoices, usage
from billing.contracts import get_contract, terms_of
from billing.models import Charge, Contract, Holding, Invoice, OneOffCharge, UnratedCall
from billing.rules.book import Book
from billing.rules.invoicing import final_invoice, monthly_due_on, monthly_invoice
from billing.rules.lines import InvoiceDraft
from billing.rules.months import Month
from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.problems import Unavailable

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


async def run_month(runtime: Runtime, month: Month) -> MonthRun:
    """Issue what is due up to the invoices dated the 1st of `month`, for every contract; safe to run again.

    A contract whose invoice cannot be made is set aside, logged and counted; the others go on. Raises `Unavailable`
    when the database is away; what was done until then stays.
    """
    run = MonthRun(month)
    rated: set[str] = set()
    async with runtime.database.transaction(Scope.platform()) as session:
        due = [tuple(row) for row in await session.execute(due_contracts(month))]
    for tenant_id, contract_id in due:
        try:
            if tenant_id not in rated:
                await _rate_what_waits(runtime.database, tenant_id)
                rated.add(tenant_id)
            await _bill(runtime.database, run, tenant_id, contract_id)
        except Unavailable:
            raise
        except Exception:  # one contract that cannot be billed must not keep the others from it
            log.exception("invoice_run.contract_set_aside", tenant_id=tenant_id, contract_id=contract_id)
            run.set_aside.append(contract_id)
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
        async with runtime.database.transaction(Scope.platform()) as session:
            contract = await get_contract(session, tenant_id, contract_id, for_update=True)
            group = order_invoices.OrderGroup(True, contract.opens_on, contract.opens_on)
            invoice = await order_invoices.charge(session, contract, group, today=today)
            await ledger.set_off(session, tenant_id, today)
            issued += invoice is not None
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
    for tenant_id, contract_id in ended:
        async with runtime.database.transaction(Scope.platform()) as session:
            await contracts.end(session, await get_contract(session, tenant_id, contract_id, for_update=True))
    return len(ended)


async def bill_contract(session: AsyncSession, contract: Contract, usage_month: Month) -> Invoice | None:
    """Make the invoice that follows a usage month, and move the contract on; None when it has no line.

    The contract is locked by the caller, and `usage_month` is the next one it has to be invoiced for.
    """
    month = usage_month.following
    today = clock.today()
    await leases.lapse_unpaid(session, contract, month.first)
    await ledger.set_off(session, contract.tenant_id, today)
    await leases.open_what_is_paid(session, contract, month.first)
    if contract.ends_on is not None and contract.ends_on < month.first:
        await contracts.end(session, contract)
    book = await books.load_book(session, contract, month)
    draft = _draft(contract, book, usage_month, released_on=today)
    await _note_taken(session, contract, book, month)
    contract.billed_through = usage_month.first
    invoice = None if draft is None else await invoices.issue(session, contract, draft)
    await session.flush()
    await ledger.set_off(session, contract.tenant_id, today)
    return invoice


def next_usage_month(contract: Contract) -> Month:
    """The month in arrears of a contract's next invoice; the first is that of its opening (rule 3)."""
    if contract.billed_through is None:
        return Month.of(contract.opens_on)
    return Month.of(contract.billed_through).following


def _draft(contract: Contract, book: Book, usage_month: Month, *, released_on: date) -> InvoiceDraft | None:
    terms, ends_on, month = terms_of(contract), contract.ends_on, usage_month.following
    if ends_on is None or month.first <= ends_on:
        return monthly_invoice(terms, book, month, released_on=released_on)
    if usage_month == Month.of(ends_on):
        return final_invoice(terms, book, ends_on)
    # A supplementary final invoice (rule 11): late calls and charges only, since the first one took all that was held.
    draft = final_invoice(terms, replace(book, holdings=()), usage_month.last)
    return None if draft is None else replace(draft, due_on=monthly_due_on(terms, month, released_on))


def due_contracts(month: Month) -> Select[str, str]:
    """Tenants and contracts with something to invoice before this month's 1st, in their order.

    After its final invoice a contract is due for late calls and charges only.
    """
    last_month = func.least(func.date_trunc("month", Contract.ends_on), month.preceding.first)
    return (
        select(Contract.tenant_id, Contract.contract_id)
        .where(
            Contract.opens_on < month.first,
            Contract.billed_through.is_(None)
            | (Contract.billed_through < last_month)
            | _late_calls(month)
            | (_late_charges(month) & (Contract.billed_through < month.preceding.first)),
        )
        .order_by(Contract.tenant_id, Contract.contract_id)
    )


def _late_calls(month: Month) -> ColumnElement[bool]:
    """Whether a contract has calls that go on an invoice of up to this month and are on none yet."""
    return (
        select(Charge.leg_id)
        .where(
            Charge.tenant_id == Contract.tenant_id,
            Charge.contract_id == Contract.contract_id,
            Charge.billing_month > Contract.billed_through,
            Charge.billing_month < month.first,
        )
        .exists()
    )


def _late_charges(month: Month) -> ColumnElement[bool]:
    """Whether a contract has one-off charges from before this month that are on no invoice yet."""
    return (
        select(OneOffCharge.charge_id)
        .where(
            OneOffCharge.tenant_id == Contract.tenant_id,
            OneOffCharge.contract_id == Contract.contract_id,
            OneOffCharge.billed_on.is_(None),
            OneOffCharge.cancelled_at.is_(None),
            OneOffCharge.on < month.first,
        )
        .exists()
    )


async def _bill(database: Database, run: MonthRun, tenant_id: str, contract_id: str) -> None:
    """Every month that one contract is behind, each in a transaction of its own."""
    while True:
        async with database.transaction(Scope.platform()) as session:
            contract = await get_contract(session, tenant_id, contract_id, for_update=True)
            if not await has_to_bill(session, contract, run.month):
                return
            invoice = await bill_contract(session, contract, next_usage_month(contract))
        run.issued += invoice is not None
        run.without_lines += invoice is None


async def has_to_bill(session: AsyncSession, contract: Contract, month: Month) -> bool:
    """Whether a contract lacks an invoice of up to this month; after its final one only late calls and charges do."""
    if next_usage_month(contract) >= month:
        return False
    if contract.ends_on is None or contract.billed_through is None:
        return True
    if contract.billed_through < Month.of(contract.ends_on).first:
        return True
    query = select(Contract.contract_id).where(
        Contract.tenant_id == contract.tenant_id,
        Contract.contract_id == contract.contract_id,
        _late_calls(month) | _late_charges(month),
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
    for row in await books.holding_rows(session, contract):
        if (row.item, row.number) in given_back:
            row.deposit_returned = True
    if is_final:
        contract.fixed_deposit_returned = True


async def _rate_what_waits(database: Database, tenant_id: str) -> None:
    """Price the tenant's calls that have come in, so that those of the month are on its invoice."""
    for _ in range(MAXIMUM_RATING_BATCHES):
        async with database.transaction(Scope.platform()) as session:
            batch = await usage.rate_batch(session, tenant_id)
        if batch.taken == 0:
            return
