"""Request and response bodies of a tenant's call policy with its spend cap, and of spend alerts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import UNSET, UnsetType, structs

from billing.spending.caps import Spending
from billing.spending.models import SpendAlert
from infra.kit import money
from infra.kit.http import Body, View
from switch.call_policy import CallPolicy
from switch.models import TenantCallPolicy

CAP = "daily_cap"


class CallPolicyChange(Body):
    """What is to change: a field left out stays as it is, null takes what the platform says (of the cap: none).

    `calls_per_tenant` and `calls_per_seat` count calls at once, `calls_per_second` new ones. `countries`: ISO 3166
    codes, `001` for satellite numbers. `barred_prefixes`: `+86168` for public numbers, `96` for short codes.
    `forwarding`: public numbers that calls from outside may be sent on to. `daily_cap`: CNY a local day.
    """

    calls_per_tenant: int | UnsetType | None = UNSET
    calls_per_seat: int | UnsetType | None = UNSET
    calls_per_second: int | UnsetType | None = UNSET
    countries: list[str] | UnsetType | None = UNSET
    barred_prefixes: list[str] | UnsetType | None = UNSET
    premium_allowed: bool | UnsetType | None = UNSET
    short_codes_allowed: bool | UnsetType | None = UNSET
    forwarding: list[str] | UnsetType | None = UNSET
    daily_cap: str | UnsetType | None = UNSET

    def changes(self) -> dict[str, Any]:
        """What was said about calls, by the names of the policy's settings."""
        given = structs.asdict(self)
        return {name: value for name, value in given.items() if value is not UNSET and name != CAP}


class OwnSettings(View):
    """What a tenant's policy says for itself; null where the platform's counts."""

    calls_per_tenant: int | None
    calls_per_seat: int | None
    calls_per_second: int | None
    countries: list[str] | None
    barred_prefixes: list[str]
    premium_allowed: bool | None
    short_codes_allowed: bool | None


class SpendingView(View):
    """What the calls answered on a local day were charged so far, and whether the tenant was warned or its calls out
    are barred for the rest of that day.
    """

    day: date
    charged: str
    currency: str
    is_warned: bool
    is_barred: bool


class CallPolicyView(View):
    """What counts for a tenant's calls now, and its spend cap (null: none)."""

    tenant_id: str
    calls_per_tenant: int | None
    calls_per_seat: int
    calls_per_second: int
    countries: list[str]
    barred_prefixes: list[str]
    premium_prefixes: list[str]
    premium_allowed: bool
    short_codes_allowed: bool
    forwarding: list[str]
    daily_cap: str | None
    currency: str
    today: SpendingView
    own: OwnSettings


class SpendAlertView(View):
    """A tenant came near its cap (`warning`, at 80 %) or reached it (`cap_reached`): one of each a day, of the highest
    cap that it came to. `running`: what the calls that were running would have cost by then, and what those cost that
    were still to be charged.
    """

    alert_id: str
    tenant_id: str
    day: date
    kind: str
    daily_cap: str
    charged: str
    running: str
    currency: str
    raised_at: datetime


def call_policy_view(
    tenant_id: str, policy: CallPolicy, own: TenantCallPolicy | None, spending: Spending
) -> CallPolicyView:
    """A tenant's policy as the API shows it."""
    return CallPolicyView(
        tenant_id=tenant_id,
        calls_per_tenant=policy.calls_per_tenant,
        calls_per_seat=policy.calls_per_seat,
        calls_per_second=policy.calls_per_second,
        countries=sorted(policy.countries),
        barred_prefixes=sorted(set(policy.barred_prefixes)),
        premium_prefixes=sorted(policy.premium_prefixes),
        premium_allowed=policy.premium_allowed,
        short_codes_allowed=policy.short_codes_allowed,
        forwarding=[f"+{digits}" for digits in sorted(policy.forwarding)],
        daily_cap=None if spending.daily_cap is None else money.amount_text(spending.daily_cap),
        currency=money.CURRENCY,
        today=SpendingView(
            day=spending.day,
            charged=money.amount_text(spending.charged),
            currency=money.CURRENCY,
            is_warned=spending.has("warning"),
            is_barred=policy.cap_reached_on == spending.day,
        ),
        own=OwnSettings(
            calls_per_tenant=own.calls_per_tenant if own is not None else None,
            calls_per_seat=own.calls_per_seat if own is not None else None,
            calls_per_second=own.calls_per_second if own is not None else None,
            countries=own.countries if own is not None else None,
            barred_prefixes=own.barred_prefixes if own is not None else [],
            premium_allowed=own.premium_allowed if own is not None else None,
            short_codes_allowed=own.short_codes_allowed if own is not None else None,
        ),
    )


def spend_alert_view(alert: SpendAlert) -> SpendAlertView:
    """An alert as the API shows it."""
    return SpendAlertView(
        alert_id=alert.alert_id,
        tenant_id=alert.tenant_id,
        day=alert.day,
        kind=alert.kind,
        daily_cap=money.amount_text(alert.daily_cap),
        charged=money.amount_text(alert.charged),
        running=money.amount_text(alert.running),
        currency=money.CURRENCY,
        raised_at=alert.raised_at,
    )
