"""HTTP for whether a tenant's calls are encrypted."""

from __future__ import annotations

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import Body, View
from infra.kit.principal import Principal
from switch import media_policies
from switch.admission import Encryption
from tenancy import tenants

TAGS = ["Call policy"]
PATH = "/v1/tenants/{tenant_id:str}/media-policy"


class MediaPolicyBody(Body):
    """`accepted`: encrypted where the phone offers it; `offered`: towards phones too; `demanded`: else refused."""

    encryption: Encryption


class MediaPolicyView(View):
    """What a tenant wants of the media between its phones and the node (SRTP)."""

    tenant_id: str
    encryption: Encryption


@get(PATH, permission="call_policy:read", tags=TAGS, operation_id="GetMediaPolicy")
async def get_media_policy(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> MediaPolicyView:
    """Whether the tenant's calls are encrypted."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    encryption = await media_policies.of_tenant(session, tenant.tenant_id)
    return MediaPolicyView(tenant_id=tenant.tenant_id, encryption=encryption)


@put(PATH, permission="call_policy:write", tags=TAGS, operation_id="ChangeMediaPolicy")
async def change_media_policy(
    tenant_id: FromPath[str],
    data: JSONBody[MediaPolicyBody],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> MediaPolicyView:
    """Say whether the tenant's calls are encrypted; it holds for every call from the answer on."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id), for_update=True)
    encryption = await media_policies.change(session, tenant.tenant_id, data.encryption)
    return MediaPolicyView(tenant_id=tenant.tenant_id, encryption=encryption)


ROUTES = [get_media_policy, change_media_policy]
