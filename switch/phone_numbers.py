"""Public phone numbers: which tenant has them, and where calls to them ring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.problems import InvalidInput
from infra.kit.settings import DEFAULT_NUMBER_QUARANTINE_DAYS
from switch.errors import NumberTaken, NumberUnknown
from switch.models import PhoneNumber
from switch.number_pool import stock
from switch.numbers import E164, is_extension, normalise
from tenancy import tenants


def as_number(text: str, *, field: str = "number") -> str:
    """The E.164 digits (no plus sign) of a number in any usual spelling; raises `InvalidInput` naming `field`."""
    destination = normalise(text)
    if isinstance(destination, E164):
        return destination.digits
    raise InvalidInput(
        f"{text[:40]!r} is not a public phone number; write it with country code, such as +862150001234.",
        field=field,
    )


async def assign(
    session: AsyncSession, tenant_id: str, number: str, *, extension: str | None, is_caller_number: bool
) -> PhoneNumber:
    """Give a number to a tenant: calls to it ring at `extension`; as caller number it is shown on calls out.

    A tenant shows one caller number: a new one takes the place of the earlier. A number that the pool does not have is
    taken into it. Raises `InvalidInput`, `NotFound` and `TenantClosed` for the tenant, `NumberTaken`,
    `NumberInQuarantine`.
    """
    digits = as_number(number)
    _check_extension(extension)
    # Held, so that two numbers given at once are not both the one that is shown.
    await tenants.get_staying(session, tenant_id, for_update=True)
    await stock.assigned(session, digits, tenant_id)
    if is_caller_number:
        await session.execute(
            update(PhoneNumber).where(PhoneNumber.tenant_id == tenant_id).values(is_caller_number=False)
        )
    assigned = await session.execute(
        insert(PhoneNumber)
        .values(
            number=digits,
            tenant_id=tenant_id,
            extension=extension,
            is_caller_number=is_caller_number,
            created_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(PhoneNumber)
    )
    row = assigned.scalar_one_or_none()
    if row is None:
        raise NumberTaken(f"+{digits} belongs to a tenant already; release it there first.", field="number")
    await audit.record(
        session, tenant_id, "phone_number.assigned", digits, extension=extension, is_caller_number=is_caller_number
    )
    return row


@dataclass(frozen=True, slots=True)
class Use:
    """What a tenant does with a number: calls to it ring at `extension` (None: nowhere), calls out show it."""

    extension: str | None
    is_caller_number: bool


def use_of(row: PhoneNumber) -> Use:
    """What a number's tenant does with it now."""
    return Use(row.extension, row.is_caller_number)


async def find_locked(session: AsyncSession, number: str) -> PhoneNumber:
    """A number that a tenant has, held with its tenant until the end of the transaction.

    Whoever changes one thing about it reads the rest here: what another request has changed meanwhile stays changed.
    The tenant's row is taken first, as by `assign`: it has one caller number. Raises `InvalidInput`, `NumberUnknown`,
    `TenantClosed`.
    """
    digits = as_number(number)
    found = await session.get(PhoneNumber, digits)
    if found is None:
        raise _unknown(digits)
    owner = found.tenant_id
    await tenants.get_staying(session, owner, for_update=True)
    query = select(PhoneNumber).where(PhoneNumber.number == digits, PhoneNumber.tenant_id == owner)
    row = (
        await session.execute(query.with_for_update().execution_options(populate_existing=True))
    ).scalar_one_or_none()
    if row is None:
        raise _unknown(digits)  # it was released meanwhile
    return row


async def change(session: AsyncSession, row: PhoneNumber, use: Use) -> PhoneNumber:
    """Let a number (of `find_locked`) ring at another extension, or begin or cease to be the one that calls out show.

    It stays the tenant's all the while. As with `assign`, a new caller number takes the place of the earlier one.
    Raises `InvalidInput`.
    """
    _check_extension(use.extension)
    before = use_of(row)
    if before == use:
        return row
    if use.is_caller_number and not before.is_caller_number:
        others = update(PhoneNumber).where(PhoneNumber.tenant_id == row.tenant_id, PhoneNumber.number != row.number)
        await session.execute(others.values(is_caller_number=False))
    row.extension, row.is_caller_number = use.extension, use.is_caller_number
    await stock.changed(session, row.number, row.tenant_id)
    await audit.record(
        session,
        row.tenant_id,
        "phone_number.changed",
        row.number,
        extension=use.extension,
        is_caller_number=use.is_caller_number,
        extension_before=before.extension,
        is_caller_number_before=before.is_caller_number,
    )
    return row


def _unknown(digits: str) -> NumberUnknown:
    return NumberUnknown(f"+{digits} belongs to no tenant.", field="number")


def _check_extension(extension: str | None) -> None:
    if extension is not None and not is_extension(extension):
        raise InvalidInput("An extension has 3 to 6 digits and does not begin with 0.", field="extension")


async def release(
    session: AsyncSession, number: str, *, quarantine_days: int = DEFAULT_NUMBER_QUARANTINE_DAYS
) -> PhoneNumber:
    """Take a number from its tenant; from this commit on calls to it ring nowhere.

    For `quarantine_days` no other tenant is given it, since people still call it for this one. Raises `NumberUnknown`.
    """
    digits = as_number(number)
    released = await session.execute(delete(PhoneNumber).where(PhoneNumber.number == digits).returning(PhoneNumber))
    row = released.scalar_one_or_none()
    if row is None:
        raise _unknown(digits)
    await stock.released(session, digits, row.tenant_id, quarantine_days=quarantine_days)
    await audit.record(session, row.tenant_id, "phone_number.released", digits)
    return row


async def release_all(
    session: AsyncSession, tenant_id: str, *, quarantine_days: int, given_before: datetime | None = None
) -> int:
    """Take every number (of those given before a moment) from a tenant that has ended, as by `release`; returns how
    many."""
    held = select(PhoneNumber.number).where(PhoneNumber.tenant_id == tenant_id).order_by(PhoneNumber.number)
    if given_before is not None:
        held = held.where(PhoneNumber.created_at < given_before)
    numbers = list((await session.execute(held)).scalars())
    for number in numbers:
        await release(session, f"+{number}", quarantine_days=quarantine_days)
    return len(numbers)
