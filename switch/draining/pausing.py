"""How a drain pauses a node and has it take calls again, so that no pause is left that nobody ends.

That a node was paused for a drain stands in the node (a global variable), as with the pause of `switch/api_watch.py`:
a supervisor that slept may carry out what is long overtaken. Whoever finds the mark without a drain that wants it ends
the pause; one that a person made has no mark and is left alone. A node that starts again has neither.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from switch import api_watch
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused

MARK = "seatline_drain"
"""Global variable of a node that is paused for its drain."""

INBOUND, OUTBOUND = "inbound", "outbound"
DIRECTIONS = (INBOUND, OUTBOUND)


@dataclass(frozen=True, slots=True)
class Pausing:
    """Pauses and resumes over one connection; each question takes `timeout_seconds`. Everything raises `EslError`."""

    connection: EslConnection
    timeout_seconds: float

    async def pause(self) -> bool:
        """Pause both directions where they are not so already; whether both are so now, as read back."""
        paused = await self._paused()
        running = [each for each in DIRECTIONS if each not in paused]
        if running or not await self._is_marked(MARK):
            await self._tell(f"global_setvar {MARK}=true", *(f"fsctl pause {each}" for each in running))
        return await self._paused() == set(DIRECTIONS)

    async def resume(self) -> bool:
        """Have it take calls again, whoever paused it; whether it does in both directions, as read back."""
        if await self._paused() or await self._is_marked(MARK):
            await self._tell(f"global_setvar {MARK}=false", *(f"fsctl resume {each}" for each in DIRECTIONS))
        return not await self._paused()

    async def end_left_behind(self) -> bool:
        """End a drain's pause that no drain wants; whether there was one."""
        if not await self._is_marked(MARK):
            return False
        # A node that gets no answers from the API stays paused inbound for that, until it gets some.
        is_away = await self._is_marked(api_watch.MARK)
        ended = (OUTBOUND,) if is_away else DIRECTIONS
        await self._tell(f"global_setvar {MARK}=false", *(f"fsctl resume {each}" for each in ended))
        return True

    async def _tell(self, *commands: str) -> None:
        """Sent at once, in this order: however long this process sleeps, mark and pause go together."""
        await asyncio.gather(*(self._api(command) for command in commands))

    async def _paused(self) -> set[str]:
        return {each for each in DIRECTIONS if (await self._api(f"fsctl pause_check {each}")).strip() == "true"}

    async def _is_marked(self, mark: str) -> bool:
        try:
            return (await self._api(f"global_getvar {mark}")).strip() == "true"
        except EslCommandRefused:
            return False

    async def _api(self, command: str) -> str:
        return await self.connection.api(command, timeout_seconds=self.timeout_seconds)
