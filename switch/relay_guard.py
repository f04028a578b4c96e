"""Ends calls in which two parties from outside talk to each other without leave (clause C18, no relaying).

Nearly every way from outside to outside goes through the dialplan, which refuses it. One does not: a phone that has a
party from outside on each of two calls may join them (REFER with Replaces), and the node asks nobody. So the node's
supervisor looks at every bridge, and after each reconnection at all calls that run.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from infra.kit import logs
from switch.admission import SIP_ANSWERS, Reason
from switch.documents.dialplan import MAY_RELAY
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused
from switch.esl.frames import Event

CHANNEL_BRIDGE = "CHANNEL_BRIDGE"
OUTSIDE = f"sofia/{EXTERNAL_PROFILE}/"
"""How the channels of parties from outside are named."""

UNSET = "_undef_"

log = logs.get(__name__)


class _Call(msgspec.Struct):
    """A row of `show calls` (FreeSWITCH `switch_core_sqldb.c`): two legs that hear each other."""

    uuid: str = ""
    name: str = ""
    b_uuid: str = ""
    b_name: str = ""


class _Calls(msgspec.Struct):
    row_count: int = 0
    rows: list[_Call] = []


class RelayGuard:
    """The guard of one node. Its questions take `timeout_seconds` each; raises `EslError` when the node is away."""

    def __init__(self, node: str, timeout_seconds: float) -> None:
        self._node = node
        self._timeout_seconds = timeout_seconds

    async def look_at(self, event: Event, connection: EslConnection) -> None:
        """Judge a CHANNEL_BRIDGE event."""
        if _are_outside(event.get("Channel-Name"), event.get("Other-Leg-Channel-Name")):
            await self._judge(connection, (event.get("Bridge-A-Unique-ID"), event.get("Bridge-B-Unique-ID")))

    async def look_at_all(self, connection: EslConnection) -> None:
        """Judge every call of the node: bridges that were missed while nobody listened are found here."""
        answer = await connection.api("show calls as json", timeout_seconds=self._timeout_seconds)
        try:
            calls = msgspec.json.decode(answer, type=_Calls).rows
        except msgspec.MsgspecError:
            log.warning("relay_guard.calls_unreadable", node=self._node)
            return
        for call in calls:
            if _are_outside(call.name, call.b_name):
                await self._judge(connection, (call.uuid, call.b_uuid))

    async def _judge(self, connection: EslConnection, legs: tuple[str, str]) -> None:
        if not all(legs) or await self._has_leave(connection, legs):
            return
        log.warning("relay_guard.call_ended", node=self._node, legs=legs)
        for leg in legs:
            await self._do(connection, f"uuid_setvar {leg} seatline_refusal {Reason.RELAYING_NOT_ALLOWED.value}")
        for leg in legs:
            await self._do(connection, f"uuid_kill {leg} {SIP_ANSWERS[Reason.RELAYING_NOT_ALLOWED].cause}")

    async def _has_leave(self, connection: EslConnection, legs: Iterable[str]) -> bool:
        answers = [await self._do(connection, f"uuid_getvar {leg} {MAY_RELAY}") for leg in legs]
        return any(answer.strip() == "true" for answer in answers)

    async def _do(self, connection: EslConnection, command: str) -> str:
        """The answer, or nothing where the leg is gone already."""
        try:
            return await connection.api(command, timeout_seconds=self._timeout_seconds)
        except EslCommandRefused:
            return UNSET


def _are_outside(*names: str) -> bool:
    return all(name.startswith(OUTSIDE) for name in names)
