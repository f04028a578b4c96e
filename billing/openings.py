"""A contract's opening: whether it is paid, and what it lets open (C4, C6, rule 2)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from billing import books, ledger
from billing.contracts import terms_of
from billing.models import Contract, Holding
from billing.order_invoices import invoices_by_id
from billing.rules.terms import fixed_deposit


async def may_open(session: AsyncSession, contract: Contract, *, opening: bool) -> bool:
    """Whether an order may open as far as the contract's opening goes (C6, rule 2).

    The opening may once its invoice is settled, whatever joined it later; an addition once the contract has opened.
    """
    if contract.state == "open":
        return True
    rows = [row for row in await books.holding_rows(session, contract) if not row.lapsed]
    if any(row.opened_on is not None for row in rows):
        return True
    return opening and await is_paid(session, contract)


async def is_paid(session: AsyncSession, contract: Contract) -> bool:
    """Whether the contract has opened, or its opening invoice is settled, or its opening asked for nothing.

    What joined the opening later, such as free circuits, does not stand for the deposit on its invoice (C4).
    """
    if contract.state == "open":
        return True
    rows = [row for row in await books.holding_rows(session, contract) if not row.lapsed]
    if any(row.opened_on is not None for row in rows):
        return True
    charged = [row for row in rows if row.opening and row.invoiced_on is not None]
    known = await invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in charged})
    own = [invoice for invoice in known.values() if invoice.reason == "opening"]
    if own:
        return all(ledger.is_settled(invoice) for invoice in own)
    return any(_is_free_opening(contract, row) for row in charged)


async def left_without(session: AsyncSession, contract: Contract) -> list[Holding]:
    """What waits under a contract that has not opened and that nothing opens any more.

    It opens with the orders that its opening invoice charges, or will charge: with them the deposit is paid (C4, C6).
    """
    if contract.state == "open":
        return []
    rows = [row for row in await books.holding_rows(session, contract) if not row.lapsed]
    if any(row.opened_on is not None for row in rows):
        return []
    known = await invoices_by_id(session, contract.tenant_id, {row.order_invoice_id for row in rows if row.opening})
    if any(invoice.reason == "opening" for invoice in known.values()):
        return []
    if any(row.opening and (row.invoiced_on is None or _is_free_opening(contract, row)) for row in rows):
        return []
    return rows


def _is_free_opening(contract: Contract, row: Holding) -> bool:
    """Whether the contract may open with what costs nothing: not where its opening has a deposit to ask for."""
    return row.order_invoice_id is None and not fixed_deposit(terms_of(contract, contract.opens_on))
