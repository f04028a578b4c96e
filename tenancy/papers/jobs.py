"""What is done about papers by the clock: reminders before they expire, files that nobody may see any more."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from sqlalchemy import select

from infra.kit import clock, jobs, logs
from infra.kit.database import Scope
from infra.kit.ids import made_at
from infra.kit.jobs import Runtime
from infra.kit.objects import Place
from infra.kit.outbox import posting
from tenancy import readers, tenants
from tenancy.papers import files, held, rules
from tenancy.papers.mails import EXPIRES, OPERATOR_EXPIRES
from tenancy.papers.models import Paper

TEND_PAPERS = "tenancy.tend_papers"
ORPHANS_AFTER = timedelta(hours=24)
"""A file without a row is being handed in, or was left by a process that died; after a day it is the latter."""

REFUSED_KEPT_FOR = timedelta(days=90)
"""So long the file of a refused paper can still be shown to whom it was refused."""

RUN_LIMIT_PAPERS = 1_000
log = logs.get(__name__)


@jobs.task(TEND_PAPERS)
async def tend_papers(runtime: Runtime) -> None:
    """Remind, erase, sweep; each may be repeated."""
    await remind(runtime)
    await erase_files(runtime)
    await sweep_orphans(runtime)


async def remind(runtime: Runtime) -> int:
    """Put the mails of papers that expire soon into the outbox, each once; returns how many."""
    today = clock.today()
    soon = today + timedelta(days=max(rules.REMINDER_DAYS))
    query = (
        select(Paper.tenant_id)
        .where(Paper.state == "accepted", Paper.valid_until >= today, Paper.valid_until <= soon)
        .distinct()
        .order_by(Paper.tenant_id)
    )
    async with runtime.database.transaction(Scope.platform()) as session:
        due = list((await session.execute(query)).scalars())
    written, failed = 0, list[str]()
    for tenant_id in due:
        try:
            written += await _remind_tenant(runtime, tenant_id)
        except Exception:  # the others' papers expire all the same
            log.exception("papers.not_reminded", tenant_id=tenant_id)
            failed.append(tenant_id)
    if failed:
        raise RuntimeError(f"{len(failed)} tenants were not reminded of their papers: {', '.join(failed[:5])}.")
    return written


async def _remind_tenant(runtime: Runtime, tenant_id: str) -> int:
    today, written = clock.today(), 0
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id)
        if tenant.standing == "closed":
            return 0
        query = select(Paper).where(Paper.tenant_id == tenant_id, Paper.state == "accepted")
        papers = list((await session.execute(query.order_by(Paper.paper_id))).scalars())
        all_held = [held.held_of(paper) for paper in papers]
        wanted = [(EXPIRES, *reader) for reader in (await readers.of_tenant(session, tenant_id)).items()]
        if runtime.settings.finance_mail:
            wanted.append((OPERATOR_EXPIRES, runtime.settings.finance_mail, posting.DEFAULT_LANGUAGE))
        for paper in papers:
            day = rules.reminder_due(all_held, held.held_of(paper), today)
            if day is None:
                continue
            for kind, recipient, language in wanted:
                put = await posting.put(
                    session, kind=kind, subject_id=paper.paper_id, tenant_id=tenant_id, recipient=recipient,
                    language=language, day=day, at_once=False,
                )  # fmt: skip
                written += put is not None
    return written


async def erase_files(runtime: Runtime) -> int:
    """Remove the files of papers that were withdrawn, or refused long ago; returns how many."""
    long_ago = clock.now() - REFUSED_KEPT_FOR
    gone = (Paper.state == "withdrawn") | ((Paper.state == "refused") & (Paper.decided_at < long_ago))
    query = select(Paper).where(Paper.erased_at.is_(None), gone).order_by(Paper.paper_id).limit(RUN_LIMIT_PAPERS)
    async with runtime.database.transaction(Scope.platform()) as session:
        papers = list((await session.execute(query)).scalars())
    for paper in papers:
        await runtime.objects.delete(files.place_of(paper))
        async with runtime.database.transaction(Scope.platform()) as session:
            await files.note_erased(session, paper.tenant_id, paper.paper_id)
    return len(papers)


async def sweep_orphans(runtime: Runtime) -> int:
    """Remove the files that no row speaks of; returns how many."""
    removed, newest = 0, clock.now() - ORPHANS_AFTER
    async for page in runtime.objects.places(files.COLLECTION):
        old = [place for place in page if (made := made_at(place.object_id)) is not None and made < newest]
        for place in await _without_row(runtime, old):
            await runtime.objects.delete(place)
            removed += 1
    if removed:
        log.warning("papers.orphans_removed", count=removed)
    return removed


async def _without_row(runtime: Runtime, places: list[Place]) -> list[Place]:
    by_tenant: defaultdict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_tenant[place.tenant_id].append(place)
    orphans: list[Place] = []
    async with runtime.database.transaction(Scope.platform()) as session:
        for tenant_id, theirs in by_tenant.items():
            wanted = [place.object_id for place in theirs]
            query = select(Paper.paper_id).where(
                Paper.tenant_id == tenant_id, Paper.paper_id.in_(wanted), Paper.erased_at.is_(None)
            )
            known = set((await session.execute(query)).scalars())
            orphans += [place for place in theirs if place.object_id not in known]
    return orphans
