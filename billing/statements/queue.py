"""The lines that wait for a person: assigned to a tenant, which makes them a payment, or dismissed.

Whoever decides locks the tenant first and the line second, as the matching and a reversal do; so a line becomes one
payment whoever comes first.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import payments
from billing.statements.errors import StatementLineNotFound, StatementLineNotWaiting
from billing.statements.models import BankStatementLine
from infra.kit import audit, clock, money, reasons
from infra.kit.database import PLATFORM
from tenancy import tenants

STATES = ("new", "matched", "unmatched", "dismissed", "duplicate")
DECIDABLE = frozenset({"new", "unmatched", "dismissed"})
CHANNEL = "bank_transfer"


async def assign(session: AsyncSession, line_id: str, tenant_id: str) -> BankStatementLine:
    """Make a line a payment of this tenant, value date and reference as the bank says; also a dismissed line.

    Raises `NotFound` for the tenant, `StatementLineNotFound`, `StatementLineNotWaiting`, and what `payments.record`
    refuses.
    """
    await tenants.get(session, tenant_id, for_update=True)
    line = await _for_decision(session, line_id)
    await pay(session, line, tenant_id, by="assignment")
    await audit.record(
        session, PLATFORM, "bank_statement_line.assigned", line_id, tenant=tenant_id, payment_id=line.payment_id
    )
    return line


async def dismiss(session: AsyncSession, line_id: str, reason: str) -> BankStatementLine:
    """Take a line out of the queue: it is no payment of a tenant (interest, the operator's own transfer).

    Raises `InvalidInput` for the reason, `StatementLineNotFound`, `StatementLineNotWaiting`.
    """
    reason = reasons.given(reason)
    line = await _for_decision(session, line_id)
    if line.state == "dismissed":
        raise StatementLineNotWaiting(f"The line {line_id} is dismissed already.", field="line_id")
    line.state, line.note = "dismissed", reason
    _sign(line)
    await session.flush()
    await audit.record(session, PLATFORM, "bank_statement_line.dismissed", line_id, reason=line.note)
    return line


async def pay(session: AsyncSession, line: BankStatementLine, tenant_id: str, *, by: str) -> None:
    """Record a line's payment; the caller has locked the tenant, then the line. Raises as `payments.record` does."""
    payment = await payments.record(
        session,
        tenant_id=tenant_id,
        amount=money.amount_text(line.amount),
        value_on=line.value_on,
        channel=CHANNEL,
        payer=line.payer,
        reference=line.bank_reference,
    )
    line.state = "matched"
    line.matched_tenant_id = tenant_id
    line.payment_id = payment.payment_id
    line.matched_by = by
    line.reason = line.note = None
    _sign(line)
    await session.flush()


async def find_line(session: AsyncSession, line_id: str, *, for_update: bool = False) -> BankStatementLine:
    """A line by its id. Raises `StatementLineNotFound`."""
    query = select(BankStatementLine).where(BankStatementLine.line_id == line_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    line = (await session.execute(query)).scalar_one_or_none()
    if line is None:
        raise StatementLineNotFound(f"There is no line {line_id}.", field="line_id")
    return line


async def _for_decision(session: AsyncSession, line_id: str) -> BankStatementLine:
    line = await find_line(session, line_id, for_update=True)
    if line.state not in DECIDABLE:
        advice = (
            f"reverse its payment {line.payment_id} first"
            if line.state == "matched"
            else f"it repeats {line.duplicate_of}, which is the one to decide about"
        )
        raise StatementLineNotWaiting(f"The line {line_id} is {line.state}: {advice}.", field="line_id")
    return line


def _sign(line: BankStatementLine) -> None:
    line.decided_by = audit.actor.get()
    line.decided_at = clock.now()
