"""How a maintenance window goes through its nodes: one after another, each for its turn (C12, rule 10). Pure.

A node's turn is an equal share of the time that is left for the nodes that are left. It is drained, its calls may end
by themselves for half of its turn (half an hour at most), then it is out and people work on it. It is given back when
somebody says that the work is done, at the latest when its turn is over, and the next one waits until it is back: so
never more than one node of a window is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Place(StrEnum):
    """Where a node stands within its window."""

    WAITING = "waiting"
    DRAINING = "draining"
    OUT = "out"
    """No call is left on it; people work on it."""
    RETURNING = "returning"
    """It is being given back; it has to answer first."""
    BACK = "back"
    SKIPPED = "skipped"
    """It had no turn: it was not in service, or no time was left."""


SETTLED = frozenset({Place.BACK, Place.SKIPPED})
ON_THE_WAY = frozenset({Place.DRAINING, Place.OUT, Place.RETURNING})

RETURN_SHARE = 10
LONGEST_RETURN = timedelta(minutes=10)
"""The last tenth of a window, ten minutes at most, is for giving the last node back."""

LONGEST_DRAIN = timedelta(minutes=30)


class Move(StrEnum):
    """What is to be done with a node."""

    DRAIN = "drain"
    SKIP = "skip"
    MARK_OUT = "mark_out"
    GIVE_BACK = "give_back"
    MARK_BACK = "mark_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is known of a node of the window.

    `is_in_service`: it is active. `is_drained`: its drain is complete. `is_kept_out`: a drain of it is under way or
    holds; once it is not, somebody else gave the node back. `has_left`: it is no node of the cluster any more.
    """

    node: str
    place: Place
    is_done: bool = False
    ends_at: datetime | None = None
    is_in_service: bool = False
    is_drained: bool = False
    is_kept_out: bool = False
    has_left: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """When the window begins and ends, and whether it still holds (it was not cancelled, moved away or closed)."""

    begins_at: datetime
    ends_at: datetime
    holds: bool = True

    @property
    def work_ends_at(self) -> datetime:
        """When the last node is given back, so that it is in service at the window's end."""
        return self.ends_at - min(LONGEST_RETURN, (self.ends_at - self.begins_at) / RETURN_SHARE)


def next_move(window: Window, turns: Sequence[Turn], now: datetime) -> tuple[str, Move] | None:
    """The node to move now, and how; None while there is nothing to do but wait."""
    for turn in turns:
        if turn.place in ON_THE_WAY:
            move = _move_on(window, turn, now)
            return None if move is None else (turn.node, move)
    for turn in turns:
        if turn.place is Place.WAITING:
            if not window.holds or now >= window.work_ends_at or not turn.is_in_service:
                return turn.node, Move.SKIP
            return (turn.node, Move.DRAIN) if now >= window.begins_at else None
    return None


def turn_ends_at(window: Window, waiting: int, now: datetime) -> datetime:
    """When the turn ends that begins now, with `waiting` nodes left, this one among them."""
    return now + (window.work_ends_at - now) / waiting


def drain_deadline(now: datetime, ends_at: datetime) -> datetime:
    """Until when calls may end by themselves in a turn that begins now."""
    return now + min(LONGEST_DRAIN, (ends_at - now) / 2)


def is_over(window: Window, turns: Sequence[Turn]) -> bool:
    """Whether every node is settled, so that the window can be closed."""
    return window.holds and bool(turns) and all(turn.place in SETTLED for turn in turns)


def _move_on(window: Window, turn: Turn, now: datetime) -> Move | None:
    if turn.has_left:
        return Move.MARK_BACK
    if turn.place is Place.RETURNING:
        return Move.MARK_BACK if turn.is_in_service else None
    if not turn.is_kept_out or turn.is_done or not window.holds or (turn.ends_at is not None and now >= turn.ends_at):
        return Move.GIVE_BACK
    return Move.MARK_OUT if turn.is_drained and turn.place is Place.DRAINING else None
