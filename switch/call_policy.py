"""What a tenant's calls may do: how many, how fast, where to. Pure values; `switch.admission` decides by them.

The platform has a policy that counts for everybody; a tenant's own settings stand in its place or, for what is barred,
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from switch.numbers import HOME_REGION

DEFAULT_CALLS_PER_TENANT = 500
DEFAULT_CALLS_PER_SEAT = 3
"""One that is held, one that is spoken with, one that comes in."""

DEFAULT_CALLS_PER_SECOND = 20
DEFAULT_PREMIUM_PREFIXES = ("+86160", "+86168", "160", "168")
"""China's information lines, besides every number that its country's numbering plan calls premium-rate."""

_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}|[1-9][0-9]{0,7}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """The rules of one tenant's calls, or with its own numbers left alone those of the platform.

    `calls_per_tenant` and `calls_per_seat`: at once; None: as many as the seats may. `calls_per_second`: new ones.
    `countries`: ISO 3166 codes, `001` for numbers of no country. Prefixes begin with `+` for public numbers
    (`+86168`) and with a digit for short codes (`96`). `forwarding`: E.164 digits that calls from outside may be sent
    on to. `cap_reached_on`: the local day for which the spend cap is used up.
    """

    calls_per_tenant: int | None = DEFAULT_CALLS_PER_TENANT
    calls_per_seat: int = DEFAULT_CALLS_PER_SEAT
    calls_per_second: int = DEFAULT_CALLS_PER_SECOND
    countries: frozenset[str] = frozenset({HOME_REGION})
    barred_prefixes: tuple[str, ...] = ()
    premium_prefixes: tuple[str, ...] = DEFAULT_PREMIUM_PREFIXES
    premium_allowed: bool = False
    short_codes_allowed: bool = True
    forwarding: frozenset[str] = frozenset()
    cap_reached_on: date | None = None


HOUSE_POLICY = CallPolicy()
"""The platform's policy as long as the operator has not written its own."""


def is_prefix(text: str) -> bool:
    """Whether a text is a prefix of public numbers (`+86168`) or of short codes (`96`)."""
    return _PREFIX.fullmatch(text) is not None


def matches(number: str, prefixes: Iterable[str]) -> bool:
    """Whether a number (`+` and E.164 digits, or a short code) begins with one of the prefixes."""
    return number.startswith(tuple(prefixes))


def read_policy(stored: Mapping[str, Any] | None) -> CallPolicy:
    """The platform's policy from its row; the house's own where there is none."""
    if stored is None:
        return HOUSE_POLICY
    return CallPolicy(
        calls_per_tenant=stored["calls_per_tenant"],
        calls_per_seat=stored["calls_per_seat"],
        calls_per_second=stored["calls_per_second"],
        countries=frozenset(stored["countries"]),
        barred_prefixes=tuple(stored["barred_prefixes"]),
        premium_prefixes=tuple(stored["premium_prefixes"]),
        premium_allowed=stored["premium_allowed"],
        short_codes_allowed=stored["short_codes_allowed"],
    )


def of_tenant(platform: CallPolicy, stored: Mapping[str, Any] | None) -> CallPolicy:
    """A tenant's policy: its own settings in place of the platform's, what either bars is barred."""
    if stored is None:
        return platform
    cap_reached_on = stored["cap_reached_on"]
    return replace(
        platform,
        calls_per_tenant=_own(stored["calls_per_tenant"], platform.calls_per_tenant),
        calls_per_seat=_own(stored["calls_per_seat"], platform.calls_per_seat),
        calls_per_second=_own(stored["calls_per_second"], platform.calls_per_second),
        countries=platform.countries if stored["countries"] is None else frozenset(stored["countries"]),
        barred_prefixes=(*platform.barred_prefixes, *stored["barred_prefixes"]),
        premium_allowed=_own(stored["premium_allowed"], platform.premium_allowed),
        short_codes_allowed=_own(stored["short_codes_allowed"], platform.short_codes_allowed),
        forwarding=frozenset(stored["forwarding"]),
        # A row that the database made a document of has its day as text.
        cap_reached_on=date.fromisoformat(cap_reached_on) if isinstance(cap_reached_on, str) else cap_reached_on,
    )


def _own(own: Any, platform: Any) -> Any:
    return platform if own is None else own


def widened(before: CallPolicy, after: CallPolicy) -> str | None:
    """The first setting by which a policy allows more than before; None when it allows the same or less."""
    wider = {
        "calls_per_tenant": before.calls_per_tenant is not None
        and (after.calls_per_tenant is None or after.calls_per_tenant > before.calls_per_tenant),
        "calls_per_seat": after.calls_per_seat > before.calls_per_seat,
        "calls_per_second": after.calls_per_second > before.calls_per_second,
        "countries": not after.countries <= before.countries,
        "barred_prefixes": not all(matches(each, after.barred_prefixes) for each in before.barred_prefixes),
        "premium_allowed": after.premium_allowed and not before.premium_allowed,
        "short_codes_allowed": after.short_codes_allowed and not before.short_codes_allowed,
        "forwarding": not after.forwarding <= before.forwarding,
    }
    return next((name for name, is_wider in wider.items() if is_wider), None)
