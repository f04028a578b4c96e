"""The hourly examination of every node in service and every edge: kept, and told in the log where it found faults."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from switch.doctor.edge_reading import edge_findings, read_edge
from switch.doctor.examine import Subject, health_of, subject_of
from switch.doctor.findings import Finding, Verdict, worst
from switch.doctor.models import Examination
from switch.edge import edges
from switch.edge.documents import EdgeAddress
from switch.models import Node
from switch.nodes import MAX_NODES

NODE, EDGE = "node", "edge"
AT_ONCE = 10
EXAMINED_STATES = ("active", "cut_off", "dead")
"""A node that drains or is drained is so because somebody wants it, and is not examined meanwhile."""

log = logs.get(__name__)


async def examine_cluster(runtime: Runtime) -> dict[tuple[str, str], Verdict]:
    """Examine everything once, some at a time; the verdicts by kind and name. What is no more is forgotten."""
    async with runtime.database.transaction(Scope.platform()) as session:
        query = select(Node.name).where(Node.state.in_(EXAMINED_STATES)).order_by(Node.name).limit(MAX_NODES)
        names = list((await session.execute(query)).scalars())
        subjects = [await subject_of(session, name, runtime.seal, runtime.settings) for name in names]
        addresses = await edges.addresses(session)
    at_once = asyncio.Semaphore(AT_ONCE)

    async def node(subject: Subject) -> tuple[str, Verdict]:
        async with at_once:
            health = await health_of(subject, runtime.seal, runtime.settings)
        await _keep(runtime, NODE, health.name, health.examined_at, health.findings)
        return health.name, health.verdict

    async def edge(address: EdgeAddress) -> tuple[str, Verdict]:
        async with at_once:
            reading = await read_edge(address)
        at = clock.real_now()
        findings = edge_findings(address, reading, at)
        await _keep(runtime, EDGE, address.name, at, findings)
        return address.name, worst(findings)

    of_nodes = await asyncio.gather(*map(node, subjects))
    of_edges = await asyncio.gather(*map(edge, addresses))
    async with runtime.database.transaction(Scope.platform()) as session:
        await _forget(session, NODE, names)
        await _forget(session, EDGE, [address.name for address in addresses])
    return {(NODE, name): verdict for name, verdict in of_nodes} | {(EDGE, name): verdict for name, verdict in of_edges}


async def _keep(runtime: Runtime, kind: str, name: str, at: datetime, findings: Sequence[Finding]) -> None:
    verdict = worst(findings)
    values = {
        "examined_at": at,
        "verdict": verdict.value,
        "findings": [asdict(finding) for finding in findings],
    }
    statement = insert(Examination).values(kind=kind, name=name, **values)
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(statement.on_conflict_do_update(index_elements=["kind", "name"], set_=values))
    wrong = [f"{each.check}: {each.found}" for each in findings if each.verdict is not Verdict.FINE]
    if verdict is Verdict.ERROR:
        log.error("cluster.unwell", kind=kind, name=name, findings=wrong)
    elif verdict is Verdict.WARNING:
        log.warning("cluster.unwell", kind=kind, name=name, findings=wrong)


async def _forget(session: AsyncSession, kind: str, still: Sequence[str]) -> None:
    await session.execute(delete(Examination).where(Examination.kind == kind, Examination.name.not_in(list(still))))
