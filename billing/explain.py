"""Where a line of an invoice comes from: its clause, formula and inputs, down to the calls and charges it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import charge_reports, destinations, one_off_charges
from billing.charge_reports import ChargedCall, ChargeSum, Wanted
from billing.data_traffic import sums as data_sums
from billing.data_traffic.sums import DataSum
from billing.errors import LineNotFound
from billing.models import Invoice, InvoiceLine, OneOffCharge
from billing.rules.invoice_words import Destination, Explained, Words, words_for
from billing.rules.months import Month

CALLS = "calls"
USAGE_REASONS = ("monthly", "final")
"""The invoices that add up calls."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A line with what it adds up; `parts` are its formulas with their exact amounts and inputs.

    A line of calls has a page of them, their exact `call_sum` and their `destinations`; a line of a one-off kind has
    its `charges`, and one of data the `data_sum` of what the tunnels have carried.
    """

    invoice: Invoice
    line: InvoiceLine
    parts: Sequence[dict[str, str]]
    calls: Sequence[ChargedCall] = ()
    next_calls: str | None = None
    call_sum: ChargeSum | None = None
    charges: Sequence[OneOffCharge] = ()
    destinations: Sequence[Destination] = ()
    data_sum: DataSum | None = None


def usage_month(invoice: Invoice) -> Month:
    """The month whose calls a monthly or final invoice adds up. Pure."""
    return Month.of(invoice.issued_on).preceding


async def explain(
    session: AsyncSession,
    invoice: Invoice,
    line_number: int,
    *,
    limit: int,
    after: str | None,
    shows_calls: bool = True,
) -> Explanation:
    """Explain one line, numbered from 1; `limit` and `after` page the calls of a line of calls.

    `shows_calls`: whether the reader may see single calls; the sums by destination are there either way.

    Raises `LineNotFound`, `InvalidInput` for a cursor that is not ours.
    """
    query = select(InvoiceLine).where(
        InvoiceLine.tenant_id == invoice.tenant_id,
        InvoiceLine.invoice_id == invoice.invoice_id,
        InvoiceLine.line_number == line_number,
    )
    line = (await session.execute(query)).scalar_one_or_none()
    if line is None:
        raise LineNotFound(f"The invoice {invoice.number} has no line {line_number}.", field="line_number")
    parts: list[dict[str, str]] = line.inputs.get("parts", [])
    if line.kind in one_off_charges.KINDS and invoice.reason in USAGE_REASONS:
        carried = await _data_sum(session, invoice) if line.kind == one_off_charges.DATA else None
        charges = await one_off_charges.taken_by(session, invoice, line.kind)
        return Explanation(invoice, line, parts, charges=charges, data_sum=carried)
    if not charges_calls(invoice, line):
        return Explanation(invoice, line, parts)
    wanted = Wanted(tenant_id=invoice.tenant_id, contract_id=invoice.contract_id, month=usage_month(invoice).first)
    calls, following = [], None
    if shows_calls:
        calls, following = await charge_reports.charge_page(session, wanted, limit=limit, after=after)
    sums, _ = await charge_reports.charge_sums(session, wanted, limit=1, after=None)
    groups = await _destinations(session, invoice)
    return Explanation(invoice, line, parts, calls, following, sums[0] if sums else None, destinations=groups)


async def destinations_of(
    session: AsyncSession, invoice: Invoice, lines: Sequence[InvoiceLine]
) -> Sequence[Destination]:
    """The calls that an invoice adds up by name of destination; empty where it has no line of calls."""
    if not any(charges_calls(invoice, line) for line in lines):
        return ()
    return await _destinations(session, invoice)


def charges_calls(invoice: Invoice, line: InvoiceLine) -> bool:
    """Whether a line adds up the calls of the invoice's usage month; a credit note's line of calls does not. Pure."""
    return line.kind == CALLS and invoice.reason in USAGE_REASONS


def words_of(line: InvoiceLine, groups: Sequence[Destination] = ()) -> tuple[Words, ...]:
    """How a stored line came about, in words; `groups` are the destinations of a line of calls. Pure."""
    parts: list[dict[str, str]] = line.inputs.get("parts", [])
    return words_for(Explained(line.kind, line.item, line.unit_price, line.amount, parts), groups)


async def _destinations(session: AsyncSession, invoice: Invoice) -> Sequence[Destination]:
    return await destinations.by_destination(
        session, tenant_id=invoice.tenant_id, contract_id=invoice.contract_id, month=usage_month(invoice).first
    )


async def _data_sum(session: AsyncSession, invoice: Invoice) -> DataSum:
    return await data_sums.of_month(session, invoice.tenant_id, invoice.contract_id, usage_month(invoice))


def rounding(explanation: Explanation) -> Decimal | None:
    """How far the line is from the exact sum of its calls or charges; None where it adds up neither. Pure."""
    if explanation.call_sum is not None:
        return explanation.line.amount - explanation.call_sum.amount - explanation.call_sum.re_rated
    carried = Decimal(0) if explanation.data_sum is None else explanation.data_sum.amount
    if explanation.charges or carried:
        return explanation.line.amount - carried - sum((charge.amount for charge in explanation.charges), Decimal(0))
    return None
