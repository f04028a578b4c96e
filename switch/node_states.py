"""The states of a node and what moves it from one to another: one pure table.

Draining has phases of its own within `draining` and `drained` (switch/draining/states.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class NodeState(StrEnum):
    """Where a node is in its life."""

    JOINING = "joining"
    """Added, never heard of."""
    ACTIVE = "active"
    CUT_OFF = "cut_off"
    """It runs, but gets no answers from the API while others do; its tenants are served elsewhere."""
    DRAINING = "draining"
    DRAINED = "drained"
    """It may be stopped."""
    DEAD = "dead"
    """It served and fell silent; its tenants are served elsewhere."""
    LEFT = "left"
    """Gone for good: not supervised, its questions refused, its name kept for its call records."""


class NodeEvent(StrEnum):
    """What moves a node."""

    HEARD = "heard"
    SILENT = "silent"
    CUT_OFF = "cut_off"
    """It has had no answers from the API for too long, and another node has them (switch/cut_off.py)."""
    ANSWERED = "answered"
    DRAIN = "drain"
    EMPTY = "empty"
    RESUME = "resume"
    LEAVE = "leave"


NEXT: Mapping[tuple[NodeState, NodeEvent], NodeState] = {
    (NodeState.JOINING, NodeEvent.HEARD): NodeState.ACTIVE,
    (NodeState.JOINING, NodeEvent.LEAVE): NodeState.LEFT,
    (NodeState.ACTIVE, NodeEvent.SILENT): NodeState.DEAD,
    (NodeState.ACTIVE, NodeEvent.DRAIN): NodeState.DRAINING,
    (NodeState.ACTIVE, NodeEvent.CUT_OFF): NodeState.CUT_OFF,
    (NodeState.CUT_OFF, NodeEvent.SILENT): NodeState.DEAD,
    (NodeState.CUT_OFF, NodeEvent.DRAIN): NodeState.DRAINING,
    (NodeState.CUT_OFF, NodeEvent.ANSWERED): NodeState.ACTIVE,
    (NodeState.DRAINING, NodeEvent.SILENT): NodeState.DEAD,
    (NodeState.DRAINING, NodeEvent.EMPTY): NodeState.DRAINED,
    (NodeState.DRAINING, NodeEvent.RESUME): NodeState.ACTIVE,
    (NodeState.DRAINED, NodeEvent.RESUME): NodeState.ACTIVE,
    (NodeState.DRAINED, NodeEvent.LEAVE): NodeState.LEFT,
    (NodeState.DEAD, NodeEvent.HEARD): NodeState.ACTIVE,
    (NodeState.DEAD, NodeEvent.LEAVE): NodeState.LEFT,
}
"""Everything else changes nothing; a dead node whose drain was under way is heard again as draining or drained."""


def after(state: str, event: NodeEvent) -> NodeState | None:
    """Where the event moves the node; None when it changes nothing there."""
    return NEXT.get((NodeState(state), event))


def may(state: str, event: NodeEvent) -> bool:
    """Whether the event moves a node that is in this state."""
    return after(state, event) is not None


def states_for(event: NodeEvent) -> tuple[str, ...]:
    """The states in which the event moves a node, for messages."""
    return tuple(state.value for state, moved_by in NEXT if moved_by is event)
