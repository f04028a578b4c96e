"""The policies of calls as they are kept: the platform's, each tenant's, and who may change what.

The switch reads them at every call, so a change holds from its commit on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.database import PLATFORM
from infra.kit.problems import InvalidInput
from switch import call_policy, phone_numbers
from switch.call_policy import HOUSE_POLICY, CallPolicy
from switch.errors import PolicyWidened
from switch.models import PlatformCallPolicy, TenantCallPolicy
from switch.numbers import is_region

PLATFORM_NAME = "platform"
MOST_CALLS = 100_000
LIST_LIMIT_ITEMS = 500
FORWARDING_LIMIT_ITEMS = 50

_LIMITS = ("calls_per_tenant", "calls_per_seat", "calls_per_second")
_SWITCHES = ("premium_allowed", "short_codes_allowed")
_PLATFORM_COLUMNS = (*_LIMITS, *_SWITCHES, "countries", "barred_prefixes", "premium_prefixes")
_TENANT_COLUMNS = (*_LIMITS, *_SWITCHES, "countries", "barred_prefixes", "forwarding", "cap_reached_on")


async def of_platform(session: AsyncSession) -> CallPolicy:
    """The platform's policy as it is now."""
    row = await session.get(PlatformCallPolicy, PLATFORM_NAME, populate_existing=True)
    return call_policy.read_policy(None if row is None else _plain(row, _PLATFORM_COLUMNS))


async def own_settings(session: AsyncSession, tenant_id: str) -> TenantCallPolicy | None:
    """What a tenant's policy says for itself; None while it has said nothing."""
    query = select(TenantCallPolicy).where(TenantCallPolicy.tenant_id == tenant_id)
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()


async def of_tenant(session: AsyncSession, tenant_id: str) -> CallPolicy:
    """The policy that counts for a tenant now."""
    row = await own_settings(session, tenant_id)
    return call_policy.of_tenant(await of_platform(session), None if row is None else _plain(row, _TENANT_COLUMNS))


async def change_platform(session: AsyncSession, changes: Mapping[str, Any]) -> CallPolicy:
    """Change the settings that are named; null brings one back to what the house begins with.

    Raises `InvalidInput` naming the field.
    """
    wanted = {name: _CHECKS[name](name, value) for name, value in changes.items() if value is not None}
    defaults = _plain(HOUSE_POLICY, _PLATFORM_COLUMNS)
    reset = {name: _storable(defaults[name]) for name, value in changes.items() if value is None}
    initial = {name: _storable(value) for name, value in defaults.items()}
    await session.execute(
        insert(PlatformCallPolicy)
        .values(name=PLATFORM_NAME, changed_at=clock.now(), **initial)
        .on_conflict_do_nothing()
    )
    row = await session.get_one(PlatformCallPolicy, PLATFORM_NAME, with_for_update=True, populate_existing=True)
    for name, value in (wanted | reset).items():
        setattr(row, name, value)
    row.changed_at = clock.now()
    await session.flush()
    await audit.record(session, PLATFORM, "call_policy.changed", PLATFORM_NAME, **(wanted | reset))
    return await of_platform(session)


async def change_tenant(
    session: AsyncSession, tenant_id: str, changes: Mapping[str, Any], *, may_widen: bool
) -> CallPolicy:
    """Change the settings that are named of a tenant; null takes the platform's again. Returns what counts now.

    Without `may_widen` nothing may be allowed that was not before. Raises `InvalidInput` and `PolicyWidened`, both
    naming the field. The tenant is locked by the caller.
    """
    wanted = {
        name: _CHECKS[name](name, value) if value is not None else _NOTHING_OF_ITS_OWN.get(name)
        for name, value in changes.items()
    }
    before = await of_tenant(session, tenant_id)
    row = await _row_for_update(session, tenant_id)
    for name, value in wanted.items():
        setattr(row, name, value)
    row.changed_at = clock.now()
    await session.flush()
    after = await of_tenant(session, tenant_id)
    wider = None if may_widen else call_policy.widened(before, after)
    if wider is not None:
        raise PolicyWidened(
            f"`{wider}` would allow more than now; a tenant may tighten its policy, the operator alone may widen it.",
            field=wider,
        )
    if wanted:
        await audit.record(session, tenant_id, "call_policy.changed", tenant_id, **wanted)
    return after


async def note_cap(session: AsyncSession, tenant_id: str, reached_on: date | None) -> bool:
    """Bar a tenant's calls out for a local day because its spend cap is used up, or (None) lift that.

    Returns whether anything changed. It ends by itself with the day; emergency numbers are not touched by it.
    """
    row = await _row_for_update(session, tenant_id)
    if row.cap_reached_on == reached_on:
        return False
    row.cap_reached_on = reached_on
    row.changed_at = clock.now()
    action = "calls.barred" if reached_on is not None else "calls.unbarred"
    day = reached_on.isoformat() if reached_on is not None else None
    await audit.record(session, tenant_id, action, tenant_id, reason="daily_cap", day=day)
    return True


async def _row_for_update(session: AsyncSession, tenant_id: str) -> TenantCallPolicy:
    await session.execute(
        insert(TenantCallPolicy)
        .values(tenant_id=tenant_id, barred_prefixes=[], forwarding=[], changed_at=clock.now())
        .on_conflict_do_nothing()
    )
    query = select(TenantCallPolicy).where(TenantCallPolicy.tenant_id == tenant_id).with_for_update()
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one()


def _plain(source: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _storable(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset | tuple) else value


def _as_limit(name: str, value: int) -> int:
    if not 1 <= value <= MOST_CALLS:
        raise InvalidInput(f"`{name}` is a number of calls from 1 to {MOST_CALLS:,}.", field=name)
    return value


def _as_switch(_name: str, value: bool) -> bool:
    return value


def _bounded(name: str, values: list[str], limit: int) -> list[str]:
    if len(values) > limit:
        raise InvalidInput(f"`{name}` has at most {limit} items.", field=name)
    return values


def _as_countries(name: str, values: list[str]) -> list[str]:
    for code in _bounded(name, values, LIST_LIMIT_ITEMS):
        if not is_region(code):
            raise InvalidInput(
                f"{code[:40]!r} is no country; write ISO 3166 codes such as CN or HK, or 001 for satellite numbers.",
                field=name,
            )
    return sorted(set(values))


def _as_prefixes(name: str, values: list[str]) -> list[str]:
    for prefix in _bounded(name, values, LIST_LIMIT_ITEMS):
        if not call_policy.is_prefix(prefix):
            raise InvalidInput(
                f"{prefix[:40]!r} is no prefix; write public numbers with + and country code (+86168), short codes as "
                "they are dialled (96).",
                field=name,
            )
    return sorted(set(values))


def _as_forwarding(name: str, values: list[str]) -> list[str]:
    return sorted(
        {phone_numbers.as_number(value, field=name) for value in _bounded(name, values, FORWARDING_LIMIT_ITEMS)}
    )


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(_LIMITS, _as_limit),
    **dict.fromkeys(_SWITCHES, _as_switch),
    "countries": _as_countries,
    "barred_prefixes": _as_prefixes,
    "premium_prefixes": _as_prefixes,
    "forwarding": _as_forwarding,
}
_NOTHING_OF_ITS_OWN: dict[str, list[str]] = {"barred_prefixes": [], "forwarding": []}
"""Columns that hold an empty list, not null, where a tenant has nothing of its own."""
