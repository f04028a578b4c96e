"""Carries maintenance windows through the cluster, step by step (C12, rule 10; `provisioning/rules/turns.py`).

Where a window stands is in tables, and each step is one transaction that changes the node's drain and that place
together: whichever worker comes next carries on, and a step made twice is one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.outages import windows
from billing.outages.models import MaintenanceWindow
from infra.kit import audit, clock, logs
from infra.kit.database import PLATFORM, Scope
from infra.kit.jobs import Runtime
from provisioning.outages.models import WindowNode
from provisioning.rules import turns as rules
from provisioning.rules.turns import Move, Place, Turn, Window
from switch.draining import drains
from switch.draining.errors import NodeNotDraining
from switch.draining.models import NodeDrain
from switch.draining.states import Phase, is_open
from switch.models import Node

MAX_STEPS_A_LOOK = 500
REMIND_AFTER = timedelta(days=1)
NOT_BACK = "It is not back at the window's scheduled end."

log = logs.get(__name__)


class WindowsNotConducted(Exception):
    """A window could not be carried on; the others were. The next look tries again."""


async def conduct(runtime: Runtime) -> None:
    """Make every step that is due now in every window that has begun or still has nodes out."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await _note_unclosed(session)
    async with runtime.database.transaction(Scope.platform()) as session:
        window_ids = await _under_way(session)
    failed: list[str] = []
    for window_id in window_ids:
        try:
            for _ in range(MAX_STEPS_A_LOOK):
                async with runtime.database.transaction(Scope.platform()) as session:
                    if not await _step(session, window_id):
                        break
        except Exception:  # another window is not to wait for this one
            log.exception("maintenance.not_conducted", window_id=window_id)
            failed.append(window_id)
    if failed:
        raise WindowsNotConducted(f"Maintenance is held up in {', '.join(failed)}; see the log.")


async def nodes_of(session: AsyncSession, window_id: str, *, for_update: bool = False) -> list[WindowNode]:
    """Where the nodes of a window stand, by their order; none before it begins."""
    query = select(WindowNode).where(WindowNode.window_id == window_id).order_by(WindowNode.place)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    return list((await session.execute(query)).scalars())


async def _under_way(session: AsyncSession) -> list[str]:
    """Windows with nodes whose time has come and that are not closed, and those that have nodes to give back."""
    out = select(WindowNode.window_id).where(WindowNode.settled_at.is_(None))
    begun = select(MaintenanceWindow.window_id).where(
        MaintenanceWindow.state.in_(windows.PLANNED),
        MaintenanceWindow.begins_at <= clock.now(),
        MaintenanceWindow.nodes != [],
    )
    return sorted({*(await session.execute(out)).scalars(), *(await session.execute(begun)).scalars()})


async def _step(session: AsyncSession, window_id: str) -> bool:
    """Make the next step of a window; returns whether there was one."""
    await _lock_all(session)
    window = await windows.find(session, window_id, for_update=True)
    now = clock.now()
    span = Window(window.begins_at, window.ends_at, holds=window.state in windows.PLANNED)
    places = await nodes_of(session, window_id, for_update=True)
    if not places:
        if not span.holds or now < window.begins_at or not window.nodes:
            return False
        await _begin(session, window)
        return True
    known = await _turns(session, places)
    if rules.is_over(span, known):
        # The work was over when the last node was back; where none had its turn there was no work to overrun.
        back = [each.settled_at for each in places if each.state == Place.BACK and each.settled_at is not None]
        await windows.close(session, window_id=window_id, ended_at=max(back, default=min(now, window.ends_at)))
        return True
    if span.holds and now >= window.ends_at:
        in_service = {turn.node for turn in known if turn.is_in_service}
        _note_overrun(window_id, [each for each in places if each.node not in in_service])
    move = rules.next_move(span, known, now)
    if move is None or (move[1] is Move.DRAIN and await _is_another_out(session, window_id)):
        return False
    await _make(session, window, places, *move)
    return True


async def _lock_all(session: AsyncSession) -> None:
    """Lock every window that is under way, in the same order for everybody: two windows must not take a node each."""
    query = select(MaintenanceWindow.window_id).where(MaintenanceWindow.window_id.in_(await _under_way(session)))
    await session.execute(query.order_by(MaintenanceWindow.window_id).with_for_update())


async def _is_another_out(session: AsyncSession, window_id: str) -> bool:
    """Whether a window beside this one has a node out, for which this one's next has to wait."""
    on_the_way = [each.value for each in rules.ON_THE_WAY]
    query = select(WindowNode.node).where(WindowNode.window_id != window_id, WindowNode.state.in_(on_the_way)).limit(1)
    return (await session.execute(query)).first() is not None


def _note_overrun(window_id: str, places: Sequence[WindowNode]) -> None:
    """Say once of each node that is not back in time; the fault is recorded when the window is closed (rule 10)."""
    for each in places:
        if each.state in rules.ON_THE_WAY and each.note != NOT_BACK:
            each.note = NOT_BACK
            log.error("maintenance.overrun", window_id=window_id, node=each.node)


async def _note_unclosed(session: AsyncSession) -> None:
    """Raise an alarm for each window without nodes that nobody has closed at its scheduled end, and again every day.

    Whether that work goes on only people know. So its overrun lasts until somebody says since when it is over, and is
    then the fault that it was all the time (rule 10).
    """
    now = clock.now()
    noted = MaintenanceWindow.overrun_noted_at
    query = (
        select(MaintenanceWindow)
        .where(
            MaintenanceWindow.state.in_(windows.PLANNED),
            MaintenanceWindow.nodes == [],
            MaintenanceWindow.ends_at <= now,
            noted.is_(None) | (noted <= now - REMIND_AFTER),
        )
        .order_by(MaintenanceWindow.window_id)
        .with_for_update()
    )
    for window in (await session.execute(query)).scalars():
        ends_at = window.ends_at.isoformat()
        if window.overrun_noted_at is None:
            await audit.record(session, PLATFORM, "maintenance_window.overruns", window.window_id, ends_at=ends_at)
        window.overrun_noted_at = now
        log.error("maintenance.not_closed", window_id=window.window_id, ends_at=ends_at)


async def _begin(session: AsyncSession, window: MaintenanceWindow) -> None:
    session.add_all(
        WindowNode(
            window_id=window.window_id,
            node=name,
            place=place,
            state=Place.WAITING.value,
            is_done=False,
            turn_began_at=None,
            turn_ends_at=None,
            settled_at=None,
            note=None,
        )
        for place, name in enumerate(window.nodes, start=1)
    )
    await session.flush()
    await audit.record(session, PLATFORM, "maintenance_window.begun", window.window_id, nodes=list(window.nodes))


async def _turns(session: AsyncSession, places: Sequence[WindowNode]) -> list[Turn]:
    """What the rule has to know of the window's nodes."""
    query = (
        select(Node.name, Node.state, NodeDrain.phase)
        .outerjoin(NodeDrain, NodeDrain.node_id == Node.node_id)
        .where(Node.name.in_([each.node for each in places]))
    )
    facts = {name: (state, phase) for name, state, phase in await session.execute(query)}
    known: list[Turn] = []
    for each in places:
        state, phase = facts.get(each.node, ("left", None))
        known.append(
            Turn(
                node=each.node,
                place=Place(each.state),
                is_done=each.is_done,
                ends_at=each.turn_ends_at,
                is_in_service=state == "active",
                is_drained=phase == Phase.DRAINED,
                is_kept_out=phase is not None and is_open(Phase(phase)) and phase != Phase.CANCELLING,
                has_left=state == "left",
            )
        )
    return known


async def _make(
    session: AsyncSession, window: MaintenanceWindow, places: Sequence[WindowNode], name: str, move: Move
) -> None:
    """Change the node's drain and its place in the window together."""
    now = clock.now()
    place = next(each for each in places if each.node == name)
    facts: dict[str, object] = {"node": name}
    if move is Move.DRAIN:
        waiting = sum(each.state == Place.WAITING for each in places)
        span = Window(window.begins_at, window.ends_at)
        ends_at = rules.turn_ends_at(span, waiting, now)
        await drains.request(session, name, deadline=rules.drain_deadline(now, ends_at))
        place.state, place.turn_began_at, place.turn_ends_at = Place.DRAINING.value, now, ends_at
        facts["turn_ends_at"] = ends_at.isoformat()
    elif move is Move.MARK_OUT:
        place.state = Place.OUT.value
    elif move is Move.GIVE_BACK:
        try:
            await drains.cancel(session, name)
        except NodeNotDraining:
            place.note = "Somebody else gave it back."
        place.state = Place.RETURNING.value
    elif move is Move.MARK_BACK:
        place.state, place.settled_at = Place.BACK.value, await _back_since(session, place, now)
    else:
        place.state, place.settled_at = Place.SKIPPED.value, now
        place.note = await _why_skipped(session, window, name)
        facts["note"] = place.note
    await session.flush()
    await audit.record(session, PLATFORM, f"maintenance_window.node_{place.state}", window.window_id, **facts)
    log.info("maintenance.step", window_id=window.window_id, node=name, place=place.state)


async def _back_since(session: AsyncSession, place: WindowNode, now: datetime) -> datetime:
    """When a node came back (or left for good), which may be long before somebody looked: no overrun by that."""
    changed_at = (await session.execute(select(Node.state_changed_at).where(Node.name == place.node))).scalar()
    return max(place.turn_began_at or now, min(changed_at or now, now))


async def _why_skipped(session: AsyncSession, window: MaintenanceWindow, name: str) -> str:
    if window.state not in windows.PLANNED:
        return f"The window is {window.state}."
    state = (await session.execute(select(Node.state).where(Node.name == name))).scalar()
    return "No time was left for it." if state == "active" else f"It was {state or 'left'} when its turn came."
