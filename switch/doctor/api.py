"""HTTP for the health of a node."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import DEFAULT_PAGE, After, Limit, View
from infra.kit.pages import Page, fetch_page
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch.doctor.examine import Health, health_of, subject_of
from switch.doctor.models import Examination

VerdictWord = Literal["fine", "warning", "error"]


class FindingView(View):
    """One thing that was looked at: what was found, what was expected, and what to do (empty: nothing)."""

    check: str
    verdict: VerdictWord
    found: str
    expected: str
    advice: str


class NodeHealthView(View):
    """A node as it is now; `verdict` is that of its worst finding."""

    node_id: str
    name: str
    state: str
    examined_at: datetime
    verdict: VerdictWord
    findings: list[FindingView]


def health_view(health: Health) -> NodeHealthView:
    """A health as the API shows it."""
    return NodeHealthView(
        node_id=health.node_id,
        name=health.name,
        state=health.state,
        examined_at=health.examined_at,
        verdict=health.verdict.value,
        findings=[
            FindingView(
                check=finding.check,
                verdict=finding.verdict.value,
                found=finding.found,
                expected=finding.expected,
                advice=finding.advice,
            )
            for finding in health.findings
        ],
    )


@get("/v1/nodes/{node_id:str}/health", permission="nodes:read", tags=["Nodes"], operation_id="ExamineNode")
async def examine_node(
    node_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    seal: NamedDependency[Seal],
    settings: NamedDependency[Settings],
) -> NodeHealthView:
    """Ask a node (its id or name) how it is, now: connection, version, clock, modules, limits, gateways, certificates.

    A node that is away or slow is an answer too; it comes within some 20 seconds.
    """
    return health_view(await health_of(await subject_of(session, node_id, seal, settings), seal, settings))


class ExaminationView(View):
    """What the latest hourly examination of a node or an edge (`kind`) has found."""

    kind: str
    name: str
    examined_at: datetime
    verdict: VerdictWord
    findings: list[FindingView]


@get("/v1/examinations", permission="nodes:read", tags=["Nodes"], operation_id="ListExaminations")
async def list_examinations(
    session: NamedDependency[AsyncSession], limit: Limit = DEFAULT_PAGE, after: After = None
) -> Page[ExaminationView]:
    """The latest hourly examination of each node in service and of each SIP edge."""
    keys = (Examination.kind, Examination.name)
    rows, following = await fetch_page(session, select(Examination), keys=keys, limit=limit, after=after)
    views = [
        ExaminationView(
            kind=row.kind,
            name=row.name,
            examined_at=row.examined_at,
            verdict=row.verdict,
            findings=[FindingView(**finding) for finding in row.findings],
        )
        for row in rows
    ]
    return Page(items=views, next=following)


ROUTES = [examine_node, list_examinations]
