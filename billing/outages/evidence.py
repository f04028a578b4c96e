"""Whether a report of a fault can be true: its times, the seats it names, and whether it is known already."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Contract, Holding
from billing.outages.errors import FaultRefused
from billing.outages.history import lasted_until, touching
from billing.outages.models import Fault
from billing.rules.book import Span, days_span
from billing.rules.faults import overlap
from billing.rules.months import ONE_DAY, day_begins, local_day
from infra.kit import clock

TEXT_LIMIT_CHARACTERS = 500
NUMBERS_LIMIT = 5_000


def checked_text(text: str, field: str) -> str:
    """A note or a reason. Raises `FaultRefused` for one without words or one that is too long."""
    if not text.strip() or len(text) > TEXT_LIMIT_CHARACTERS:
        expected = f"1 to {TEXT_LIMIT_CHARACTERS} characters that say what was seen"
        raise FaultRefused(field, f"it has {len(text.strip())} characters", expected)
    return text.strip()


def checked_numbers(numbers: Sequence[int] | None) -> list[int] | None:
    """The numbers in rising order; None stays "all". Raises `FaultRefused` for none, too many or one twice."""
    if numbers is None:
        return None
    if not 0 < len(numbers) <= NUMBERS_LIMIT:
        raise FaultRefused("numbers", f"{len(numbers)} numbers", f"1 to {NUMBERS_LIMIT}, or none at all for every one")
    if len(set(numbers)) != len(numbers):
        raise FaultRefused("numbers", "a number stands there twice", "each number once")
    return sorted(numbers)


def check_times(contract: Contract, began_at: datetime, ended_at: datetime | None) -> tuple[datetime, datetime | None]:
    """The times in UTC. Raises `FaultRefused` for one to come, before the opening, or an end before the beginning."""
    now, opening = clock.now(), day_begins(contract.opens_on)
    if not opening <= began_at <= now:
        expected = f"a moment from the opening, {contract.opens_on}, up to now"
        raise FaultRefused("began_at", f"{began_at.isoformat()} is not acceptable", expected)
    if ended_at is None:
        return began_at.astimezone(UTC), None
    if not began_at < ended_at <= now:
        raise FaultRefused("ended_at", f"{ended_at.isoformat()} is not acceptable", "a moment after began_at up to now")
    return began_at.astimezone(UTC), ended_at.astimezone(UTC)


async def check_held(session: AsyncSession, fault: Fault) -> list[int]:
    """The numbers of the fault that were open during it, in rising order.

    Raises `FaultRefused` for a number that was not open then, and where nothing was.
    """
    span = Span(fault.began_at, lasted_until(fault))
    if span.ends == span.begins:  # it begins this very moment: whatever is open today is meant
        span = days_span(local_day(span.begins), local_day(span.begins) + ONE_DAY)
    query = select(Holding.number, Holding.opened_on, Holding.closes_on).where(
        Holding.tenant_id == fault.tenant_id,
        Holding.contract_id == fault.contract_id,
        Holding.item == fault.item,
        Holding.opened_on.is_not(None),
    )
    held: set[int] = set()
    for number, opened_on, closes_on in await session.execute(query):
        after_last = local_day(span.ends) + ONE_DAY if closes_on is None else closes_on + ONE_DAY
        if opened_on is not None and opened_on < after_last and overlap(span, days_span(opened_on, after_last)):
            held.add(number)
    if not held:
        raise FaultRefused("item", f"no {fault.item} was open then", "something that was open during the fault")
    for number in fault.numbers or ():
        if number not in held:
            raise FaultRefused("numbers", f"{fault.item} {number} was not open then", "numbers of what was open")
    return sorted(held if fault.numbers is None else fault.numbers)


async def known_fault(session: AsyncSession, fault: Fault, cause: str | None) -> str | None:
    """The id of a fault that says the same: one of its seats, some of its time, and the same cause or one undecided."""
    query = (
        select(Fault)
        .where(
            Fault.tenant_id == fault.tenant_id,
            Fault.contract_id == fault.contract_id,
            Fault.item == fault.item,
            Fault.state != "withdrawn",
            touching(Span(fault.began_at, fault.ended_at or clock.now() + ONE_DAY)),
        )
        .order_by(Fault.began_at, Fault.fault_id)
    )
    for known in (await session.execute(query)).scalars():
        shares_seats = fault.numbers is None or known.numbers is None or set(fault.numbers) & set(known.numbers)
        if shares_seats and (cause is None or known.cause is None or cause == known.cause):
            return known.fault_id
    return None
