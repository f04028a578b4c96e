"""Writes a tenant's data into one ZIP file: a CSV for each table, documents, and a manifest that lists it all.

Tables are read under the role that reaches this one tenant only, and read-only.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, BinaryIO

from sqlalchemy import Column, Table, select, text

from infra.kit import clock
from infra.kit.database import Base, Scope, enter_erasure
from infra.kit.jobs import Runtime
from provisioning.departure.contributors import documents_of
from provisioning.departure.data_map import BY_TABLE

BATCH_ROWS = 2_000
MANIFEST = "manifest.json"
README = "README.txt"
_ABOUT = """\
Everything that is held about the tenant named in manifest.json, as of the moment written there.

tables/*.csv   UTF-8 with a header; moments in ISO 8601 with offset, money in CNY as decimal text, lists and objects
               as JSON, bytes as base64, empty for "nothing". Secrets (passwords, keys) are not part of it.
invoices/*.pdf every invoice as it stands now.
papers/*       the papers that were handed in.
manifest.json  each file with its rows or bytes and its SHA-256.
"""


async def write(runtime: Runtime, tenant_id: str, file: BinaryIO) -> dict[str, Any]:
    """Write the ZIP into `file`; returns what the manifest lists: rows or bytes by file name."""
    listed: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(README, _ABOUT)
        for name, treatment in BY_TABLE.items():
            if treatment.is_exported:
                written = await _write_table(runtime, tenant_id, archive, name)
                listed |= {} if written is None else {path_of(name): written}
        async for document in documents_of(runtime, tenant_id):
            if document.content is None:
                listed[document.name] = {"missing": True}
                continue
            await asyncio.to_thread(archive.writestr, document.name, document.content)
            digest = hashlib.sha256(document.content).hexdigest()
            listed[document.name] = {"bytes": len(document.content), "sha256": digest}
        manifest = {"tenant_id": tenant_id, "made_at": clock.now().isoformat(), "files": listed}
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
    return {name: facts.get("rows", facts.get("bytes", 0)) for name, facts in listed.items()}


async def _write_table(runtime: Runtime, tenant_id: str, archive: zipfile.ZipFile, name: str) -> dict[str, Any] | None:
    """Write one table; None: it has no rows and gives no file."""
    table = Base.metadata.tables[name]
    columns = [column for column in table.columns if column.name not in BY_TABLE[name].hidden]
    rows, digest = 0, hashlib.sha256()
    async with runtime.database.transaction(Scope.platform()) as session:
        await enter_erasure(session, tenant_id)
        await session.execute(text("SET LOCAL transaction_read_only = on"))
        stream = await session.stream(_query(table, columns, tenant_id))
        batches = stream.partitions(BATCH_ROWS)
        batch = await anext(batches, None)
        if batch is None:
            return None
        with archive.open(path_of(name), "w") as entry:
            pending = _csv([[column.name for column in columns]])
            while batch is not None:
                pending += _csv(batch)
                digest.update(pending)
                await asyncio.to_thread(entry.write, pending)
                rows, pending = rows + len(batch), b""
                batch = await anext(batches, None)
    return {"rows": rows, "sha256": digest.hexdigest()}


def path_of(table: str) -> str:
    """Where a table lies in the ZIP."""
    return f"tables/{table}.csv"


def _query(table: Table, columns: Sequence[Column[Any]], tenant_id: str) -> Any:
    return (
        select(*columns)
        .where(table.c.tenant_id == tenant_id)
        .order_by(*table.primary_key.columns)
        .execution_options(yield_per=BATCH_ROWS)
    )


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows([_cell(value) for value in row] for row in rows)
    return lines.getvalue().encode()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return "" if value is None else str(value)
