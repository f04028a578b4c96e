"""Watches the cluster, look by look, and keeps faults in step with what is seen (C11, rule 9).

A look reads states, not events: however many events storm in, a look costs the same, and there is one observation at a
time of one tenant, kind and node. Everything that must outlive a worker stands in tables.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.outages import history, observed
from billing.outages.observed import Seen
from billing.rules.book import Span
from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.jobs import Runtime
from infra.kit.problems import Unavailable
from provisioning.models import Seat
from provisioning.outages import canaries, conditions, phones, tunnel_gateways
from provisioning.outages.conditions import Condition
from provisioning.outages.models import Observation
from provisioning.rules import observed_faults as rules
from provisioning.rules.observed_faults import Kind, Step
from switch.canary import Probe

LOOK_AFTER_EVERY = timedelta(minutes=10)
"""How often an observation that goes on is looked after: contracts that open meanwhile get their fault, from the same
beginning on. It is a transaction a tenant, and thousands may wait for one node."""

_INSTANT = timedelta(microseconds=1)
OPEN, SUSPECTED, ENDED = "open", "suspected", "ended"
Key = tuple[str, str, str]

log = logs.get(__name__)


class FaultsNotRecorded(Exception):
    """What was seen could not be recorded for some tenants; it was for all others. The next look tries again."""


async def look(runtime: Runtime, *, probe: Probe | None = None) -> None:
    """Look once at everything and make the steps that follow, one transaction a tenant.

    Raises `FaultsNotRecorded` when a tenant failed, after all others.
    """
    now = clock.now()
    try:
        await canaries.look(runtime, now, probe=probe)
    except Unavailable:
        raise
    except Exception:  # whatever else is wrong is to be seen all the same
        log.exception("canary.not_tried")
    async with runtime.database.transaction(Scope.platform()) as session:
        seen = [
            *await conditions.nodes_down(session, now),
            *await conditions.gateways_down(session, now),
            *await phones.registrations_lost(session, now),
            *await canaries.canary_failing(session),
            *await tunnel_gateways.tunnel_gateways_down(session, now),
        ]
        query = select(Observation).where(Observation.state.in_((SUSPECTED, OPEN)))
        known = {(row.tenant_id, row.kind, row.subject): row for row in (await session.execute(query)).scalars()}
        began = min((each.began_at for each in seen), default=now)
        windows = await history.maintenance_within(session, Span(min(began, now), now + _INSTANT))
    by_tenant: defaultdict[str, dict[Key, Condition]] = defaultdict(dict)
    for each in seen:
        by_tenant[each.tenant_id][each.key] = each
    opened: Counter[tuple[str, str]] = Counter()
    failed: list[str] = []
    for tenant_id in sorted(by_tenant.keys() | {key[0] for key in known}):
        of_tenant = {key: row for key, row in known.items() if key[0] == tenant_id}
        if _is_settled(by_tenant.get(tenant_id, {}), of_tenant, now):
            continue
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                tenant_look = _TenantLook(session, tenant_id, now, windows)
                opened.update(await tenant_look.take(by_tenant.get(tenant_id, {}), of_tenant))
        except Exception:  # the other tenants are not to wait for this one
            log.exception("observation.not_recorded", tenant_id=tenant_id)
            failed.append(tenant_id)
    for (kind, subject), tenants in sorted(opened.items()):
        log.error("observation.opened", kind=kind, subject=subject, tenants=tenants)
    if failed:
        raise FaultsNotRecorded(f"What was seen is not recorded for {', '.join(failed)}; see the log.")


async def keep_in_mind(session: AsyncSession, tenant_id: str) -> None:
    """Before a tenant leaves a node that is lost: keep since when it has waited, where nobody has seen that yet.

    So a worker that was away, and moves the tenant with the first thing that it does, leaves what is to be credited.
    """
    now = clock.now()
    seen = await conditions.nodes_down(session, now, tenant_id=tenant_id)
    seen = [each for each in seen if rules.was_fault(each.kind, each.began_at, now)]
    if seen:
        span = Span(min(now, *(each.began_at for each in seen)), now + _INSTANT)
        tenant_look = _TenantLook(session, tenant_id, now, await history.maintenance_within(session, span))
        for each in seen:
            await tenant_look.suspect(each)


def _is_settled(seen: Mapping[Key, Condition], known: Mapping[Key, Observation], now: datetime) -> bool:
    """Whether nothing is to be done for a tenant: what is seen goes on, and was looked after or has to last longer."""
    return seen.keys() == known.keys() and all(
        row.cleared_at is None
        and (
            now - row.seen_at < LOOK_AFTER_EVERY and (row.cause is not None or seen[key].cause is None)
            if row.state == OPEN
            else not rules.was_fault(Kind(row.kind), row.began_at, now)
        )
        for key, row in known.items()
    )


class _TenantLook:
    """One look at one tenant, in one transaction."""

    def __init__(self, session: AsyncSession, tenant_id: str, now: datetime, windows: Sequence[Span]) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._now = now
        self._windows = windows
        self._is_planned = any(each.begins <= now < each.ends for each in windows)

    async def take(self, seen: Mapping[Key, Condition], known: Iterable[Key]) -> list[tuple[str, str]]:
        """Bring every observation of the tenant in step with what is seen; returns kind and node of those opened."""
        opened: list[tuple[str, str]] = []
        for key in sorted({*seen, *known}):
            condition = seen.get(key)
            row = await self._locked(key)
            if row is not None:
                if await self._step(row, condition):
                    opened.append((row.kind, row.subject))
            elif condition is not None:  # seen for the first time: no fault before it is seen again
                await self.suspect(condition)
        return opened

    async def _locked(self, key: Key) -> Observation | None:
        query = (
            select(Observation)
            .where(
                Observation.tenant_id == key[0],
                Observation.kind == key[1],
                Observation.subject == key[2],
                Observation.state.in_((SUSPECTED, OPEN)),
            )
            .with_for_update()
        )
        return (await self._session.execute(query)).scalar_one_or_none()

    async def suspect(self, condition: Condition) -> None:
        """Something new; what begins within planned maintenance is none (rule 10: its overrun is)."""
        began_at = self._outside_windows(condition.began_at)
        if self._is_planned or began_at > self._now:
            return
        statement = insert(Observation).values(
            tenant_id=self._tenant_id,
            observation_id=new_id("obs"),
            kind=condition.kind.value,
            subject=condition.subject,
            cause=condition.cause,
            extensions=None if condition.extensions is None else list(condition.extensions),
            state=SUSPECTED,
            note=condition.note,
            began_at=began_at,
            seen_at=self._now,
            cleared_at=None,
            ended_at=None,
        )
        await self._session.execute(statement.on_conflict_do_nothing())  # somebody else sees the same at this moment

    def _outside_windows(self, began_at: datetime) -> datetime:
        return rules.begins_outside_windows(began_at, [(window.begins, window.ends) for window in self._windows])

    async def _step(self, row: Observation, condition: Condition | None) -> bool:
        """Make the step that follows; returns whether the observation has become a fault."""
        was_open = row.state == OPEN
        if condition is not None and not was_open and rules.has_looked_away(row.seen_at, self._now):
            # Nobody knows what was meanwhile: it has lasted as long as what is seen now.
            row.began_at = max(row.began_at, self._outside_windows(condition.began_at))
        step = rules.step(
            Kind(row.kind),
            is_open=was_open,
            is_seen=condition is not None,
            began_at=row.began_at,
            cleared_at=row.cleared_at,
            now=self._now,
        )
        if condition is not None:
            row.seen_at, row.cleared_at = self._now, None
            row.note = row.note if was_open else condition.note
        if step is Step.OPEN and not self._is_planned:
            row.state = OPEN
        elif step is Step.FORGET:
            await self._session.delete(row)
        elif step is Step.CLEARED:
            again = await self._over_since(row)
            row.cleared_at = over_at = min(again or self._now, self._now)
            if again is not None and not was_open and rules.was_fault(Kind(row.kind), row.began_at, over_at):
                row.state = OPEN  # it was over before somebody looked for the second time; it ends as any other
                await self._keep_faults(row, row.cause, row.note)
        elif step is Step.END:
            row.state, row.ended_at = ENDED, row.cleared_at
            await observed.end(self._session, self._tenant_id, row.observation_id, row.cleared_at or self._now)
        if row.state == OPEN and condition is not None:
            await self._keep_faults(row, condition.cause, condition.note)
        return row.state == OPEN and not was_open

    async def _over_since(self, row: Observation) -> datetime | None:
        """When it really was over, where that is known; this may be long after it, if nobody looked meanwhile."""
        if row.kind == Kind.NODE_DOWN.value:
            return await conditions.served_again_at(self._session, self._tenant_id, row.subject, row.began_at)
        if row.kind == Kind.GATEWAYS_DOWN.value:
            return await conditions.gateways_again_at(self._session, self._tenant_id, row.subject, row.began_at)
        return None

    async def _keep_faults(self, row: Observation, cause: str | None, note: str) -> None:
        """A fault for each contract that it concerns, also one that has opened since; its cause once it is clear."""
        if row.cause is None and cause is not None:
            row.cause = cause
            await observed.decide(self._session, self._tenant_id, row.observation_id, cause, note)
        seen = Seen(observation_id=row.observation_id, cause=row.cause, began_at=row.began_at, note=row.note)
        await observed.record(self._session, self._tenant_id, seen, await self._numbers(row.extensions))

    async def _numbers(self, extensions: Sequence[str] | None) -> dict[str, list[int]] | None:
        """The numbers of the seats with these extensions, by contract."""
        if extensions is None:
            return None
        query = select(Seat.contract_id, Seat.number).where(
            Seat.tenant_id == self._tenant_id,
            Seat.item == "seat",
            Seat.state == "open",
            Seat.extension.in_(list(extensions)),
        )
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for contract_id, number in await self._session.execute(query):
            numbers[contract_id].append(number)
        return dict(numbers)
