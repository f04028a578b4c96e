"""Drains asked for, cancelled and shown. What follows is done by the node's supervisor (`carry_out.py`)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, reasons
from infra.kit.database import PLATFORM
from switch import nodes
from switch.draining.errors import (
    DrainDeadlineRefused,
    DrainPastItsDeadline,
    NodeNotActive,
    NodeNotDraining,
    NodeNotSweeping,
)
from switch.draining.models import NodeDrain
from switch.draining.states import (
    MOVABLE_DEADLINE_PHASES,
    NODE_STATES,
    Event,
    Phase,
    StepRefused,
    after,
    is_open,
    tenants_return_at_once,
)
from switch.models import Node
from switch.node_lease import EVACUATE_NODE
from switch.node_states import NodeEvent, may, states_for

DEFAULT_DEADLINE = timedelta(minutes=30)
LONGEST_DEADLINE = timedelta(days=7)
REASON_LIMIT_CHARACTERS = 500


async def request(session: AsyncSession, node_id: str, *, deadline: datetime | None = None) -> Node:
    """Begin to drain a node in service (its id or name); calls that run at `deadline` (default: 30 minutes) are ended.

    For a node whose drain still waits for calls it sets another deadline. Raises `NodeUnknown`, `NodeNotActive`,
    `DrainPastItsDeadline`, `DrainDeadlineRefused`.
    """
    node = await nodes.find_locked(session, node_id)
    now = clock.now()
    deadline = _checked_deadline(deadline or now + DEFAULT_DEADLINE, now)
    drain = await find(session, node.node_id)
    if drain is not None and is_open(Phase(drain.phase)):
        if Phase(drain.phase) not in MOVABLE_DEADLINE_PHASES:
            raise DrainPastItsDeadline(
                f"The drain of {node.name} is {drain.phase}; its deadline makes no difference any more."
            )
        drain.deadline_at = deadline
        await _note(session, node, "node.drain_deadline_moved", deadline)
        return node
    if not may(node.state, NodeEvent.DRAIN):
        states = " or ".join(states_for(NodeEvent.DRAIN))
        raise NodeNotActive(f"The node {node.name} is {node.state}; only one that is {states} is drained.")
    if drain is None:
        drain = NodeDrain(node_id=node.node_id)
        session.add(drain)
    drain.phase = Phase.MOVING.value
    drain.requested_at = drain.phase_changed_at = now
    drain.deadline_at = deadline
    drain.tenants_left = drain.legs_ended = 0
    drain.legs_left = drain.records_awaited = drain.problem = drain.sweep_waived_because = None
    drain.legs = {}
    drain.returns_tenants = False
    change_state(node, NODE_STATES[Phase.MOVING])
    await session.flush()
    await _note(session, node, "node.drain_requested", deadline)
    await jobs.defer(session, EVACUATE_NODE, lock=f"node:{node.name}", node=node.name)
    return node


async def cancel(session: AsyncSession, node_id: str) -> Node:
    """Give a draining or drained node back to service; its tenants come back, at once where it had not finished.

    Cancelling twice changes nothing. Raises `NodeUnknown`, `NodeNotDraining`.
    """
    node = await nodes.find_locked(session, node_id)
    drain = await find(session, node.node_id)
    phase = Phase(drain.phase) if drain is not None else Phase.CANCELLED
    if drain is None or not is_open(phase):
        raise NodeNotDraining(f"The node {node.name} is not being drained.")
    if phase is Phase.CANCELLING:
        return node
    try:
        drain.phase = after(phase, Event.CANCEL).value
    except StepRefused as refused:
        raise NodeNotDraining(f"The drain of {node.name} is {phase.value}.") from refused
    drain.phase_changed_at = clock.now()
    drain.returns_tenants = tenants_return_at_once(phase)
    drain.problem = None
    if node.state in NODE_STATES.values():  # a dead node stays dead until it answers
        change_state(node, NODE_STATES[Phase.CANCELLING])
    await audit.record(session, PLATFORM, "node.drain_cancelled", node.node_id, name=node.name, phase=phase.value)
    return node


def is_still_empty(drain: NodeDrain | None) -> bool:
    """Whether a node was drained to the end and is being given back, but takes nothing yet."""
    return drain is not None and drain.phase == Phase.CANCELLING.value and not drain.returns_tenants


async def end_sweep(session: AsyncSession, node_id: str, *, reason: str) -> Node:
    """Go on without the records that a sweeping node still owes; they stay counted as missing until they come.

    Doing so again changes nothing. Raises `NodeUnknown`, `NodeNotSweeping`, `InvalidInput`.
    """
    words = reasons.given(reason, limit_characters=REASON_LIMIT_CHARACTERS)
    node = await nodes.find_locked(session, node_id)
    drain = await find(session, node.node_id)
    if drain is None or drain.phase != Phase.SWEEPING.value:
        phase = "not being drained" if drain is None else drain.phase
        raise NodeNotSweeping(f"The node {node.name} is {phase}; it waits for no records.")
    if drain.sweep_waived_because is None:
        drain.sweep_waived_because = words
        facts = {"name": node.name, "reason": words, "records": drain.records_awaited}
        await audit.record(session, PLATFORM, "node.sweep_ended", node.node_id, **facts)
    return node


async def find(session: AsyncSession, node_id: str, *, for_update: bool = False) -> NodeDrain | None:
    """The latest drain of a node. Who changes it holds the node's row locked first."""
    query = select(NodeDrain).where(NodeDrain.node_id == node_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one_or_none()


async def of_nodes(session: AsyncSession, node_ids: Collection[str]) -> dict[str, NodeDrain]:
    """The latest drain of each of these nodes that has had one."""
    query = select(NodeDrain).where(NodeDrain.node_id.in_(list(node_ids)))
    return {drain.node_id: drain for drain in (await session.execute(query)).scalars()}


def change_state(node: Node, state: str) -> None:
    """Another state of a node's row, which the caller holds locked."""
    if node.state != state:
        node.state = state
        node.state_changed_at = clock.now()
        node.generation += 1


def _checked_deadline(deadline: datetime, now: datetime) -> datetime:
    if deadline.tzinfo is None:
        raise DrainDeadlineRefused(
            "Give the deadline with its offset, such as 2026-07-01T22:00:00+08:00.", field="deadline"
        )
    if not now < deadline <= now + LONGEST_DEADLINE:
        raise DrainDeadlineRefused(
            f"A deadline lies ahead, at most {LONGEST_DEADLINE.days} days; it is {now.isoformat()} now.",
            field="deadline",
        )
    return deadline


async def _note(session: AsyncSession, node: Node, action: str, deadline: datetime) -> None:
    await audit.record(session, PLATFORM, action, node.node_id, name=node.name, deadline=deadline.isoformat())
