"""Refunds: credit paid out to the tenant, released by finance, reversed but never deleted (rule 11)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning, ledger
from billing.errors import (
    CreditTooSmall,
    PaidThroughStripe,
    RefundNotFound,
    RefundReferenceUsed,
    RefundRefused,
    RefundReversed,
)
from billing.models import Refund
from billing.rules.reading import Reader
from infra.kit import audit, clock, money, reasons
from infra.kit.ids import new_id
from tenancy import tenants

BANK_TRANSFER = "bank_transfer"
TEXT_LIMIT_CHARACTERS = 200
LEAST_AMOUNT = Decimal("0.01")
_READER = Reader(RefundRefused)


async def record(
    session: AsyncSession, *, tenant_id: str, amount: str, value_on: date, reference: str, note: str
) -> Refund:
    """Record credit paid out (CNY, a decimal string): first all credit is set off against open invoices (rule 11).

    `reference` is what the bank knows the transfer by; whoever acts is kept as the one who released it. Raises
    `RefundRefused` naming the value, `CreditTooSmall`, `RefundReferenceUsed`, `NotFound` for an unknown tenant.
    """
    today = clock.today()
    paid_out = _READER.decimal(amount, "amount", places=money.FEN, minimum=LEAST_AMOUNT)
    if value_on > today or value_on.year < today.year - 1:
        raise RefundRefused("value_on", f"{value_on} is not acceptable", f"a day of last year up to today, {today}")
    reference, note = checked_text(reference, "reference"), checked_text(note, "note")
    await tenants.get(session, tenant_id, for_update=True)
    await _check_reference(session, tenant_id, reference)
    await ledger.set_off(session, tenant_id, today)
    return await write(
        session,
        tenant_id=tenant_id,
        amount=paid_out,
        channel=BANK_TRANSFER,
        value_on=value_on,
        reference=reference,
        note=note,
    )


async def write(
    session: AsyncSession,
    *,
    tenant_id: str,
    amount: Decimal,
    channel: str,
    value_on: date,
    reference: str,
    note: str,
    refund_id: str | None = None,
    only_from: str | None = None,
) -> Refund:
    """Write a refund and take it from what is free, or from what is free of one source (`only_from`).

    The caller holds the tenant's lock and has checked the values. Raises `CreditTooSmall`.
    """
    refund = Refund(
        tenant_id=tenant_id,
        refund_id=refund_id or new_id("rfd"),
        amount=amount,
        channel=channel,
        value_on=value_on,
        reference=reference,
        note=note,
        released_by=audit.actor.get(),
        recorded_at=clock.now(),
        reversed_at=None,
        reversal_reason=None,
    )
    session.add(refund)
    if not await ledger.pay_out(session, tenant_id, refund, only_from=only_from):
        free = money.amount_text((await ledger.balance(session, tenant_id)).credit)
        raise CreditTooSmall(f"The free credit is {free} CNY; refund at most that.", field="amount", free_credit=free)
    await audit.record(
        session,
        tenant_id,
        "refund.released",
        refund.refund_id,
        amount=money.amount_text(amount),
        value_on=value_on.isoformat(),
        reference=reference,
        note=note,
    )
    return refund


async def reverse(
    session: AsyncSession, *, tenant_id: str, refund_id: str, reason: str, by_channel: bool = False
) -> Refund:
    """Take a refund back that did not reach the tenant or was recorded wrongly: the money is its credit again.

    The credit is used for what is open at once. Only the channel itself (`by_channel`) knows that a refund through
    Stripe has failed. Raises `RefundNotFound`, `RefundReversed`, `PaidThroughStripe`, `InvalidInput` for an empty
    reason.
    """
    reason = reasons.given(reason)
    today = clock.today()
    await tenants.get(session, tenant_id, for_update=True)
    refund = await find(session, refund_id, tenant_id)
    if refund.reversed_at is not None:
        raise RefundReversed(f"The refund {refund_id} was reversed at {refund.reversed_at}.", field="refund_id")
    if refund.channel != BANK_TRANSFER and not by_channel:
        raise PaidThroughStripe(
            "The refund went through Stripe: when it fails there, it is taken back here by itself.", field="refund_id"
        )
    await ledger.undo(session, tenant_id, invoice_id=refund_id)
    refund.reversed_at = clock.now()
    refund.reversal_reason = reason
    await session.flush()
    await audit.record(
        session, tenant_id, "refund.reversed", refund_id, amount=money.amount_text(refund.amount), reason=reason
    )
    await ledger.set_off(session, tenant_id, today)
    await dunning.clear_if_settled(session, tenant_id, today)
    return refund


async def find(session: AsyncSession, refund_id: str, tenant_id: str | None) -> Refund:
    """A refund by its id, narrowed to a tenant where the caller belongs to one. Raises `RefundNotFound`."""
    query = select(Refund).where(Refund.refund_id == refund_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(Refund.tenant_id == tenant_id)
    refund = (await session.execute(query)).scalar_one_or_none()
    if refund is None:
        raise RefundNotFound(f"There is no refund {refund_id}.", field="refund_id")
    return refund


def checked_text(value: str, field: str) -> str:
    """A text of a refund without the spaces around it. Raises `RefundRefused`."""
    found = value.strip()
    if not found or len(value) > TEXT_LIMIT_CHARACTERS:
        raise RefundRefused(field, f"it has {len(found)} characters", f"1 to {TEXT_LIMIT_CHARACTERS} characters")
    return found


async def _check_reference(session: AsyncSession, tenant_id: str, reference: str) -> None:
    """The tenant's lock makes this safe; a unique index stands behind it."""
    query = select(Refund.refund_id).where(
        Refund.tenant_id == tenant_id, Refund.reference == reference, Refund.reversed_at.is_(None)
    )
    known = await session.scalar(query)
    if known is not None:
        raise RefundReferenceUsed(
            f"The refund {known} has the reference {reference} already; reverse it first if it is wrong.",
            field="reference",
        )
