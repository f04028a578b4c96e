"""What goes into an export beside the tables: documents, each room's by a contributor that is registered here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sqlalchemy import select

from billing import invoices
from billing.invoice_documents import document_for
from billing.invoice_pdf import render_invoice
from billing.models import Invoice
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.objects import ObjectMissing, Objects, Place
from tenancy.papers.files import COLLECTION as PAPERS
from tenancy.papers.models import Paper


@dataclass(frozen=True, slots=True)
class Document:
    """A file for the export; `content` None: there is a record of it and the file is gone."""

    name: str
    content: bytes | None


Contributor = Callable[[Runtime, str], AsyncIterator[Document]]
"""The documents of a tenant, one after another; opens transactions of its own."""

_contributors: list[Contributor] = []


def contributes(contributor: Contributor) -> Contributor:
    """Have a contributor's documents in every export."""
    _contributors.append(contributor)
    return contributor


async def documents_of(runtime: Runtime, tenant_id: str) -> AsyncIterator[Document]:
    """Every document of a tenant."""
    for contributor in _contributors:
        async for document in contributor(runtime, tenant_id):
            yield document


@contributes
async def invoice_papers(runtime: Runtime, tenant_id: str) -> AsyncIterator[Document]:
    """Every invoice as its PDF, printed as it stands now."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(Invoice.invoice_id).where(Invoice.tenant_id == tenant_id).order_by(Invoice.invoice_id)
        invoice_ids = list((await session.execute(query)).scalars())
    for invoice_id in invoice_ids:
        async with runtime.database.transaction(Scope.platform()) as session:
            invoice = await invoices.find(session, invoice_id, tenant_id)
            document = await document_for(session, invoice, operator=runtime.settings.operator)
        yield Document(f"invoices/{invoice.number}.pdf", await asyncio.to_thread(render_invoice, document))


@contributes
async def submitted_papers(runtime: Runtime, tenant_id: str) -> AsyncIterator[Document]:
    """Every paper that the tenant has handed in and whose file is there (C19)."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(Paper).where(Paper.tenant_id == tenant_id, Paper.erased_at.is_(None)).order_by(Paper.paper_id)
        papers = list((await session.execute(query)).scalars())
    objects = Objects(runtime.settings)
    for paper in papers:
        suffix = paper.media_type.rpartition("/")[2]
        name = f"papers/{paper.kind}-{paper.paper_id}.{suffix}"
        try:
            yield Document(name, await objects.get(Place(PAPERS, tenant_id, paper.paper_id)))
        except ObjectMissing:
            yield Document(name, None)
