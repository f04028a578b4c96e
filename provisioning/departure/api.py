"""HTTP for the end: a tenant's export, and its departure."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Database
from infra.kit.http import DEFAULT_PAGE, PUBLIC, After, Limit
from infra.kit.objects import Objects
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.settings import Settings
from provisioning.departure import departures, exports, readiness
from provisioning.departure.models import Departure, TenantExport
from provisioning.departure.schemas import (
    Cancellation,
    DepartureView,
    ExportLink,
    ExportView,
    NewDeparture,
    ReadinessView,
    departure_view,
    export_view,
    readiness_view,
)
from tenancy import tenants

EXPORTS, DEPARTURES = ["Exports"], ["Departures"]
ZIP_MEDIA_TYPE = "application/zip"


@post(
    "/v1/tenants/{tenant_id:str}/exports", permission="exports:write", tags=EXPORTS, operation_id="RequestTenantExport"
)
async def request_export(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ExportView:
    """Ask for everything that is held of a tenant as one ZIP file (C26); it is made within minutes."""
    return export_view(await exports.request(session, principal.tenant_for(tenant_id)))


@get("/v1/exports", permission="exports:read", tags=EXPORTS, operation_id="ListTenantExports")
async def list_exports(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ExportView]:
    """Exports, newest first."""
    query = principal.narrowed(select(TenantExport), TenantExport.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(TenantExport.export_id,), limit=limit, after=after)
    return Page(items=[export_view(row) for row in rows], next=following)


@get("/v1/exports/{export_id:str}", permission="exports:read", tags=EXPORTS, operation_id="GetTenantExport")
async def get_export(
    export_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ExportView:
    """One export."""
    return export_view(await exports.find(session, export_id, principal.tenant_id))


@post(
    "/v1/exports/{export_id:str}/link",
    permission="exports:write",
    tags=EXPORTS,
    operation_id="MakeExportLink",
    status_code=HTTP_200_OK,
)
async def make_link(
    export_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> ExportLink:
    """A link to the file that works without a sign-in for 15 minutes, in place of any former one."""
    export, secret = await exports.make_link(session, export_id, principal.tenant_id)
    assert export.link_until is not None  # noqa: S101 - just set
    return ExportLink(url=f"{settings.public_url.rstrip('/')}/exports/{secret}", expires_at=export.link_until)


@get(
    "/exports/{secret:str}",
    permission=PUBLIC,
    tags=EXPORTS,
    operation_id="FetchExport",
    media_type=ZIP_MEDIA_TYPE,
    security=[],
)
async def fetch_export(
    secret: FromPath[str], database: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Stream:
    """The file behind a link."""
    fetched = await exports.open_link(database, secret)
    headers = {
        "content-disposition": f'attachment; filename="{fetched.export_id}.zip"',
        "content-length": str(fetched.size_bytes),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }
    return Stream(exports.pieces(Objects(settings), fetched), media_type=ZIP_MEDIA_TYPE, headers=headers)


@get(
    "/v1/tenants/{tenant_id:str}/departure-readiness",
    permission="departures:write",
    tags=DEPARTURES,
    operation_id="GetDepartureReadiness",
)
async def get_readiness(
    tenant_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> ReadinessView:
    """What is in the way of a tenant's end: contracts, seats, money."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    account = await readiness.account_of(session, tenant.tenant_id)
    return readiness_view(tenant.tenant_id, account, departures.earliest_day(account, settings))


@post(
    "/v1/tenants/{tenant_id:str}/departures",
    permission="departures:write",
    tags=DEPARTURES,
    operation_id="AnnounceDeparture",
)
async def announce_departure(
    tenant_id: FromPath[str],
    data: JSONBody[NewDeparture],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> DepartureView:
    """Announce that a tenant's personal data will be erased; refused while contracts, seats or money are open."""
    departure = await departures.announce(
        session, settings, tenant_id=principal.tenant_for(tenant_id), reason=data.reason, erase_on=data.erase_on
    )
    return departure_view(departure)


@get("/v1/departures", permission="departures:read", tags=DEPARTURES, operation_id="ListDepartures")
async def list_departures(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[DepartureView]:
    """Departures, newest first."""
    query = principal.narrowed(select(Departure), Departure.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Departure.departure_id,), limit=limit, after=after)
    return Page(items=[departure_view(row) for row in rows], next=following)


@get("/v1/departures/{departure_id:str}", permission="departures:read", tags=DEPARTURES, operation_id="GetDeparture")
async def get_departure(
    departure_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> DepartureView:
    """One departure, with how much of what it has erased."""
    return departure_view(await departures.find(session, departure_id, principal.tenant_id))


@post(
    "/v1/departures/{departure_id:str}/cancellation",
    permission="departures:write",
    tags=DEPARTURES,
    operation_id="CancelDeparture",
    status_code=HTTP_200_OK,
)
async def cancel_departure(
    departure_id: FromPath[str], data: JSONBody[Cancellation], session: NamedDependency[AsyncSession]
) -> DepartureView:
    """Call a departure off before its erasure has begun."""
    return departure_view(await departures.cancel(session, departure_id, reason=data.reason))


ROUTES = [
    request_export,
    list_exports,
    get_export,
    make_link,
    fetch_export,
    get_readiness,
    announce_departure,
    list_departures,
    get_departure,
    cancel_departure,
]
