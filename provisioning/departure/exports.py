"""Exports (C26): asked for, made by a job, kept sealed in object storage for days, fetched by a link of minutes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, sealing
from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from infra.kit.objects import Objects, Place
from provisioning.departure import export_writing
from provisioning.departure.errors import ExportLinkRefused, ExportNotFound, ExportNotReady, ExportUnderWay
from provisioning.departure.models import TenantExport
from tenancy import tenants

MAKE_EXPORT = "provisioning.make_export"
COLLECTION = "exports"
KEPT = timedelta(days=7)
LINK_LIFETIME = timedelta(minutes=15)
PART_BYTES = 8_000_000
"""A file is kept in pieces, so that neither writing nor fetching needs all of it in memory."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An export that a link has opened."""

    tenant_id: str
    export_id: str
    parts: int
    size_bytes: int


async def request(session: AsyncSession, tenant_id: str) -> TenantExport:
    """Ask for an export of everything that is held of a tenant. Raises `ExportUnderWay` while one is being made."""
    await tenants.get_staying(session, tenant_id, for_update=True)  # two at once would not see each other's
    query = select(TenantExport.export_id).where(TenantExport.tenant_id == tenant_id, TenantExport.state == "waiting")
    waiting = (await session.execute(query)).scalars().first()
    if waiting is not None:
        raise ExportUnderWay(f"The export {waiting} is being made; wait for it.", field="tenant_id")
    export = TenantExport(
        tenant_id=tenant_id,
        export_id=new_id("exp"),
        state="waiting",
        requested_by=audit.actor.get(),
        requested_at=clock.now(),
        ready_at=None,
        expires_at=None,
        parts=0,
        size_bytes=0,
        sha256=None,
        contents={},
        problem=None,
        link_digest=None,
        link_until=None,
    )
    session.add(export)
    await session.flush()
    await audit.record(session, tenant_id, "export.requested", export.export_id)
    await jobs.defer(session, MAKE_EXPORT, lock=f"export:{tenant_id}", export_id=export.export_id)
    return export


async def make(runtime: jobs.Runtime, export_id: str) -> None:
    """Write and store a waiting export; one that broke off is written anew. Raises `Unavailable`."""
    async with runtime.database.transaction(Scope.platform()) as session:
        export = await find(session, export_id, None)
    if export.state != "waiting":
        return
    with tempfile.TemporaryFile() as file:
        contents = await export_writing.write(runtime, export.tenant_id, file)
        size_bytes = file.tell()
        parts, sha256 = await _store(Objects(runtime.settings), export, file)
    async with runtime.database.transaction(Scope.platform()) as session:
        export = await find(session, export_id, None, for_update=True)
        is_wanted = export.state == "waiting"
        if is_wanted:
            now = clock.now()
            export.state, export.ready_at, export.expires_at = "ready", now, now + KEPT
            export.parts, export.size_bytes, export.sha256 = parts, size_bytes, sha256
            export.contents = contents
            await session.flush()
            await audit.record(session, export.tenant_id, "export.made", export_id, size_bytes=size_bytes)
    if not is_wanted:  # the tenant's data was erased meanwhile
        await _delete(Objects(runtime.settings), export, parts)


async def _store(objects: Objects, export: TenantExport, file: BinaryIO) -> tuple[int, str]:
    file.seek(0)
    parts, digest = 0, hashlib.sha256()
    while piece := file.read(PART_BYTES):
        digest.update(piece)
        await objects.put(_place(export.tenant_id, export.export_id, parts), piece)
        parts += 1
    return parts, digest.hexdigest()


async def _delete(objects: Objects, export: TenantExport, parts: int) -> None:
    for number in range(parts):
        await objects.delete(_place(export.tenant_id, export.export_id, number))


async def make_link(session: AsyncSession, export_id: str, tenant_id: str | None) -> tuple[TenantExport, str]:
    """A secret that opens the file for some minutes, in place of any former one. Raises `ExportNotReady`."""
    export = await find(session, export_id, tenant_id, for_update=True)
    if export.state != "ready":
        raise ExportNotReady(f"The export {export_id} is {export.state}.", field="export_id")
    secret = sealing.new_secret()
    export.link_digest, export.link_until = sealing.digest(secret), clock.now() + LINK_LIFETIME
    await session.flush()
    await audit.record(session, export.tenant_id, "export.link_made", export_id)
    return export, secret


async def open_link(database: Database, secret: str) -> Fetched:
    """What a link opens; noted in the audit trail. Raises `ExportLinkRefused`."""
    async with database.transaction(Scope.platform()) as session:
        query = select(TenantExport).where(
            TenantExport.link_digest == sealing.digest(secret), TenantExport.state == "ready"
        )
        export = (await session.execute(query)).scalar_one_or_none()
        if export is None or export.link_until is None or clock.now() >= export.link_until:
            raise ExportLinkRefused("The link has expired or is none of ours; ask for a new one.")
        await audit.record(session, export.tenant_id, "export.fetched", export.export_id)
        return Fetched(export.tenant_id, export.export_id, export.parts, export.size_bytes)


async def pieces(objects: Objects, fetched: Fetched) -> AsyncGenerator[bytes]:
    """The file, piece by piece."""
    for number in range(fetched.parts):
        yield await objects.get(_place(fetched.tenant_id, fetched.export_id, number))


async def expire(runtime: jobs.Runtime, now: datetime) -> int:
    """Remove the files of exports whose days are over; returns how many."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(TenantExport).where(TenantExport.state == "ready", TenantExport.expires_at <= now)
        over = list((await session.execute(query)).scalars())
    objects = Objects(runtime.settings)
    for export in over:
        await _delete(objects, export, export.parts)
        async with runtime.database.transaction(Scope.platform()) as session:
            kept = await find(session, export.export_id, export.tenant_id, for_update=True)
            kept.state, kept.link_digest, kept.link_until = "expired", None, None
    return len(over)


async def find(
    session: AsyncSession, export_id: str, tenant_id: str | None, *, for_update: bool = False
) -> TenantExport:
    """An export, narrowed to a tenant where the caller belongs to one. Raises `ExportNotFound`."""
    query = select(TenantExport).where(TenantExport.export_id == export_id)
    if tenant_id is not None:
        query = query.where(TenantExport.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    export = (await session.execute(query)).scalar_one_or_none()
    if export is None:
        raise ExportNotFound(f"There is no export {export_id}.", field="export_id")
    return export


def _place(tenant_id: str, export_id: str, number: int) -> Place:
    return Place(COLLECTION, tenant_id, f"{export_id}-{number:05}")
