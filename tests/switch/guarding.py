"""The relay guard asked at once, without the watch that has it judge beside a link (switch/relay_watch.py)."""

from __future__ import annotations

from switch.esl.client import EslConnection
from switch.esl.frames import Event
from switch.relay_guard import RelayGuard


async def look_at(guard: RelayGuard, event: Event, connection: EslConnection) -> None:
    """Have an event judged, if it concerns the guard. Of an ordinary call the node is asked nothing."""
    legs = guard.concerns(event)
    if legs is not None:
        await guard.judge(legs, connection)


async def look_at_all(guard: RelayGuard, connection: EslConnection) -> None:
    """Have every call of the node judged, one after another."""
    for legs in await guard.doubtful(connection):
        await guard.judge(legs, connection)
