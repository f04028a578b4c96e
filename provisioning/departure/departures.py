"""Departures: announced, cancelled, and from their day on carried out by a job (C26)."""

from __future__ import annotations

import contextlib
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, reasons
from infra.kit.ids import new_id
from infra.kit.settings import Settings
from provisioning.departure import exports, mails, readiness
from provisioning.departure.errors import (
    DepartureNotFound,
    DepartureNotOpen,
    DepartureRefused,
    ErasureDayRefused,
    ExportUnderWay,
)
from provisioning.departure.models import Departure
from provisioning.rules import departure as rules
from tenancy import tenants

BEGUN = ("announced", "erasing", "erased")


async def announce(
    session: AsyncSession, settings: Settings, *, tenant_id: str, reason: str, erase_on: date | None
) -> Departure:
    """Announce the end of a tenant: from `erase_on` (None: the earliest day) on its personal data is erased.

    An export is made with it, for the tenant to take along. Raises `DepartureRefused` with what is in the way
    (contracts, seats, money), or when one is announced already, and `ErasureDayRefused` for a day that is too near or
    too far.
    """
    reason = reasons.given(reason)
    await tenants.get(session, tenant_id, for_update=True)
    open_one = select(Departure).where(Departure.tenant_id == tenant_id, Departure.state.in_(BEGUN))
    known = (await session.execute(open_one)).scalar_one_or_none()
    if known is not None:
        raise DepartureRefused(f"The departure {known.departure_id} is {known.state} already.", field="tenant_id")
    account = await readiness.account_of(session, tenant_id)
    check_may_leave(account)
    departure = Departure(
        tenant_id=tenant_id,
        departure_id=new_id("dep"),
        state="announced",
        reason=reason,
        begun_by=audit.actor.get(),
        begun_at=clock.now(),
        erase_on=_checked_day(erase_on, earliest_day(account, settings)),
        cancelled_by=None,
        cancelled_at=None,
        cancellation_reason=None,
        held_because=None,
        counts={},
        erased_at=None,
    )
    session.add(departure)
    await session.flush()
    facts = {"erase_on": departure.erase_on.isoformat(), "reason": reason}
    await audit.record(session, tenant_id, "departure.announced", departure.departure_id, **facts)
    await mails.post(session, departure, mails.ANNOUNCED)
    with contextlib.suppress(ExportUnderWay):  # then the tenant has one already
        await exports.request(session, tenant_id)
    return departure


def check_may_leave(account: rules.Account) -> None:
    """Raise `DepartureRefused` with everything that is in the way."""
    found = rules.obstacles(account)
    if found:
        raise DepartureRefused(f"The tenant cannot leave yet: {'; '.join(found)}.", obstacles=found)


async def cancel(session: AsyncSession, departure_id: str, *, reason: str) -> Departure:
    """Call a departure off before anything is erased. Raises `DepartureNotOpen` when that has begun."""
    reason = reasons.given(reason)
    departure = await find(session, departure_id, None, for_update=True)
    if departure.state != "announced":
        raise DepartureNotOpen(f"The departure {departure_id} is {departure.state}.", field="departure_id")
    departure.state, departure.cancellation_reason = "cancelled", reason
    departure.cancelled_by, departure.cancelled_at = audit.actor.get(), clock.now()
    await session.flush()
    await audit.record(session, departure.tenant_id, "departure.cancelled", departure_id, reason=reason)
    await mails.post(session, departure, mails.CANCELLED)
    return departure


async def find(
    session: AsyncSession, departure_id: str, tenant_id: str | None, *, for_update: bool = False
) -> Departure:
    """A departure, narrowed to a tenant where the caller belongs to one. Raises `DepartureNotFound`."""
    query = select(Departure).where(Departure.departure_id == departure_id)
    if tenant_id is not None:
        query = query.where(Departure.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    departure = (await session.execute(query)).scalar_one_or_none()
    if departure is None:
        raise DepartureNotFound(f"There is no departure {departure_id}.", field="departure_id")
    return departure


def earliest_day(account: rules.Account, settings: Settings) -> date:
    """The first day on which the erasure may begin when it is announced today."""
    return rules.earliest_day(
        account.last_end,
        clock.today(),
        retention_days=settings.retention_days,
        notice_days=settings.departure_notice_days,
    )


def _checked_day(wanted: date | None, earliest: date) -> date:
    if wanted is None:
        return earliest
    furthest = clock.today() + rules.FURTHEST
    if not earliest <= wanted <= furthest:
        raise ErasureDayRefused(
            f"{wanted} is not a day from {earliest} (retention and notice) to {furthest}.", field="erase_on"
        )
    return wanted
