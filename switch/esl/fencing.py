"""A connection that asks whatever it likes, and tells its node nothing while its owner may not."""

from __future__ import annotations

from collections.abc import Callable

from switch.esl.client import EslConnection
from switch.esl.errors import EslNotPermitted
from switch.esl.frames import Frame

READING_COMMANDS = (
    "event ",
    "api fsctl pause_check ",
    "api global_getvar ",
    "api show ",
    "api sofia status",
    "api sofia xmlstatus ",
    "api status",
    "api uuid_dump ",
    "api uuid_getvar ",
    "api xml_locate ",
)
"""What changes nothing at a node; every other command tells it something."""


class FencedConnection(EslConnection):
    """`may_tell` is asked at the moment of sending, however long whoever sends has waited or slept before."""

    may_tell: Callable[[], bool] | None = None

    async def _command(self, *lines: str, timeout_seconds: float) -> Frame:
        if self.may_tell is not None and not self.may_tell() and not is_reading(lines[0]):
            raise EslNotPermitted(lines[0])
        return await super()._command(*lines, timeout_seconds=timeout_seconds)


def is_reading(line: str) -> bool:
    """Whether a line of the protocol only asks."""
    return line.removeprefix("bg").startswith(READING_COMMANDS)
