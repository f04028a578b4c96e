"""Carries a drain out, look by look: what the node's supervisor does for it while it holds the node's lease.

Everything that must outlive a supervisor stands in the drain's row. A look reads the row, asks and tells the node, and
writes what has come of it in one transaction that names the lease's fencing number; a look that was overtaken (another
supervisor, a cancellation) writes nothing, and once the lease may have ended the connection tells the node nothing.
Every command is harmless when repeated; what a sleeper says nevertheless, the next look puts right (`pausing.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, logs
from infra.kit.database import PLATFORM, Database, Scope
from switch import listening, node_lease, nodes
from switch.canary_call import CANARY_DESTINATION
from switch.commands import LiveLeg, read_channels
from switch.completeness.models import SeenLeg
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.draining.drains import change_state, find
from switch.draining.models import NodeDrain
from switch.draining.pausing import Pausing
from switch.draining.states import (
    NODE_STATES,
    PAUSED_PHASES,
    UNPAUSED_PHASES,
    Facts,
    Phase,
    after,
    event_of,
    is_open,
    may_end,
    waits_for,
)
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused, EslError
from switch.listening import Place
from switch.models import CallRecord, Node, Placement, SetAsideRecord
from switch.node_lease import WELCOME_NODE, Lease

RETURN_TENANTS = "provisioning.return_tenants"
"""Woken when a drain was cancelled before its end: the tenants it moved come back. It lives above this room."""

DRAIN_CAUSE = "SYSTEM_SHUTDOWN"
"""Hang-up cause in the call records of calls that a drain's deadline ended; a suspension has another."""

MAX_REMEMBERED_LEGS = 5_000
MAX_LEGS_A_LOOK = 200
"""How many new legs are asked for their tenant, and how many are ended, in one look; the rest comes in the next."""

RECORD_MONTHS_BACK = timedelta(days=31)
_UNSET = "_undef_"

log = logs.get(__name__)


@dataclass(slots=True)
class Look:
    """What one look found and did."""

    problem: str | None = None
    is_paused: bool = False
    is_resumed: bool = False
    legs: tuple[LiveLeg, ...] | None = None
    legs_ended: int = 0


class Drainer:
    """Carries out the drains of one node while a lease on it lasts."""

    def __init__(self, database: Database, lease: Lease, *, answer_timeout_seconds: float) -> None:
        self._database = database
        self._lease = lease
        self._timeout_seconds = answer_timeout_seconds

    async def advance(self, connection: EslConnection | None) -> bool:
        """Look once; returns whether the node is, or is being, held out of service.

        `connection` is None while there is none: then only what needs no node is done. Raises `Unavailable` when the
        database is away.
        """
        async with self._database.transaction(Scope.platform()) as session:
            drain = await find(session, self._lease.node_id)
            place = Place.of(await nodes.get(session, self._lease.node_id))
        phase = Phase.CANCELLED if drain is None else Phase(drain.phase)
        if connection is not None and phase in UNPAUSED_PHASES:
            await self._end_pause_left_behind(connection)
        if drain is None or not is_open(phase):
            return False
        look = Look()
        try:
            await self._tell(phase, drain, place, connection, look)
        except EslError as error:
            look.problem = f"{type(error).__name__}: {error}"[:300]
            log.warning("drain.node_not_told", node=self._lease.name, phase=phase.value, reason=look.problem)
        async with self._database.transaction(Scope.platform()) as session:
            return await self._write(session, phase, drain, place, look)

    async def _end_pause_left_behind(self, connection: EslConnection) -> None:
        try:
            if await Pausing(connection, self._timeout_seconds).end_left_behind():
                log.warning("drain.pause_left_behind", node=self._lease.name)
        except EslError as error:
            log.debug("drain.node_not_asked", node=self._lease.name, reason=str(error))

    async def _tell(
        self, phase: Phase, drain: NodeDrain, place: Place, connection: EslConnection | None, look: Look
    ) -> None:
        if phase is Phase.MOVING:
            return
        if connection is None:
            look.problem = "there is no connection to the node at the moment"
            return
        if phase is Phase.CANCELLING:
            # Its addresses may have changed while it was drained; a node that was not started since is where it was.
            look.problem = listening.problem(place, await listening.ask(connection, self._timeout_seconds))
            if look.problem is None:
                look.is_resumed = await Pausing(connection, self._timeout_seconds).resume()
            elif look.problem != drain.problem:
                log.error("node.listens_elsewhere", node=self._lease.name, problem=look.problem)
            return
        if phase in PAUSED_PHASES:
            look.is_paused = await Pausing(connection, self._timeout_seconds).pause()
        listed = read_channels(await self._api(connection, "show channels as json"))
        if listed is None:
            look.problem = "the node did not list its channels"
            return
        look.legs = listed
        await self._learn_tenants(connection, drain, listed)
        if phase is Phase.ENDING:
            look.legs_ended = await self._end_legs(connection, listed, drain.deadline_at)

    async def _api(self, connection: EslConnection, command: str) -> str:
        return await connection.api(command, timeout_seconds=self._timeout_seconds)

    async def _learn_tenants(self, connection: EslConnection, drain: NodeDrain, legs: tuple[LiveLeg, ...]) -> None:
        """Remember whose the legs are, so that their records can be waited for when they have ended."""
        # The canary's record will not be among the tenant's; nor is it worth waiting for who else dials this in vain.
        waited_for = [leg.leg_id for leg in legs if leg.destination != CANARY_DESTINATION]
        unknown = [leg_id for leg_id in waited_for if leg_id not in drain.legs]
        room = max(0, MAX_REMEMBERED_LEGS - len(drain.legs))
        learnt: dict[str, str | None] = {}
        for leg_id in unknown[: min(room, MAX_LEGS_A_LOOK)]:
            tenant_id = await self._variable(connection, leg_id, "seatline_tenant")
            if tenant_id:
                learnt[leg_id] = tenant_id
        drain.legs = {**drain.legs, **learnt}

    async def _variable(self, connection: EslConnection, leg_id: str, name: str) -> str | None:
        """A channel variable; None when it is not set or the leg is gone."""
        try:
            value = (await self._api(connection, f"uuid_getvar {leg_id} {name}")).strip()
        except EslCommandRefused:
            return None
        return None if value in ("", _UNSET) else value

    async def _end_legs(self, connection: EslConnection, legs: tuple[LiveLeg, ...], deadline_at: datetime) -> int:
        """End what may be ended now; returns how many legs FreeSWITCH said it ended."""
        past_deadline = clock.now() - deadline_at
        ended = 0
        # The leg that bills goes first: it takes its cause from us, the other one from the end of the connection.
        towards_carriers = f"sofia/{EXTERNAL_PROFILE}/"
        for leg in sorted(legs, key=lambda leg: not leg.name.startswith(towards_carriers))[:MAX_LEGS_A_LOOK]:
            direction = await self._variable(connection, leg.leg_id, "seatline_direction")
            if not may_end(is_emergency=direction == "emergency", past_deadline=past_deadline):
                continue
            try:
                await self._api(connection, f"uuid_kill {leg.leg_id} {DRAIN_CAUSE}")
            except EslCommandRefused:
                continue  # it has ended by itself, or with the leg before it
            ended += 1
        return ended

    async def _write(self, session: AsyncSession, phase: Phase, seen: NodeDrain, place: Place, look: Look) -> bool:
        """Keep what the look found and make the step that follows, unless it was overtaken."""
        node = await node_lease.held_node(session, self._lease)
        drain = await find(session, self._lease.node_id, for_update=True)
        if node is None or drain is None:
            return False
        if drain.phase != seen.phase or drain.requested_at != seen.requested_at or Place.of(node) != place:
            return is_open(Phase(drain.phase))
        now = clock.now()
        drain.problem = look.problem
        drain.legs_ended += look.legs_ended
        if look.legs is not None:
            drain.legs_left = len(look.legs)
            if drain.legs != seen.legs:
                drain.legs = seen.legs
        facts = await self._facts(session, phase, drain, look, now)
        drain.tenants_left = facts.tenants_left
        if facts.records_awaited is not None:
            drain.records_awaited = facts.records_awaited
        if drain.problem is None:
            drain.problem = waits_for(phase, facts)
            if drain.problem is not None and not seen.problem:
                log.warning("drain.records_missing", node=node.name, records=drain.records_awaited)
        event = event_of(phase, facts)
        if event is not None:
            await self._step(session, node, drain, after(phase, event))
        return is_open(Phase(drain.phase))

    async def _facts(self, session: AsyncSession, phase: Phase, drain: NodeDrain, look: Look, now: datetime) -> Facts:
        served = select(func.count()).where(Placement.serving_node == self._lease.name)
        others = select(func.count()).where(Node.state == "active", Node.node_id != self._lease.node_id)
        # Also once it is drained: what the spool's sweep brings later is no longer missing.
        sweeps = phase in (Phase.SWEEPING, Phase.DRAINED)
        awaited = await _records_awaited(session, drain) if sweeps else None
        return Facts(
            since_request=now - drain.requested_at,
            in_phase=now - drain.phase_changed_at,
            is_past_deadline=now >= drain.deadline_at,
            tenants_left=int((await session.execute(served)).scalar_one()),
            has_refuge=bool((await session.execute(others)).scalar_one()),
            is_paused=look.is_paused,
            is_resumed=look.is_resumed,
            legs_left=None if look.legs is None else len(look.legs),
            records_awaited=awaited,
            is_waived=drain.sweep_waived_because is not None,
        )

    async def _step(self, session: AsyncSession, node: Node, drain: NodeDrain, following: Phase) -> None:
        before = drain.phase
        drain.phase = following.value
        drain.phase_changed_at = clock.now()
        facts = {"name": node.name, "before": before, "legs_left": drain.legs_left, "legs_ended": drain.legs_ended}
        await audit.record(session, PLATFORM, f"node.drain_{following.value}", node.node_id, **facts)
        # A dead node cannot come here before it was heard; then its state is already that of the drain.
        if node.state in NODE_STATES.values():
            change_state(node, NODE_STATES[following])
        if following is Phase.CANCELLED:
            await self._back_in_service(session, drain)
        log.info("drain.step", node=node.name, before=before, phase=following.value)

    async def _back_in_service(self, session: AsyncSession, drain: NodeDrain) -> None:
        lock = f"node:{self._lease.name}"
        await jobs.defer(session, WELCOME_NODE, lock=lock, node=self._lease.name)
        if drain.returns_tenants:
            since = drain.requested_at.isoformat()
            await jobs.defer(session, RETURN_TENANTS, lock=lock, node=self._lease.name, since=since)


async def _records_awaited(session: AsyncSession, drain: NodeDrain) -> int:
    """How many of the drain's legs have sent no record yet, neither by HTTP nor by the sweep of the spool."""
    whose = {leg_id: str(tenant_id) for leg_id, tenant_id in drain.legs.items() if tenant_id is not None}
    if not whose:
        return 0
    earliest = clock.local_date(drain.requested_at - RECORD_MONTHS_BACK).replace(day=1)
    query = select(CallRecord.leg_id).where(
        CallRecord.tenant_id.in_(set(whose.values())),
        CallRecord.month >= earliest,
        CallRecord.leg_id.in_(list(whose)),
    )
    arrived = set((await session.execute(query)).scalars())
    missing = whose.keys() - arrived
    return len(missing - await _told_otherwise(session, missing)) if missing else 0


async def _told_otherwise(session: AsyncSession, leg_ids: Collection[str]) -> set[str]:
    """Of these legs those whose record was set aside, or that no record will come of."""
    set_aside = (
        select(SetAsideRecord.record_id)
        .where(
            SetAsideRecord.boot_id == SeenLeg.boot_id,
            SetAsideRecord.session_number == SeenLeg.session_number,
        )
        .exists()
    )
    query = select(SeenLeg.leg_id).where(SeenLeg.leg_id.in_(list(leg_ids)), SeenLeg.is_void | set_aside)
    return set((await session.execute(query)).scalars())
