"""The way back: the payment of a line was reversed, so a person decides about the line again."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from billing.statements.models import BankStatementLine
from infra.kit import audit
from infra.kit.database import PLATFORM

PAYMENT_REVERSED = "payment_reversed"


async def return_to_queue(session: AsyncSession, payment_id: str) -> None:
    """Put the line that made a payment back into the queue; a payment recorded by hand has none.

    The caller holds the tenant's lock and reverses the payment in the same transaction.
    """
    changed = await session.execute(
        update(BankStatementLine)
        .where(BankStatementLine.payment_id == payment_id, BankStatementLine.state == "matched")
        .values(
            state="unmatched",
            reason=PAYMENT_REVERSED,
            matched_tenant_id=None,
            payment_id=None,
            matched_by=None,
            decided_by=None,
            decided_at=None,
        )
        .returning(BankStatementLine.line_id)
    )
    for line_id in changed.scalars():
        await audit.record(session, PLATFORM, "bank_statement_line.returned", line_id, payment_id=payment_id)
