"""What the run of a month would issue, contract by contract, before finance releases it; nothing is written.

Each contract is billed by the very functions of the run inside a savepoint that is rolled back, after its waiting
calls were rated there too. So the preview is right about lapsed orders, credit and months that are behind, and holds
the locks of one tenant at a time only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from billing import equipment, invoice_runs, invoices, usage
from billing.contracts import get_contract
from billing.models import Contract, Invoice, InvoiceLine, UnratedCall
from billing.rules.lines import LINE_KINDS
from billing.rules.months import Month
from infra.kit import clock, logs, money
from infra.kit.database import is_away
from infra.kit.pages import check_limit, decode_cursor, encode_cursor
from infra.kit.problems import Conflict, InvalidInput, Refusal
from switch import set_aside_records
from switch.models import NewCall

log = logs.get(__name__)

PAGE_LIMIT_CONTRACTS = 50
SUMMARY_LIMIT_CONTRACTS = 1_000
"""A contract of a hundred seats takes some 0.05 seconds, and an answer must come within 90."""

RATING_LIMIT_BATCHES = 10
"""Waiting calls beyond this many batches of a tenant are told as unrated instead."""

NOTABLE_CHANGE = Decimal("0.5")
"""A total that is this part larger or smaller than last month's is worth a look."""

FIRST_ZERO = "first_zero"
NOTABLY_MORE = "notably_more"
NOTABLY_LESS = "notably_less"
UNRATED_CALLS = "unrated_calls"
INCOMPLETE_RECORDS = "incomplete_records"
EQUIPMENT_OUT = "equipment_out"
CANNOT_BE_MADE = "cannot_be_made"
ANOMALIES = (FIRST_ZERO, NOTABLY_MORE, NOTABLY_LESS, UNRATED_CALLS, INCOMPLETE_RECORDS, EQUIPMENT_OUT, CANNOT_BE_MADE)
"""Nothing to pay for the first time; half more or half less than last month; calls without a price; call records that
are missing or were set aside; equipment not back when the final invoice is made; a contract that the run would set
aside."""


@dataclass(frozen=True, slots=True)
class PreviewedLine:
    """A line as it would stand on the invoice; CNY."""

    kind: str
    item: str | None
    quantity: int
    unit_price: Decimal
    amount: Decimal
    clause: str
    formula: str


@dataclass(frozen=True, slots=True)
class PreviewedInvoice:
    """An invoice as it would be issued, without the number that it would take."""

    reason: str
    period: str
    issued_on: date
    due_on: date
    total: Decimal
    tax: Decimal
    lines: tuple[PreviewedLine, ...]


@dataclass(slots=True)
class ContractPreview:
    """What the run would do with one contract; more than one invoice where it is months behind.

    `total_before` is what was invoiced for the month before, None where there was no monthly invoice. `unrated_calls`
    counts the tenant's calls without a price, `incomplete_records` the calls among them whose record is missing and the
    records set aside that name the tenant. `equipment_out` are the labels of what is not back at the end (C22): what is
    lost or damaged goes on the final invoice if it is said before that goes out. `problem` tells why the run would set
    the contract aside.
    """

    tenant_id: str
    contract_id: str
    title: str = ""
    invoices: list[PreviewedInvoice] = field(default_factory=list["PreviewedInvoice"])
    total_before: Decimal | None = None
    unrated_calls: int = 0
    incomplete_records: int = 0
    equipment_out: list[str] = field(default_factory=list[str])
    problem: str | None = None
    anomalies: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal:
        """Everything that would be issued, CNY."""
        return sum((invoice.total for invoice in self.invoices), money.ZERO)


@dataclass(frozen=True, slots=True)
class RunPreview:
    """One page of a run's preview, by tenant and contract, with the sums of this page's lines by kind."""

    contracts: Sequence[ContractPreview]
    totals: Mapping[str, Decimal]
    contracts_due: int
    """How many contracts the whole run would take."""
    next: str | None


@dataclass(slots=True)
class RunSummary:
    """What a whole run would issue: sums by kind, and the contracts that are worth a look, by tenant and contract."""

    contracts_due: int
    invoices: int = 0
    totals: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    to_look_at: list[ContractPreview] = field(default_factory=list[ContractPreview])


class TooManyContracts(Conflict):
    """The run has more contracts than one answer can add up."""

    code = "too_many_contracts"


async def preview(session: AsyncSession, month: Month, *, limit: int, after: str | None) -> RunPreview:
    """A page of what the run of `month` would issue; the session's objects are forgotten on the way.

    A month that has not begun can be looked at from the month before on, with what is known by now. Raises
    `InvalidInput` for a later month, a limit or a cursor that is not acceptable.
    """
    _check_month(month)
    if check_limit(limit) > PAGE_LIMIT_CONTRACTS:
        raise InvalidInput(f"A page has at most {PAGE_LIMIT_CONTRACTS} contracts.", field="limit")
    due = invoice_runs.due_contracts(month)
    contracts_due = await count_due(session, month)
    if after is not None:
        due = due.where(tuple_(Contract.tenant_id, Contract.contract_id) > tuple_(*decode_cursor(after, 2)))
    keys = [(tenant_id, contract_id) for tenant_id, contract_id in await session.execute(due.limit(limit + 1))]
    previews = [await preview_contract(session, month, *key) for key in keys[:limit]]
    following = encode_cursor(keys[limit - 1]) if len(keys) > limit else None
    return RunPreview(previews, totals_by_kind(previews), contracts_due, following)


async def summarize(session: AsyncSession, month: Month) -> RunSummary:
    """The whole run of `month` added up; the session's objects are forgotten on the way.

    Raises `InvalidInput` for a month that is too far ahead, `TooManyContracts` beyond `SUMMARY_LIMIT_CONTRACTS`.
    """
    _check_month(month)
    summary = RunSummary(await count_due(session, month))
    if summary.contracts_due > SUMMARY_LIMIT_CONTRACTS:
        raise TooManyContracts(
            f"The run has {summary.contracts_due} contracts; at most {SUMMARY_LIMIT_CONTRACTS} are added up in one "
            "answer. Read the preview page by page.",
            field="month",
        )
    due = await session.execute(invoice_runs.due_contracts(month).limit(SUMMARY_LIMIT_CONTRACTS))
    for tenant_id, contract_id in due.all():
        found = await preview_contract(session, month, tenant_id, contract_id)
        summary.invoices += len(found.invoices)
        for kind, amount in totals_by_kind([found]).items():
            summary.totals[kind] = summary.totals.get(kind, money.ZERO) + amount
        if found.anomalies:
            found.invoices = [replace(invoice, lines=()) for invoice in found.invoices]
            summary.to_look_at.append(found)
    summary.totals = {kind: summary.totals[kind] for kind in LINE_KINDS if kind in summary.totals}
    return summary


async def preview_contract(session: AsyncSession, month: Month, tenant_id: str, contract_id: str) -> ContractPreview:
    """What the run of `month` would do with one contract; undone before this returns."""
    found = ContractPreview(tenant_id, contract_id)
    savepoint = await session.begin_nested()
    try:
        await _bill(session, month, found)
        await session.flush()
    except Exception as error:
        if is_away(error):
            raise
        log.warning("run_preview.contract_cannot_be_made", contract_id=contract_id, exc_info=error)
        found.invoices.clear()
        found.problem = error.detail if isinstance(error, Refusal) else "The invoice cannot be made; the log says why."
    finally:
        await savepoint.rollback()
        session.expunge_all()
    found.anomalies = anomalies_of(found)
    return found


def anomalies_of(found: ContractPreview) -> tuple[str, ...]:
    """What finance should look at before releasing a contract's invoice; some of `ANOMALIES`. Pure."""
    if found.problem is not None:
        return (CANNOT_BE_MADE,)
    anomalies: list[str] = []
    newest = found.invoices[-1].total if found.invoices else money.ZERO
    before = found.total_before or money.ZERO
    if before > 0:
        if newest <= 0:
            anomalies.append(FIRST_ZERO)
        elif newest - before >= before * NOTABLE_CHANGE:
            anomalies.append(NOTABLY_MORE)
        elif before - newest >= before * NOTABLE_CHANGE:
            anomalies.append(NOTABLY_LESS)
    if found.unrated_calls:
        anomalies.append(UNRATED_CALLS)
    if found.incomplete_records:
        anomalies.append(INCOMPLETE_RECORDS)
    if found.equipment_out:
        anomalies.append(EQUIPMENT_OUT)
    return tuple(anomalies)


def totals_by_kind(previews: Iterable[ContractPreview]) -> dict[str, Decimal]:
    """The lines of previews added up by kind, in the order in which an invoice shows them; CNY. Pure."""
    sums: defaultdict[str, Decimal] = defaultdict(lambda: money.ZERO)
    for found in previews:
        for invoice in found.invoices:
            for line in invoice.lines:
                sums[line.kind] += line.amount
    return {kind: sums[kind] for kind in LINE_KINDS if kind in sums}


def _check_month(month: Month) -> None:
    latest = Month.of(clock.today()).following
    if month > latest:
        raise InvalidInput(f"{month} is too far ahead; the latest month to look at is {latest}.", field="month")


async def count_due(session: AsyncSession, month: Month) -> int:
    """How many contracts the run of a month would take."""
    due = invoice_runs.due_contracts(month).order_by(None).subquery()
    return await session.scalar(select(func.count()).select_from(due)) or 0


async def _bill(session: AsyncSession, month: Month, found: ContractPreview) -> None:
    # The tenant's lock comes first, as everywhere: rating holds contracts, which a payment waits for under that lock.
    contract = await get_contract(session, found.tenant_id, found.contract_id, for_update=True)
    found.title = contract.title
    for _ in range(RATING_LIMIT_BATCHES):
        if (await usage.rate_batch(session, found.tenant_id)).taken == 0:
            break
    while await invoice_runs.has_to_bill(session, contract, month):
        invoice = await invoice_runs.bill_contract(session, contract, invoice_runs.next_usage_month(contract))
        if invoice is not None:
            lines = await invoices.lines_of(session, invoice)
            found.invoices.append(previewed(invoice, lines))
    found.total_before = await _total_before(session, contract, month)
    found.unrated_calls = await _unrated(session, found.tenant_id, month)
    found.incomplete_records = await _incomplete(session, found.tenant_id, month)
    if contract.ends_on is not None and contract.ends_on < month.first:
        found.equipment_out = await equipment.labels_out(session, contract.tenant_id, contract.contract_id)


def previewed(invoice: Invoice, lines: Iterable[InvoiceLine]) -> PreviewedInvoice:
    """An invoice that was made only to be looked at, as plain values that outlive its savepoint."""
    return PreviewedInvoice(
        reason=invoice.reason,
        period=invoice.period,
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        total=invoice.total,
        tax=invoice.tax,
        lines=tuple(
            PreviewedLine(line.kind, line.item, line.quantity, line.unit_price, line.amount, line.clause, line.formula)
            for line in lines
        ),
    )


async def _total_before(session: AsyncSession, contract: Contract, month: Month) -> Decimal | None:
    """The monthly invoice dated the 1st of the month before, also one that this preview has just made."""
    query = select(func.sum(Invoice.total)).where(
        Invoice.tenant_id == contract.tenant_id,
        Invoice.contract_id == contract.contract_id,
        Invoice.reason == "monthly",
        Invoice.issued_on == month.preceding.first,
        Invoice.voided_at.is_(None),
    )
    return await session.scalar(query)


async def _unrated(session: AsyncSession, tenant_id: str, month: Month) -> int:
    """The tenant's calls of before this month that have no price, or are still waiting for one."""
    count = 0
    for table in (UnratedCall, NewCall):
        query = select(func.count()).where(table.tenant_id == tenant_id, table.month <= month.preceding.first)
        count += await session.scalar(query) or 0
    return count


async def _incomplete(session: AsyncSession, tenant_id: str, month: Month) -> int:
    """Calls of before this month whose record is missing, and records set aside that name the tenant."""
    query = select(func.count()).where(
        UnratedCall.tenant_id == tenant_id,
        UnratedCall.month <= month.preceding.first,
        UnratedCall.reason == usage.NO_RECORD,
    )
    return (await session.scalar(query) or 0) + await set_aside_records.count_set_aside_of(session, tenant_id)
