"""HTTP for the policy that counts for every tenant's calls."""

from __future__ import annotations

from typing import Any

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType, structs
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import Body, View
from switch import call_policies
from switch.call_policy import CallPolicy

TAGS = ["Call policy"]


class PlatformPolicyChange(Body):
    """What is to change: a field left out stays as it is, null takes what the house begins with.

    `countries`: ISO 3166 codes, `001` for satellite numbers. Prefixes: `+86168` for public numbers, `96` for short
    codes; barred ones are closed to everybody, premium ones to whom they are not allowed.
    """

    calls_per_tenant: int | UnsetType | None = UNSET
    calls_per_seat: int | UnsetType | None = UNSET
    calls_per_second: int | UnsetType | None = UNSET
    countries: list[str] | UnsetType | None = UNSET
    barred_prefixes: list[str] | UnsetType | None = UNSET
    premium_prefixes: list[str] | UnsetType | None = UNSET
    premium_allowed: bool | UnsetType | None = UNSET
    short_codes_allowed: bool | UnsetType | None = UNSET

    def changes(self) -> dict[str, Any]:
        """What was said, by the names of the settings."""
        return {name: value for name, value in structs.asdict(self).items() if value is not UNSET}


class PlatformPolicyView(View):
    """What counts for a tenant's calls where its own policy says nothing; what is barred is barred for everybody."""

    calls_per_tenant: int | None
    calls_per_seat: int
    calls_per_second: int
    countries: list[str]
    barred_prefixes: list[str]
    premium_prefixes: list[str]
    premium_allowed: bool
    short_codes_allowed: bool


@get("/v1/call-policy", permission="platform_call_policy:read", tags=TAGS, operation_id="GetPlatformCallPolicy")
async def get_policy(session: NamedDependency[AsyncSession]) -> PlatformPolicyView:
    """The platform's policy of calls."""
    return _view(await call_policies.of_platform(session))


@put("/v1/call-policy", permission="platform_call_policy:write", tags=TAGS, operation_id="ChangePlatformCallPolicy")
async def change_policy(
    data: JSONBody[PlatformPolicyChange], session: NamedDependency[AsyncSession]
) -> PlatformPolicyView:
    """Change the platform's policy; it holds for every call from the answer on."""
    return _view(await call_policies.change_platform(session, data.changes()))


def _view(policy: CallPolicy) -> PlatformPolicyView:
    return PlatformPolicyView(
        calls_per_tenant=policy.calls_per_tenant,
        calls_per_seat=policy.calls_per_seat,
        calls_per_second=policy.calls_per_second,
        countries=sorted(policy.countries),
        barred_prefixes=sorted(policy.barred_prefixes),
        premium_prefixes=sorted(policy.premium_prefixes),
        premium_allowed=policy.premium_allowed,
        short_codes_allowed=policy.short_codes_allowed,
    )


ROUTES = [get_policy, change_policy]
