"""The life of a seat or circuit: one table of states and moves. Pure.

`ordered` is paid for or not, but cannot be used yet; `open` is in use; `suspended` is held and paid for, but its tenant
has it refused at the switch; `closed` was returned or its contract has ended; `cancelled` never opened. A seat whose
return is ordered is `open` (or `suspended`) with a last day until that day has ended: it works like any other until
then, so it needs no state of its own.
"""

from __future__ import annotations

from typing import Literal, get_args

from infra.kit.problems import Conflict

SeatState = Literal["ordered", "open", "suspended", "closed", "cancelled"]
SeatMove = Literal["open", "cancel", "suspend", "resume", "close"]

HELD: frozenset[SeatState] = frozenset({"ordered", "open", "suspended"})
"""States in which a seat takes up room in the cluster."""

IN_USE: frozenset[SeatState] = frozenset({"open", "suspended"})
"""States in which a seat has an account and its rent goes on."""

_MOVES: dict[tuple[SeatState, SeatMove], SeatState] = {
    ("ordered", "open"): "open",
    ("ordered", "cancel"): "cancelled",
    ("open", "suspend"): "suspended",
    ("suspended", "resume"): "open",
    ("open", "close"): "closed",
    ("suspended", "close"): "closed",
}


class SeatMoveRefused(Conflict):
    """The seat is not in a state that allows this."""

    code = "seat_state_refused"


def after(state: SeatState, move: SeatMove) -> SeatState:
    """The state after a move; raises `SeatMoveRefused` for one that is not in the table."""
    following = _MOVES.get((state, move))
    if following is None:
        allowed = ", ".join(each for each in _ALL_MOVES if (state, each) in _MOVES) or "nothing"
        raise SeatMoveRefused(f"A seat that is {state} cannot {move}; from there it can: {allowed}.", field="seat_id")
    return following


def sources(move: SeatMove) -> frozenset[SeatState]:
    """The states from which a move starts, so that many seats are moved by one statement."""
    return frozenset(state for state, each in _MOVES if each == move)


def result(move: SeatMove) -> SeatState:
    """The one state to which a move leads."""
    return next(following for (_, each), following in _MOVES.items() if each == move)


_ALL_MOVES: tuple[SeatMove, ...] = get_args(SeatMove)
