"""Who supervises a node: a lease on the node's row that ends by itself, with a fencing number.

Only the holder writes what it sees of a node, and every write names its fencing number: a supervisor that slept
through the end of its lease finds that its writes no longer count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, logs
from infra.kit.database import PLATFORM
from switch import listening
from switch.completeness import counting
from switch.completeness.counting import SessionCount
from switch.cut_off import Answers
from switch.draining.return_state import state_when_heard
from switch.listening import Place
from switch.models import Node
from switch.node_answers import note
from switch.node_states import NodeEvent, NodeState, may

EVACUATE_NODE = "provisioning.evacuate_node"
"""Woken when a node dies or is cut off: its tenants move to their spares. It lives above this room."""

WELCOME_NODE = "provisioning.welcome_node"
"""Woken when a node that was dead or cut off is back. It lives above this room."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to supervise a node, until it is lost."""

    node_id: str
    name: str
    holder: str
    fencing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a supervisor saw since its last report.

    `is_heard`: the node answered or sent a heartbeat. `is_silent`: it has not done so for too long. `version`: of
    FreeSWITCH, None when it was not told. `sessions`: how many its boot has begun, None while that is unknown.
    `answers`: what is known of the answers that it gets from the API. `profiles`: what it says of its SIP profiles;
    None: it was not asked.
    """

    is_heard: bool
    is_silent: bool
    version: str | None
    sessions: SessionCount | None = None
    answers: Answers | None = None
    profiles: str | None = None


async def claim(session: AsyncSession, node_id: str, holder: str, *, lease_seconds: float) -> Lease | None:
    """Take a node whose lease is free or over; None while another holder has it."""
    now = clock.now()
    claimed = await session.execute(
        update(Node)
        .where(
            Node.node_id == node_id,
            Node.state != "left",
            or_(Node.supervisor.is_(None), Node.supervised_until.is_(None), Node.supervised_until < now),
        )
        .values(
            supervisor=holder,
            supervised_until=now + timedelta(seconds=lease_seconds),
            fencing=Node.fencing + 1,
        )
        .returning(Node.name, Node.fencing)
    )
    row = claimed.one_or_none()
    return None if row is None else Lease(node_id, row[0], holder, row[1])


async def release(session: AsyncSession, lease: Lease) -> None:
    """Give a lease back, so that another process need not wait for its end."""
    await session.execute(update(Node).where(_held(lease)).values(supervisor=None, supervised_until=None))


async def report(session: AsyncSession, lease: Lease, sighting: Sighting, *, lease_seconds: float) -> str | None:
    """Renew the lease and write what was seen; returns the node's state now, or None when the lease is lost.

    A joining or dead node that is heard becomes active, or goes on with its drain, but not where it takes SIP elsewhere
    than its row says: then it stays what it is. A live node that is silent for too
    long becomes dead; an active node that alone gets no answers is cut off until it gets some. The jobs that follow
    from it are woken in this transaction.
    """
    node = await held_node(session, lease)
    if node is None:
        return None
    now = clock.now()
    if sighting.sessions is not None:
        await counting.observe(session, node.name, sighting.sessions, added_at=node.created_at)
    node.supervised_until = now + timedelta(seconds=lease_seconds)
    if sighting.is_heard:
        node.heartbeat_at = now
        node.version = sighting.version or node.version
    event = await note(session, node, sighting.answers, now) if sighting.answers is not None else None
    if sighting.is_heard and may(node.state, NodeEvent.HEARD):
        state = await state_when_heard(session, node.node_id)
        if state != NodeState.ACTIVE.value or _is_in_its_place(node, sighting):
            await _change(session, node, state, wake=WELCOME_NODE if node.state == "dead" else None)
    elif sighting.is_silent and may(node.state, NodeEvent.SILENT):
        await _change(session, node, "dead", wake=EVACUATE_NODE)
    elif event is NodeEvent.CUT_OFF:
        await _change(session, node, NodeState.CUT_OFF.value, wake=EVACUATE_NODE)
    elif event is NodeEvent.ANSWERED and may(node.state, event):
        await _change(session, node, NodeState.ACTIVE.value, wake=WELCOME_NODE)
    return node.state


def _is_in_its_place(node: Node, sighting: Sighting) -> bool:
    return sighting.profiles is None or listening.problem(Place.of(node), sighting.profiles) is None


async def held_node(session: AsyncSession, lease: Lease) -> Node | None:
    """The node's row, locked until the transaction ends; None when the lease is lost."""
    query = select(Node).where(_held(lease)).with_for_update().execution_options(populate_existing=True)
    return (await session.execute(query)).scalar_one_or_none()


def _held(lease: Lease) -> ColumnElement[bool]:
    return (Node.node_id == lease.node_id) & (Node.supervisor == lease.holder) & (Node.fencing == lease.fencing)


async def _change(session: AsyncSession, node: Node, state: str, *, wake: str | None) -> None:
    before = node.state
    node.state = state
    node.state_changed_at = clock.now()
    node.generation += 1
    await audit.record(session, PLATFORM, f"node.{state}", node.node_id, name=node.name, before=before)
    if wake is not None:
        await jobs.defer(session, wake, lock=f"node:{node.name}", node=node.name)
    log.warning(f"node.{state}", node=node.name, before=before)
