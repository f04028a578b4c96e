"""Promises to pay: finance keeps a tenant from being suspended until a day (C8, rule 7)."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning
from billing.reminders.errors import PromiseInForce, PromiseNotFound, PromiseNotInForce, PromiseRefused
from billing.reminders.models import PaymentPromise
from billing.rules.dunning import LONGEST_PROMISE_DAYS, is_acceptable_promise
from infra.kit import audit, clock, jobs, reasons
from infra.kit.ids import new_id
from tenancy import tenants

TEXT_LIMIT_CHARACTERS = 500
ADVANCE_DUNNING_OF_TENANT = "billing.advance_tenant_dunning"


async def take(session: AsyncSession, *, tenant_id: str, until: date, reason: str) -> PaymentPromise:
    """Record that the tenant pays by the end of a day (local); until then it is not suspended for payment.

    One that is suspended for payment is restored with this transaction's commit. Raises `PromiseRefused` naming the
    value, `PromiseInForce` while there is one, `NotFound` for an unknown tenant.
    """
    today = clock.today()
    if not is_acceptable_promise(until, today):
        raise PromiseRefused(
            "until", f"{until} is not acceptable", f"a day from today, {today}, up to {LONGEST_PROMISE_DAYS} days on"
        )
    if not reason.strip() or len(reason) > TEXT_LIMIT_CHARACTERS:
        raise PromiseRefused("reason", f"it has {len(reason)} characters", f"1 to {TEXT_LIMIT_CHARACTERS} characters")
    await tenants.get(session, tenant_id, for_update=True)
    present = await in_force(session, tenant_id, today)
    if present is not None:
        raise PromiseInForce(
            f"The promise {present.promise_id} holds until {present.until}; withdraw it before taking another.",
            promise_id=present.promise_id,
        )
    promise = PaymentPromise(
        tenant_id=tenant_id,
        promise_id=new_id("prm"),
        until=until,
        reason=reason.strip(),
        promised_by=audit.actor.get(),
        created_at=clock.now(),
        withdrawn_at=None,
        withdrawal_reason=None,
    )
    session.add(promise)
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "payment_promise.taken",
        promise.promise_id,
        until=until.isoformat(),
        reason=promise.reason,
    )
    await dunning.clear_if_settled(session, tenant_id, today)
    return promise


async def withdraw(session: AsyncSession, *, tenant_id: str, promise_id: str, reason: str) -> PaymentPromise:
    """End a promise before its day; the normal rule acts again at the next look of dunning, which is woken here.

    Raises `PromiseNotFound`, `PromiseNotInForce`, `InvalidInput` for an empty reason.
    """
    reason = reasons.given(reason, limit_characters=TEXT_LIMIT_CHARACTERS)
    await tenants.get(session, tenant_id, for_update=True)
    query = select(PaymentPromise).where(PaymentPromise.tenant_id == tenant_id, PaymentPromise.promise_id == promise_id)
    promise = (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if promise is None:
        raise PromiseNotFound(f"The tenant has given no promise {promise_id}.", field="promise_id")
    state = state_of(promise, clock.today())
    if state != "in_force":
        raise PromiseNotInForce(f"The promise {promise_id} is {state.replace('_', ' ')}.", field="promise_id")
    promise.withdrawn_at = clock.now()
    promise.withdrawal_reason = reason
    await session.flush()
    await audit.record(session, tenant_id, "payment_promise.withdrawn", promise_id, reason=promise.withdrawal_reason)
    await jobs.defer(session, ADVANCE_DUNNING_OF_TENANT, lock=f"tenant:{tenant_id}", tenant_id=tenant_id)
    return promise


async def in_force(session: AsyncSession, tenant_id: str, day: date) -> PaymentPromise | None:
    """The promise that holds on this day, if there is one; the tenant's lock keeps it single."""
    query = select(PaymentPromise).where(
        PaymentPromise.tenant_id == tenant_id, PaymentPromise.withdrawn_at.is_(None), PaymentPromise.until >= day
    )
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()


def state_of(promise: PaymentPromise, today: date) -> str:
    """`in_force`, `over` or `withdrawn`."""
    if promise.withdrawn_at is not None:
        return "withdrawn"
    return "in_force" if promise.until >= today else "over"
