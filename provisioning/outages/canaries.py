"""The regular canary: on every node in service the system signs in and calls as a tenant's phone would.

One tenant a node and look, each in its turn; where that fails two more are asked, because one tenant alone that cannot
sign in or call is another thing than a node at which nobody can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.outages.conditions import Condition
from provisioning.outages.models import CanaryWatch, Observation
from provisioning.rules.observed_faults import Kind, has_looked_away
from switch import accounts
from switch.canary import ACCEPTED, NodeProbe, Probe, Subject
from switch.commands import NodeControl
from switch.models import Node, Placement
from tenancy.models import Tenant

TENANTS_WHEN_FAILING = 3
MAX_NODES_AT_ONCE = 50

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """That a tenant's canary fails: since when (ISO 8601), and what did not work at the last try."""

    since: str
    what: str


Failures = Mapping[str, Failure]
"""By tenant."""


@dataclass(frozen=True, slots=True)
class Round:
    """The tries at one node: who is served there, and who is to be asked, in this order."""

    node: Node
    served: tuple[str, ...]
    subjects: tuple[Subject, ...]
    failing: Failures
    """As the last look left it; after a time in which nobody looked each begins anew."""

    @property
    def last_in_turn(self) -> str:
        """Whom the next look goes on from. Where some fail all are asked; those that failed before are no turn."""
        in_turn = [each.tenant_id for each in self.subjects if each.tenant_id not in self.failing]
        if not in_turn:
            return self.subjects[-1].tenant_id
        return in_turn[-1] if self.failing else in_turn[0]


async def look(runtime: Runtime, now: datetime, *, probe: Probe | None = None) -> None:
    """Try every active node once and keep what came of it; what fails here makes the conditions of `canary_failing`."""
    async with runtime.database.transaction(Scope.platform()) as session:
        watches = {row.node: row for row in (await session.execute(select(CanaryWatch))).scalars()}
        rounds = await _rounds(session, watches, now)
    probe = probe or NodeProbe(NodeControl.of(runtime), runtime.settings.switch_command_timeout_seconds, calls=True)
    at_once = asyncio.Semaphore(MAX_NODES_AT_ONCE)

    async def try_node(each: Round) -> tuple[Round, Failures]:
        async with at_once:
            return each, await _failing(each, probe, now)

    tried = await asyncio.gather(*(try_node(each) for each in rounds))
    hit = {each.node.name: set(_concerned(failing, each.served)) for each, failing in tried if failing}
    await _end_unwatched(runtime, watches.values(), hit, now)
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(delete(CanaryWatch).where(CanaryWatch.node.not_in([each.node.name for each in rounds])))
        for each, failing in tried:
            kept = {tenant_id: asdict(failure) for tenant_id, failure in failing.items()}
            values = {"last_tenant_id": each.last_in_turn, "failing": kept, "looked_at": now}
            upsert = insert(CanaryWatch).values(node=each.node.name, **values)
            await session.execute(upsert.on_conflict_do_update(index_elements=["node"], set_=values))


async def canary_failing(session: AsyncSession) -> list[Condition]:
    """Tenants whose canary failed at their node; where every tenant that was tried failed, all that it serves."""
    found: list[Condition] = []
    for watch in (await session.execute(select(CanaryWatch).order_by(CanaryWatch.node))).scalars():
        failing = _read(watch.failing)
        if not failing:
            continue
        served = list((await session.execute(_served(watch.node))).scalars())
        first = min(failing.values(), key=lambda failure: failure.since)
        for tenant_id in _concerned(failing, served):
            failure = failing.get(tenant_id, first)
            found.append(
                Condition(
                    tenant_id=tenant_id,
                    kind=Kind.CANARY_FAILING,
                    subject=watch.node,
                    began_at=datetime.fromisoformat(failure.since),
                    cause="operator",
                    note=f"The system itself cannot call at {watch.node} as a phone would: {failure.what}.",
                )
            )
    return found


def _read(failing: Mapping[str, Any]) -> Failures:
    return {tenant_id: Failure(**kept) for tenant_id, kept in failing.items()}


def _concerned(failing: Failures, served: Sequence[str]) -> list[str]:
    is_everybody = len(failing.keys() & set(served)) >= min(TENANTS_WHEN_FAILING, len(served))
    return list(served) if is_everybody else [each for each in served if each in failing]


async def _end_unwatched(
    runtime: Runtime, watches: Iterable[CanaryWatch], hit: Mapping[str, Collection[str]], now: datetime
) -> None:
    """What failed before a time in which nobody looked, and does not now, was last known to fail at the look before.

    `hit`: the tenants concerned at each node now. It is done before the watches are written anew, so that a worker that
    is killed here leaves it to the next one.
    """
    for watch in watches:
        if not has_looked_away(watch.looked_at, now):
            continue
        unseen = (
            Observation.kind == Kind.CANARY_FAILING.value,
            Observation.subject == watch.node,
            Observation.state == "open",
            Observation.cleared_at.is_(None),
            Observation.tenant_id.not_in(hit.get(watch.node, ())),
        )
        async with runtime.database.transaction(Scope.platform()) as session:
            over = (await session.execute(select(Observation.tenant_id).where(*unseen))).scalars().all()
        for tenant_id in over:
            async with runtime.database.transaction(Scope.platform()) as session:
                ended = update(Observation).where(Observation.tenant_id == tenant_id, *unseen)
                await session.execute(ended.values(cleared_at=min(watch.looked_at, now)))


def _served(node: str) -> Select[str]:
    return (
        select(Tenant.tenant_id)
        .join(Placement, Placement.tenant_id == Tenant.tenant_id)
        .where(Placement.serving_node == node, Tenant.standing == "active")
        .order_by(Tenant.tenant_id)
    )


async def _rounds(session: AsyncSession, watches: Mapping[str, CanaryWatch], now: datetime) -> list[Round]:
    """Every active node with the tenants to try: those that failed first, then on from the one tried last.

    What failed before a time in which nobody tried says nothing of now; who failed then is asked first all the same.
    """
    active = (await session.execute(select(Node).where(Node.state == "active").order_by(Node.name))).scalars().all()
    rounds: list[Round] = []
    for node in active:
        served = tuple((await session.execute(_served(node.name))).scalars())
        if not served:
            continue
        watch = watches.get(node.name)
        failing = {each: how for each, how in _read(watch.failing if watch else {}).items() if each in served}
        if watch is not None and has_looked_away(watch.looked_at, now):
            failing = {each: Failure(now.isoformat(), how.what) for each, how in failing.items()}
        after = watch.last_tenant_id if watch else ""
        turn = [each for each in served if each > after] + [each for each in served if each <= after]
        wanted = (sorted(failing) + [each for each in turn if each not in failing])[:TENANTS_WHEN_FAILING]
        rounds.append(Round(node, served, await _subjects(session, node, wanted), failing))
    return rounds


async def _subjects(session: AsyncSession, node: Node, tenant_ids: Sequence[str]) -> tuple[Subject, ...]:
    subjects: list[Subject] = []
    for tenant_id in tenant_ids:
        tenant = (await session.execute(select(Tenant).where(Tenant.tenant_id == tenant_id))).scalar_one()
        subjects.append(
            Subject(
                tenant_id=tenant_id,
                domain=tenant.sip_domain,
                generation=tenant.generation,
                is_active=True,
                changed_at=tenant.standing_changed_at,
                serving_node=node.name,
                a1_hash=await accounts.ensure_canary(session, tenant),
            )
        )
    return tuple(subjects)


async def _failing(each: Round, probe: Probe, now: datetime) -> Failures:
    """Who fails now, since when: the first one is asked, the others only where it fails or failed before."""
    failing: dict[str, Failure] = {}
    for subject in each.subjects:
        seen = await probe(each.node, subject)
        if seen.shows(ACCEPTED):
            if not failing and not each.failing:
                break
            continue
        before = each.failing.get(subject.tenant_id)
        since = before.since if before is not None else now.isoformat()
        failing[subject.tenant_id] = Failure(since, seen.failures)
        log.warning(
            "canary.not_accepted",
            node=each.node.name,
            tenant_id=subject.tenant_id,
            lookup=seen.lookup,
            registration=seen.registration,
            call=seen.call,
        )
    return failing
