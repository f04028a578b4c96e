"""HTTP for refused sign-ins."""

from __future__ import annotations

from datetime import datetime

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import PLATFORM
from infra.kit.http import DEFAULT_PAGE, After, Limit, View
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from switch.refused_sign_ins.models import RefusedSignIn
from tenancy.people.errors import VisitNeeded


class RefusedSignInView(View):
    """How often a node refused one name from one address within an hour that began at `hour`.

    `tenant_id` is `platform` where the SIP domain is nobody's. `username` and `source` are empty where strangers sent
    more than can be told apart. `user_agent` and `last_at` are those of the latest attempt.
    """

    tenant_id: str
    hour: datetime
    node: str
    domain: str
    username: str
    source: str
    attempts: int
    user_agent: str
    last_at: datetime


@get("/v1/refused-sign-ins", permission="refused_sign_ins:read", tags=["Live"], operation_id="ListRefusedSignIns")
async def list_refused_sign_ins(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    username: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[RefusedSignInView]:
    """Phones that nodes turned away, by tenant, hour, node, name and address, the latest hour first; kept 30 days.

    A person of the platform sees those of domains that are nobody's, and a tenant's on a visit to it.
    """
    query = principal.narrowed(select(RefusedSignIn), RefusedSignIn.tenant_id, tenant_id)
    if principal.is_unvisiting_person:
        if tenant_id not in (None, PLATFORM):
            raise VisitNeeded("Whom a tenant's phones are refused as is seen on a visit to it.", field="tenant_id")
        query = query.where(RefusedSignIn.tenant_id == PLATFORM)
    for column, wanted in ((RefusedSignIn.username, username), (RefusedSignIn.source, source)):
        if wanted is not None:
            query = query.where(column == wanted)
    keys = (
        RefusedSignIn.hour,
        RefusedSignIn.tenant_id,
        RefusedSignIn.node,
        RefusedSignIn.domain,
        RefusedSignIn.username,
        RefusedSignIn.source,
    )
    rows, following = await fetch_page(session, query, keys=keys, limit=limit, after=after)
    views = [
        RefusedSignInView(**{name: getattr(row, name) for name in RefusedSignInView.__struct_fields__}) for row in rows
    ]
    return Page(items=views, next=following)


ROUTES = [list_refused_sign_ins]
