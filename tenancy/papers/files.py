"""Papers handed in, reviewed and withdrawn, and their files in object storage (C19).

The file is stored before the row that speaks of it is committed, and removed before the row says so. So a process that
dies in between leaves a file without a row, which counts for nothing and is swept away, but never a row without a file.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, reasons
from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from infra.kit.objects import ObjectMissing, Objects, ObjectSpoiled, Place
from tenancy import tenants
from tenancy.papers import content as contents
from tenancy.papers import links, mails
from tenancy.papers.errors import (
    PaperDecided,
    PaperErased,
    PaperLost,
    PaperRefused,
    PaperTooLarge,
    PaperUnknown,
)
from tenancy.papers.links import Ticket
from tenancy.papers.models import Paper
from tenancy.papers.rules import KINDS

COLLECTION = "papers"
SIZE_LIMIT_BYTES = 10_000_000
PAPERS_LIMIT = 200
"""Of one tenant whose files are kept."""

FILE_NAME_LIMIT_CHARACTERS = 120
EARLIEST_YEAR, LATEST_YEAR = 1900, 2999
ADVANCE_ORDERS = "provisioning.advance_orders"
"""Opens what waited for papers; it lives above this room and is deferred by name."""

_CHECKERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="papers")
"""Looking into a file takes a processor for up to seconds; the other requests shall not wait for it."""

_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|]')


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPaper:
    """What is handed in."""

    kind: str
    content: bytes
    media_type: str = ""
    """As its sender calls it; empty: unsaid."""
    file_name: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that somebody may look at now."""

    paper: Paper
    content: bytes


async def submit(
    session: AsyncSession, objects: Objects, tenant_id: str, new: NewPaper, *, operator_address: str | None = None
) -> Paper:
    """Store a paper for review, and tell the operator by mail where it has an address for that.

    Raises `PaperRefused`, `PaperTooLarge`, `TenantClosed`, and what `content.check` refuses of a file.
    """
    if new.kind not in KINDS:
        raise PaperRefused(f"`kind` is one of {', '.join(KINDS)}.", field="kind")
    _check_days(new.valid_from, new.valid_until)
    if len(new.content) > SIZE_LIMIT_BYTES:
        raise PaperTooLarge(
            f"The file has {len(new.content):,} bytes; a paper has at most {SIZE_LIMIT_BYTES:,}.", field="file"
        )
    await tenants.get(session, tenant_id)
    await _check_room(session, tenant_id)
    checking = asyncio.get_running_loop().run_in_executor(_CHECKERS, contents.check, new.content, new.media_type)
    media_type = await checking
    paper = Paper(
        tenant_id=tenant_id,
        paper_id=new_id("pap"),
        kind=new.kind,
        state="submitted",
        file_name=_file_name(new.file_name, new.kind, media_type),
        media_type=media_type,
        size_bytes=len(new.content),
        digest=hashlib.sha256(new.content).hexdigest(),
        valid_from=new.valid_from,
        valid_until=new.valid_until,
        uploaded_at=clock.now(),
        uploaded_by=audit.actor.get(),
        decided_at=None,
        decided_by=None,
        decision_reason=None,
        erased_at=None,
    )
    await objects.put(place_of(paper), new.content)
    await tenants.get_staying(session, tenant_id)  # only now: nobody is to wait for the storage
    session.add(paper)
    await session.flush()
    await audit.record(
        session, tenant_id, "paper.submitted", paper.paper_id, kind=paper.kind, digest=paper.digest,
        media_type=media_type, valid_until=_text(paper.valid_until),
    )  # fmt: skip
    await mails.post_submitted(session, paper, operator_address)
    return paper


async def find(session: AsyncSession, paper_id: str, tenant_id: str | None, *, for_update: bool = False) -> Paper:
    """A paper, narrowed to a tenant where the caller belongs to one. Raises `PaperUnknown`."""
    query = select(Paper).where(Paper.paper_id == paper_id)
    if tenant_id is not None:
        query = query.where(Paper.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    paper = (await session.execute(query)).scalar_one_or_none()
    if paper is None:
        raise PaperUnknown(f"There is no paper {paper_id}.", field="paper_id")
    return paper


async def accept(
    session: AsyncSession, paper: Paper, *, reason: str, valid_from: date | None = None, valid_until: date | None = None
) -> None:
    """Accept a paper that waits; days that are named take the place of those handed in. Orders that waited go on.

    The caller has locked it. Raises `PaperDecided`, `PaperRefused` for days that make no sense or are over.
    """
    said = reasons.given(reason)
    if paper.state != "submitted":
        raise PaperDecided(f"The paper is {paper.state}; only one that waits is accepted.", field="paper_id")
    begins, ends = valid_from or paper.valid_from, valid_until or paper.valid_until
    _check_days(begins, ends)
    paper.valid_from, paper.valid_until = begins, ends
    await _decide(session, paper, "accepted", said)
    await mails.post_decided(session, paper)
    await jobs.defer(session, ADVANCE_ORDERS, lock=f"orders:{paper.tenant_id}", tenant_id=paper.tenant_id)


async def refuse(session: AsyncSession, paper: Paper, *, reason: str) -> None:
    """Refuse a paper that waits, or one that was accepted and turns out not to hold. The caller has locked it."""
    said = reasons.given(reason)
    if paper.state not in ("submitted", "accepted"):
        raise PaperDecided(f"The paper is {paper.state} already.", field="paper_id")
    await _decide(session, paper, "refused", said)
    await mails.post_decided(session, paper)


async def withdraw(session: AsyncSession, paper: Paper, *, reason: str) -> None:
    """Take a paper back that nobody has decided on; its file is erased. The caller has locked it."""
    said = reasons.given(reason)
    if paper.state != "submitted":
        raise PaperDecided(f"The paper is {paper.state}; only one that waits is withdrawn.", field="paper_id")
    await _decide(session, paper, "withdrawn", said)


def place_of(paper: Paper) -> Place:
    """Where its file lies."""
    return Place(COLLECTION, paper.tenant_id, paper.paper_id)


async def ticket_for(session: AsyncSession, paper: Paper) -> Ticket:
    """A ticket that opens the file for some minutes; who asked for it is kept. Raises `PaperErased`."""
    _check_kept(paper)
    expires_at = (clock.now() + links.LIFETIME).replace(microsecond=0)
    ticket = Ticket(paper.tenant_id, paper.paper_id, audit.actor.get(), expires_at)
    await audit.record(
        session, paper.tenant_id, "paper.link_made", paper.paper_id, expires_at=ticket.expires_at.isoformat()
    )
    return ticket


async def open_file(database: Database, objects: Objects, ticket: Ticket) -> OpenedFile:
    """The file behind a ticket. That it was opened, and for whom, is kept before a byte of it is read.

    Raises `PaperUnknown`, `PaperErased`, `PaperLost` (a defect: the storage has lost or changed it).
    """
    actor = audit.actor.set(ticket.made_for)
    try:
        async with database.transaction(Scope.platform()) as session:
            paper = await find(session, ticket.paper_id, ticket.tenant_id)
            _check_kept(paper)
            await audit.record(session, paper.tenant_id, "paper.opened", paper.paper_id)
    finally:
        audit.actor.reset(actor)
    try:
        content = await objects.get(place_of(paper))
    except (ObjectMissing, ObjectSpoiled) as error:
        raise PaperLost from error
    if hashlib.sha256(content).hexdigest() != paper.digest:
        raise PaperLost
    return OpenedFile(paper, content)


async def note_erased(session: AsyncSession, tenant_id: str, paper_id: str) -> None:
    """The file is gone from the storage; what it was stays known."""
    paper = await find(session, paper_id, tenant_id, for_update=True)
    if paper.erased_at is None:
        paper.erased_at = clock.now()
        await session.flush()
        await audit.record(session, tenant_id, "paper.erased", paper_id, digest=paper.digest)


async def erase_all(session: AsyncSession, objects: Objects, tenant_id: str) -> int:
    """Remove every file of a tenant whose data is erased (C26); returns how many. May be repeated."""
    query = select(Paper.paper_id).where(Paper.tenant_id == tenant_id, Paper.erased_at.is_(None))
    paper_ids = list((await session.execute(query.order_by(Paper.paper_id))).scalars())
    for paper_id in paper_ids:
        await objects.delete(Place(COLLECTION, tenant_id, paper_id))
        await note_erased(session, tenant_id, paper_id)
    return len(paper_ids)


def _check_kept(paper: Paper) -> None:
    if paper.erased_at is not None or paper.state == "withdrawn":
        raise PaperErased("The paper's file was erased.", field="paper_id")


async def _decide(session: AsyncSession, paper: Paper, state: str, reason: str) -> None:
    paper.state = state
    paper.decided_at = clock.now()
    paper.decided_by = audit.actor.get()
    paper.decision_reason = reason
    await session.flush()
    await audit.record(
        session, paper.tenant_id, f"paper.{state}", paper.paper_id, kind=paper.kind, reason=reason,
        valid_until=_text(paper.valid_until),
    )  # fmt: skip


async def _check_room(session: AsyncSession, tenant_id: str) -> None:
    query = select(func.count()).where(Paper.tenant_id == tenant_id, Paper.erased_at.is_(None))
    if (await session.scalar(query) or 0) >= PAPERS_LIMIT:
        raise PaperRefused(f"There are {PAPERS_LIMIT} papers already; withdraw what nobody needs.", field="tenant_id")


def _check_days(valid_from: date | None, valid_until: date | None) -> None:
    for name, day in (("valid_from", valid_from), ("valid_until", valid_until)):
        if day is not None and not EARLIEST_YEAR <= day.year <= LATEST_YEAR:
            raise PaperRefused(f"{day} is a slip of the pen.", field=name)
    if valid_until is not None and valid_until < clock.today():
        raise PaperRefused(f"The paper expired on {valid_until}; hand in one that is valid.", field="valid_until")
    if valid_from is not None and valid_until is not None and valid_until < valid_from:
        raise PaperRefused(f"It would end on {valid_until}, before it begins.", field="valid_until")


def _file_name(given: str | None, kind: str, media_type: str) -> str:
    """A name that does no harm on any system, ending as the content wants it."""
    stem = "".join(
        character for character in given or "" if unicodedata.category(character)[0] != "C"
    )[: 10 * FILE_NAME_LIMIT_CHARACTERS]  # fmt: skip
    stem = _NOT_IN_NAMES.sub("_", stem).strip(". ").rpartition(".")[0] or stem or kind
    return f"{stem[:FILE_NAME_LIMIT_CHARACTERS].strip('. ') or kind}.{contents.extension(media_type)}"


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
