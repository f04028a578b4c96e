"""Payments: recorded by finance, set against invoices, reversed but never deleted (C25, rule 8)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning, journal, ledger, order_ends
from billing.contracts import get_contract
from billing.errors import (
    PaidThroughStripe,
    PaymentCurrencyRefused,
    PaymentNotFound,
    PaymentRefunded,
    PaymentRefused,
    PaymentReversed,
    ReferenceUsed,
)
from billing.journal import Entry
from billing.models import Holding, Payment
from billing.rules import accounts
from billing.rules.errors import shown
from billing.rules.reading import Reader
from billing.statements.returns import return_to_queue
from infra.kit import audit, clock, jobs, money, reasons
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from tenancy import tenants

CHANNELS = ("bank_transfer",)
"""What finance records by hand."""
STRIPE = "stripe"
"""The channel of card and wallet payments; billing/cards records and takes back what comes by it."""
TEXT_LIMIT_CHARACTERS = 200
LEAST_AMOUNT = Decimal("0.01")
_READER = Reader(PaymentRefused)


async def record(
    session: AsyncSession,
    *,
    tenant_id: str,
    amount: str,
    value_on: date,
    channel: str,
    payer: str | None,
    reference: str | None,
    currency: str = money.CURRENCY,
) -> Payment:
    """Record money received (CNY, a decimal string) and act on it: invoices settled, the tenant restored.

    Oldest due first, then oldest issued; what is left is credit. It acts with this transaction's commit. Orders whose
    month had ended unpaid before today are gone and take no part. Raises `PaymentRefused` naming the value,
    `PaymentCurrencyRefused` for another currency, `ReferenceUsed` for a reference that this tenant's payments have
    already, `NotFound` for an unknown tenant.
    """
    today = clock.today()
    if currency != money.CURRENCY:
        expected = f"{money.CURRENCY}: record the amount that the bank has credited in {money.CURRENCY}"
        raise PaymentCurrencyRefused("currency", f"{shown(currency)} is not taken", expected)
    sum_received = _READER.decimal(amount, "amount", places=money.FEN, minimum=LEAST_AMOUNT)
    _READER.choice(channel, "channel", CHANNELS)
    if value_on > today or value_on.year < today.year - 1:
        raise PaymentRefused("value_on", f"{value_on} is not acceptable", f"a day of last year up to today, {today}")
    return await record_received(
        session,
        tenant_id=tenant_id,
        amount=sum_received,
        value_on=value_on,
        channel=channel,
        payer=_text(payer, "payer"),
        reference=_text(reference, "reference"),
    )


async def record_received(
    session: AsyncSession,
    *,
    tenant_id: str,
    amount: Decimal,
    value_on: date,
    channel: str,
    payer: str | None,
    reference: str | None,
) -> Payment:
    """Record money that a channel says has come (CNY, checked by it) and act on it, as `record` does."""
    today = clock.today()
    await tenants.get(session, tenant_id, for_update=True)
    if reference is not None:
        await _check_reference(session, tenant_id, reference)
    await _lapse_orders(session, tenant_id, today)
    payment = Payment(
        tenant_id=tenant_id,
        payment_id=new_id("pay"),
        amount=amount,
        channel=channel,
        value_on=value_on,
        payer=payer,
        reference=reference,
        recorded_at=clock.now(),
        reversed_at=None,
        reversal_reason=None,
    )
    session.add(payment)
    await session.flush()
    postings = accounts.money_received(payment.payment_id, amount, channel)
    await journal.post(session, tenant_id, [Entry(payment.payment_id, "recorded", value_on, postings)])
    await audit.record(
        session,
        tenant_id,
        "payment.recorded",
        payment.payment_id,
        amount=money.amount_text(amount),
        value_on=value_on.isoformat(),
        reference=reference,
    )
    await ledger.set_off(session, tenant_id, value_on)
    await dunning.clear_if_settled(session, tenant_id, today)
    return payment


async def reverse(session: AsyncSession, *, tenant_id: str, payment_id: str, reason: str) -> Payment:
    """Take a wrongly recorded payment back: what it paid is open again, other credit is used for it.

    The payment and its allocations stay to be seen; the line of a bank statement that made it waits for a person
    again. A suspension follows at the next look of dunning, which is woken here. Raises `PaymentNotFound`,
    `PaymentReversed`, `PaymentRefunded` where its money was paid out since, `PaidThroughStripe`, `InvalidInput` for an
    empty reason.
    """
    reason = reasons.given(reason)
    await tenants.get(session, tenant_id, for_update=True)
    payment = await find(session, payment_id, tenant_id)
    if payment.reversed_at is not None:
        raise PaymentReversed(f"The payment {payment_id} was reversed at {payment.reversed_at}.", field="payment_id")
    if payment.channel == STRIPE:
        raise PaidThroughStripe(
            "The payment came through Stripe, which has the money: refund it to the card instead.", field="payment_id"
        )
    refunds = await ledger.refunds_from(session, tenant_id, payment_id)
    if refunds:
        raise PaymentRefunded(
            f"Money of the payment was paid out again: reverse {', '.join(refunds)} first.", field="payment_id"
        )
    await ledger.undo(session, tenant_id, source_id=payment_id)
    taken_back = await journal.reversal(
        session, tenant_id, [payment_id], event="recorded", as_event="reversed", on=clock.today()
    )
    await journal.post(session, tenant_id, taken_back)
    payment.reversed_at = clock.now()
    payment.reversal_reason = reason
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "payment.reversed",
        payment_id,
        amount=money.amount_text(payment.amount),
        reason=payment.reversal_reason,
    )
    await return_to_queue(session, payment_id)
    await ledger.set_off(session, tenant_id, clock.today())
    await jobs.defer(session, ledger.ADVANCE_DUNNING_OF_TENANT, lock=f"tenant:{tenant_id}", tenant_id=tenant_id)
    return payment


async def find(session: AsyncSession, payment_id: str, tenant_id: str | None) -> Payment:
    """A payment by its id, narrowed to a tenant where the caller belongs to one. Raises `PaymentNotFound`."""
    query = select(Payment).where(Payment.payment_id == payment_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(Payment.tenant_id == tenant_id)
    payment = (await session.execute(query)).scalar_one_or_none()
    if payment is None:
        raise PaymentNotFound(f"There is no payment {payment_id}.", field="payment_id")
    return payment


def _text(value: str | None, field: str) -> str | None:
    if value is None or not value.strip():
        return None
    if len(value) > TEXT_LIMIT_CHARACTERS:
        raise InvalidInput(f"{field} has at most {TEXT_LIMIT_CHARACTERS} characters.", field=field)
    return value.strip()


async def _check_reference(session: AsyncSession, tenant_id: str, reference: str) -> None:
    """The tenant's lock makes this safe; a unique index stands behind it."""
    query = select(Payment.payment_id).where(
        Payment.tenant_id == tenant_id, Payment.reference == reference, Payment.reversed_at.is_(None)
    )
    known = await session.scalar(query)
    if known is not None:
        raise ReferenceUsed(
            f"The payment {known} has the reference {reference} already; reverse it first if it is wrong.",
            field="reference",
        )


async def _lapse_orders(session: AsyncSession, tenant_id: str, today: date) -> None:
    query = (
        select(Holding.contract_id)
        .where(
            Holding.tenant_id == tenant_id,
            Holding.opened_on.is_(None),
            Holding.lapsed.is_(False),
            Holding.effective_on < today.replace(day=1),
        )
        .distinct()
        .order_by(Holding.contract_id)
    )
    for contract_id in (await session.execute(query)).scalars().all():
        contract = await get_contract(session, tenant_id, contract_id, for_update=True)
        await order_ends.lapse_unpaid(session, contract, today)
