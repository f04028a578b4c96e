"""HTTP for a tenant's call policy with its spend cap, and for spend alerts."""

from __future__ import annotations

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.spending import caps
from billing.spending.models import SpendAlert
from billing.spending.schemas import (
    CallPolicyChange,
    CallPolicyView,
    SpendAlertView,
    call_policy_view,
    spend_alert_view,
)
from infra.kit import jobs
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from switch import call_policies
from tenancy import tenants

TAGS = ["Call policy"]


@get(
    "/v1/tenants/{tenant_id:str}/call-policy",
    permission="call_policy:read",
    tags=TAGS,
    operation_id="GetTenantCallPolicy",
)
async def get_call_policy(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> CallPolicyView:
    """What a tenant's calls may do, its spend cap, and what today has cost."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    return await _shown(session, tenant.tenant_id)


@put(
    "/v1/tenants/{tenant_id:str}/call-policy",
    permission="call_policy:write",
    tags=TAGS,
    operation_id="ChangeTenantCallPolicy",
)
async def change_call_policy(
    tenant_id: FromPath[str],
    data: JSONBody[CallPolicyChange],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> CallPolicyView:
    """Change what a tenant's calls may do; it holds from the answer on. A tenant may only tighten its own; the operator
    widens it too, its people on a visit."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    may_widen = principal.is_of_the_platform
    cap = await caps.hold(session, tenant.tenant_id)
    if data.daily_cap is not UNSET:
        await caps.change(session, cap, data.daily_cap, may_widen=may_widen)
        await jobs.defer(session, caps.WATCH_SPENDING, tenant_id=tenant.tenant_id)
    await call_policies.change_tenant(session, tenant.tenant_id, data.changes(), may_widen=may_widen)
    return await _shown(session, tenant.tenant_id)


@get("/v1/spend-alerts", permission="call_policy:read", tags=TAGS, operation_id="ListSpendAlerts")
async def list_spend_alerts(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[SpendAlertView]:
    """When tenants came near their spend caps or reached them, newest first."""
    query = principal.narrowed(select(SpendAlert), SpendAlert.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(SpendAlert.alert_id,), limit=limit, after=after)
    return Page(items=[spend_alert_view(row) for row in rows], next=following)


async def _shown(session: AsyncSession, tenant_id: str) -> CallPolicyView:
    return call_policy_view(
        tenant_id,
        await call_policies.of_tenant(session, tenant_id),
        await call_policies.own_settings(session, tenant_id),
        await caps.of_today(session, tenant_id),
    )


ROUTES = [get_call_policy, change_call_policy, list_spend_alerts]
