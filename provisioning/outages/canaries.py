"""The regular canary: on every node in service the system signs in as a tenant's phone would.

One tenant a node and look, each in its turn; where that fails two more are asked, because one tenant alone that cannot
sign in is another thing than a node at which nobody can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.outages.conditions import Condition
from provisioning.outages.models import CanaryWatch
from provisioning.rules.observed_faults import Kind, has_looked_away
from switch import accounts
from switch.canary import NodeProbe, Observation, Probe, Subject
from switch.commands import NodeControl
from switch.models import Node, Placement
from tenancy.models import Tenant

TENANTS_WHEN_FAILING = 3
MAX_NODES_AT_ONCE = 50
ACCEPTED = "accepted"

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """The tries at one node: who is to be asked, in this order."""

    node: Node
    subjects: tuple[Subject, ...]
    failing: dict[str, str]
    """Tenant to since when, ISO 8601, as the last look left it."""

    @property
    def last_in_turn(self) -> str:
        """Whom the next look goes on from. Where some fail all are asked; those that failed before are no turn."""
        in_turn = [each.tenant_id for each in self.subjects if each.tenant_id not in self.failing]
        if not in_turn:
            return self.subjects[-1].tenant_id
        return in_turn[-1] if self.failing else in_turn[0]


async def look(runtime: Runtime, now: datetime, *, probe: Probe | None = None) -> None:
    """Try every active node once and keep what came of it; `failing` of here makes conditions."""
    async with runtime.database.transaction(Scope.platform()) as session:
        rounds = await _rounds(session, now)
    probe = probe or NodeProbe(NodeControl.of(runtime), runtime.settings.switch_command_timeout_seconds)
    at_once = asyncio.Semaphore(MAX_NODES_AT_ONCE)

    async def try_node(each: Round) -> tuple[Round, dict[str, str]]:
        async with at_once:
            return each, await _failing(each, probe, now)

    tried = await asyncio.gather(*(try_node(each) for each in rounds))
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(delete(CanaryWatch).where(CanaryWatch.node.not_in([each.node.name for each in rounds])))
        for each, failing in tried:
            values = {"last_tenant_id": each.last_in_turn, "failing": failing, "looked_at": now}
            upsert = insert(CanaryWatch).values(node=each.node.name, **values)
            await session.execute(upsert.on_conflict_do_update(index_elements=["node"], set_=values))


async def canary_failing(session: AsyncSession) -> list[Condition]:
    """Tenants whose canary failed at their node; where every tenant that was tried failed, all that it serves."""
    found: list[Condition] = []
    for watch in (await session.execute(select(CanaryWatch).order_by(CanaryWatch.node))).scalars():
        if not watch.failing:
            continue
        served = list((await session.execute(_served(watch.node))).scalars())
        is_everybody = len(watch.failing.keys() & set(served)) >= min(TENANTS_WHEN_FAILING, len(served))
        for tenant_id in served if is_everybody else [each for each in served if each in watch.failing]:
            since = watch.failing.get(tenant_id) or min(watch.failing.values())
            found.append(
                Condition(
                    tenant_id=tenant_id,
                    kind=Kind.CANARY_FAILING,
                    subject=watch.node,
                    began_at=datetime.fromisoformat(since),
                    cause="operator",
                    note=f"The system itself cannot sign in at {watch.node} as a phone would.",
                )
            )
    return found


def _served(node: str) -> Select[str]:
    return (
        select(Tenant.tenant_id)
        .join(Placement, Placement.tenant_id == Tenant.tenant_id)
        .where(Placement.serving_node == node, Tenant.standing == "active")
        .order_by(Tenant.tenant_id)
    )


async def _rounds(session: AsyncSession, now: datetime) -> list[Round]:
    """Every active node with the tenants to try: those that failed first, then on from the one tried last.

    What failed before a time in which nobody tried says nothing of now.
    """
    watches = {row.node: row for row in (await session.execute(select(CanaryWatch))).scalars()}
    active = (await session.execute(select(Node).where(Node.state == "active").order_by(Node.name))).scalars().all()
    rounds: list[Round] = []
    for node in active:
        served = list((await session.execute(_served(node.name))).scalars())
        if not served:
            continue
        watch = watches.get(node.name)
        known = None if watch is None or has_looked_away(watch.looked_at, now) else watch
        failing = {each: since for each, since in (known.failing if known else {}).items() if each in served}
        after = watch.last_tenant_id if watch else ""
        turn = [each for each in served if each > after] + [each for each in served if each <= after]
        wanted = (sorted(failing) + [each for each in turn if each not in failing])[:TENANTS_WHEN_FAILING]
        rounds.append(Round(node, await _subjects(session, node, wanted), failing))
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


async def _failing(each: Round, probe: Probe, now: datetime) -> dict[str, str]:
    """Who fails now, since when: the first one is asked, the others only where it fails or failed before."""
    failing: dict[str, str] = {}
    for subject in each.subjects:
        seen: Observation = await probe(each.node, subject)
        if seen.shows(ACCEPTED):
            if not failing and not each.failing:
                break
            continue
        failing[subject.tenant_id] = each.failing.get(subject.tenant_id) or now.isoformat()
        log.warning(
            "canary.not_accepted",
            node=each.node.name,
            tenant_id=subject.tenant_id,
            lookup=seen.lookup,
            registration=seen.registration,
        )
    return failing
