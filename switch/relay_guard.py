"""Ends what no dialplan has let pass: parties that may not hear each other, and calls that answered past it (C18).

Nearly every way goes through the dialplan, which refuses what may not be. Two do not, since mod_sofia goes them alone.
A phone may have two calls joined (REFER with Replaces, RFC 3891) and the node asks nobody whose they are: both may be
of parties from outside, or one another tenant's. And an INVITE with Replaces takes a call over; of a phone it ends by
itself (`switch.documents.unrouted`), from a carrier's address it is ended here. So the node's supervisor looks at such
bridges and answers, and after each reconnection at all calls that run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from infra.kit import logs
from switch.admission import SIP_ANSWERS, Reason
from switch.documents.dialplan import LEG_GATEWAY, MAY_RELAY
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused
from switch.esl.frames import Event

CHANNEL_BRIDGE, CHANNEL_ANSWER = "CHANNEL_BRIDGE", "CHANNEL_ANSWER"
OUTSIDE = f"sofia/{EXTERNAL_PROFILE}/"
"""How the channels of parties from outside are named."""

UNSET = "_undef_"
INBOUND = "inbound"
JOINING = "uuid_bridge"
"""What FreeSWITCH shows as the application of a leg that was joined with another one (`switch_ivr_uuid_bridge`)."""

JOINED = ":uuid_br:"
"""In `transfer_source` of both such legs, until they are sent on (same place)."""

TAKING_OVER = "intercept"
"""What a leg shows while it takes a call over, a moment before the two are joined."""

INLINE = "inline"
"""The first dialplan, as FreeSWITCH lists it, of a leg that mod_sofia sent somewhere by itself."""

LIST_TIMEOUT_SECONDS = 10.0

log = logs.get(__name__)


class _Leg(msgspec.Struct):
    """A row of `show channels` (FreeSWITCH `switch_core_sqldb.c`); of a joined leg `application_data` is the other."""

    uuid: str = ""
    direction: str = ""
    application: str = ""
    application_data: str = ""
    initial_dialplan: str = ""


class _Legs(msgspec.Struct):
    row_count: int = 0
    rows: list[_Leg] = []


class _Call(msgspec.Struct):
    """A row of `show calls`: two legs that hear each other."""

    uuid: str = ""
    name: str = ""
    b_uuid: str = ""
    b_name: str = ""


class _Calls(msgspec.Struct):
    row_count: int = 0
    rows: list[_Call] = []


Rows = TypeVar("Rows", _Legs, _Calls)
Legs = tuple[str, ...]
"""The ids of two legs that hear each other, or of one that was answered."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a leg says of itself: its part in its call ('' where no dialplan gave it one), its tenant, and whether a
    party from outside may be joined with it.
    """

    leg: str
    tenant_id: str
    may_relay: bool


def refusal(first: Side, second: Side) -> Reason | None:
    """Why two legs may not hear each other; None when they may.

    Legs of two tenants never may, nor one that no dialplan let in. Parties from outside may where the tenant forwards.
    """
    # An emergency call that a node routed by its own files has no tenant on the leg towards the carrier.
    is_foreign = first.tenant_id and second.tenant_id and first.tenant_id != second.tenant_id
    if is_foreign or not first.leg or not second.leg:
        return Reason.REPLACING_NOT_ALLOWED
    is_relayed = first.leg == second.leg == LEG_GATEWAY and not (first.may_relay or second.may_relay)
    return Reason.RELAYING_NOT_ALLOWED if is_relayed else None


class RelayGuard:
    """The guard of one node. Its questions take `timeout_seconds` each; raises `EslError` when the node is away."""

    def __init__(self, node: str, timeout_seconds: float) -> None:
        self._node = node
        self._timeout_seconds = timeout_seconds
        self._passed: set[Legs] = set()
        """What was found in order and still runs: it is not asked about again."""

    def concerns(self, event: Event) -> Legs | None:
        """The legs that a CHANNEL_BRIDGE or CHANNEL_ANSWER event gives reason to judge; None with ordinary calls."""
        if event.name == CHANNEL_ANSWER:
            # One that takes a call over is judged with its bridge: ended before, it would leave the other party alone.
            takes_over = event.get("variable_sip_replaces_call_id") and not event.get("variable_sip_call_info")
            is_doubtful = event.get("Call-Direction") == INBOUND and not event.get("variable_seatline_leg")
            legs: Legs = (event.get("Unique-ID"),) if is_doubtful and not takes_over else ()
        else:
            is_outside = _are_outside(event.get("Channel-Name"), event.get("Other-Leg-Channel-Name"))
            is_joined = JOINED in event.get("variable_transfer_source")
            is_doubtful = is_outside or is_joined or not event.get("variable_seatline_leg")
            bridged = _named(event.get("Bridge-A-Unique-ID"), event.get("Bridge-B-Unique-ID"))
            legs = bridged if is_doubtful else ()
        return legs if legs and all(legs) else None

    async def doubtful(self, connection: EslConnection) -> list[Legs]:
        """What of the node's calls is to be judged: also what was missed while nobody listened is found here."""
        calls, legs = await self._list(connection, "calls", _Calls), await self._list(connection, "channels", _Legs)
        found = [_named(call.uuid, call.b_uuid) for call in calls.rows if _are_outside(call.name, call.b_name)]
        found += [_named(leg.uuid, leg.application_data) for leg in legs.rows if leg.application == JOINING]
        # One that takes a call over is judged together with it, as by its event.
        inline = [leg for leg in legs.rows if leg.direction == INBOUND and leg.initial_dialplan == INLINE]
        found += [(leg.uuid,) for leg in inline if leg.application not in (JOINING, TAKING_OVER)]
        self._passed.intersection_update(found)
        return [legs for legs in dict.fromkeys(found) if all(legs) and legs not in self._passed]

    async def judge(self, legs: Legs, connection: EslConnection) -> None:
        """End these legs where they may not hear each other, or where the only one was let in by nobody."""
        sides = [await self._side(connection, leg) for leg in legs]
        there = [side for side in sides if side is not None]
        if len(there) < len(legs):
            return
        reason = refusal(*there) if len(there) == 2 else _refusal_alone(there[0])
        if reason is None:
            self._passed.add(legs)
        else:
            await self._end(connection, legs, reason)

    async def _list(self, connection: EslConnection, what: str, rows: type[Rows]) -> Rows:
        """What is listed; nothing where that cannot be read."""
        # In the background: on a full node the lists are long, and would hold up the probes of its life.
        answer = await connection.bgapi(f"show {what} as json", timeout_seconds=LIST_TIMEOUT_SECONDS)
        try:
            return msgspec.json.decode(answer, type=rows)
        except msgspec.MsgspecError:
            log.warning("relay_guard.calls_unreadable", node=self._node, what=what)
            return rows()

    async def _end(self, connection: EslConnection, legs: tuple[str, ...], reason: Reason) -> None:
        log.warning("relay_guard.call_ended", node=self._node, legs=legs, reason=reason.value)
        for leg in legs:
            await self._do(connection, f"uuid_setvar {leg} seatline_refusal {reason.value}")
        for leg in legs:
            await self._do(connection, f"uuid_kill {leg} {SIP_ANSWERS[reason].cause}")

    async def _side(self, connection: EslConnection, leg: str) -> Side | None:
        """None where the leg is gone already."""
        values: list[str] = []
        for name in ("seatline_leg", "seatline_tenant", MAY_RELAY):
            value = await self._do(connection, f"uuid_getvar {leg} {name}")
            if value is None:
                return None
            values.append("" if value.strip() == UNSET else value.strip())
        return Side(values[0], values[1], values[2] == "true")

    async def _do(self, connection: EslConnection, command: str) -> str | None:
        """The answer; None where the leg is gone already."""
        try:
            return await connection.api(command, timeout_seconds=self._timeout_seconds)
        except EslCommandRefused:
            return None


def _named(first: str, second: str) -> Legs:
    """Two legs that hear each other, whichever of them tells of it."""
    return (first, second) if first < second else (second, first)


def _refusal_alone(side: Side) -> Reason | None:
    """A call that came in and was answered has a part in it, given by the dialplan that let it pass."""
    return None if side.leg else Reason.REPLACING_NOT_ALLOWED


def _are_outside(*names: str) -> bool:
    return all(name.startswith(OUTSIDE) for name in names)
