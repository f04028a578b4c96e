"""HTTP for papers: handing in, review, links that open a file for some minutes (C19)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.database import Database, Scope, enter_scope
from infra.kit.http import DEFAULT_PAGE, PUBLIC, After, Limit
from infra.kit.objects import Objects
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.settings import Settings
from tenancy import tenants
from tenancy.papers import files, held, links, rules
from tenancy.papers.files import NewPaper
from tenancy.papers.models import Paper
from tenancy.papers.schemas import (
    PaperLinkView,
    PapersStatusView,
    PaperUpload,
    PaperView,
    Review,
    Withdrawal,
    paper_view,
)

TAGS = ["Papers"]
NOT_STORED = [ResponseHeader(name="cache-control", value="no-store")]
PaperState = Annotated[str | None, QueryParameter(name="state", description="submitted, accepted, refused, withdrawn")]
"""Named otherwise in the code, because the framework keeps `state` for itself."""

KindWanted = Annotated[str, QueryParameter(description=f"One of {', '.join(rules.KINDS)}")]
FileName = Annotated[str | None, QueryParameter(description="What the file is called; its ending follows its content")]


@post("/v1/papers", permission="papers:write", tags=TAGS, operation_id="SubmitPaper", operation_class=PaperUpload)
async def submit_paper(
    *,
    request: Request[Any, Any, Any],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    objects: NamedDependency[Objects],
    settings: NamedDependency[Settings],
    kind: KindWanted,
    file_name: FileName = None,
    valid_from: FromQuery[date | None] = None,
    valid_until: FromQuery[date | None] = None,
    tenant_id: FromQuery[str | None] = None,
) -> PaperView:
    """Hand in a paper as the body: a PDF, PNG or JPEG of at most 10 MB, told by its content.

    An executable, a file that is something else as well, one that unpacks without end, and a PDF with scripts, files or
    a password are refused with the place. It waits for the operator's review.
    """
    new = NewPaper(
        kind=kind,
        content=await request.body(),
        media_type=request.content_type[0],
        file_name=file_name,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    company, operator = principal.tenant_for(tenant_id), settings.finance_mail
    return paper_view(await files.submit(session, objects, company, new, operator_address=operator))


@get("/v1/papers", permission="papers:read", tags=TAGS, operation_id="ListPapers")
async def list_papers(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    paper_state: PaperState = None,
    kind: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PaperView]:
    """Papers, newest first; what was refused or withdrawn too."""
    query = principal.narrowed(select(Paper), Paper.tenant_id, tenant_id)
    if paper_state is not None:
        query = query.where(Paper.state == paper_state)
    if kind is not None:
        query = query.where(Paper.kind == kind)
    rows, following = await fetch_page(session, query, keys=(Paper.paper_id,), limit=limit, after=after)
    return Page(items=[paper_view(row) for row in rows], next=following)


@get("/v1/papers/{paper_id:str}", permission="papers:read", tags=TAGS, operation_id="GetPaper")
async def get_paper(
    paper_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PaperView:
    """One paper, without its file."""
    return paper_view(await files.find(session, paper_id, principal.tenant_id))


@get("/v1/tenants/{tenant_id:str}/papers", permission="papers:read", tags=TAGS, operation_id="GetPapersStatus")
async def get_papers_status(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PapersStatusView:
    """Whether a tenant's papers are complete today. Under a contract that requires them, nothing opens before."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    papers, today = await held.held_by(session, tenant.tenant_id), clock.today()
    since = rules.complete_since(papers, today)
    return PapersStatusView(
        tenant_id=tenant.tenant_id,
        complete=since is not None,
        complete_since=since,
        complete_until=None if since is None else rules.complete_until(papers, today),
        missing=list(rules.missing(papers, today)),
    )


@post(
    "/v1/papers/{paper_id:str}/review",
    permission="papers:review",
    tags=TAGS,
    operation_id="ReviewPaper",
    status_code=HTTP_200_OK,
)
async def review_paper(
    paper_id: FromPath[str], data: JSONBody[Review], session: NamedDependency[AsyncSession]
) -> PaperView:
    """Accept or refuse a paper, with the reason that its tenant reads. Orders that waited for it open within seconds.

    What was accepted can be refused later; what is open stays open, and the operator may suspend.
    """
    paper = await files.find(session, paper_id, None, for_update=True)
    if data.decision == "accepted":
        await files.accept(session, paper, reason=data.reason, valid_from=data.valid_from, valid_until=data.valid_until)
    else:
        await files.refuse(session, paper, reason=data.reason)
    return paper_view(paper)


@post(
    "/v1/papers/{paper_id:str}/withdrawal",
    permission="papers:write",
    tags=TAGS,
    operation_id="WithdrawPaper",
    status_code=HTTP_200_OK,
)
async def withdraw_paper(
    paper_id: FromPath[str],
    data: JSONBody[Withdrawal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> PaperView:
    """Take back a paper that nobody has decided on; its file is erased."""
    await enter_scope(session, Scope.platform())  # a tenant's role cannot change papers, least of all accept them
    paper = await files.find(session, paper_id, principal.tenant_id, for_update=True)
    await files.withdraw(session, paper, reason=data.reason)
    return paper_view(paper)


@post(
    "/v1/papers/{paper_id:str}/link",
    permission="papers:open",
    tags=TAGS,
    operation_id="LinkPaper",
    status_code=HTTP_200_OK,
    response_headers=NOT_STORED,
)
async def link_paper(
    paper_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
) -> PaperLinkView:
    """A link that opens the file for five minutes; that it was made, and each opening, is in the audit trail."""
    paper = await files.find(session, paper_id, principal.tenant_id)
    ticket = await files.ticket_for(session, paper)
    url = f"{settings.public_url.rstrip('/')}/papers/{links.sealed(ticket, settings.secret_key)}"
    return PaperLinkView(url=url, expires_at=ticket.expires_at)


@get("/papers/{ticket:str}", permission=PUBLIC, tags=TAGS, operation_id="OpenPaper", security=[])
async def open_paper(
    ticket: FromPath[str],
    database: NamedDependency[Database],
    objects: NamedDependency[Objects],
    settings: NamedDependency[Settings],
) -> Response[bytes]:
    """The file behind a link, as a download; 403 once the link has expired."""
    found = await files.open_file(database, objects, links.opened(ticket, settings.secret_key, clock.now()))
    return Response(
        found.content,
        media_type=found.paper.media_type,
        headers={
            "content-disposition": f"attachment; filename*=UTF-8''{quote(found.paper.file_name, safe='')}",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox",
            "referrer-policy": "no-referrer",
        },
    )


ROUTES = [
    submit_paper,
    list_papers,
    get_paper,
    get_papers_status,
    review_paper,
    withdraw_paper,
    link_paper,
    open_paper,
]
