"""An INVITE that names a running call (Replaces, RFC 3891): mod_sofia takes that call over for whoever sends it.

Source: `sofia.c` (`sofia_handle_sip_i_invite`, `sofia_handle_sip_i_invite_replaces`), `switch_ivr_bridge.c`
(`switch_ivr_intercept_session`), checked against a running 1.11. The new leg goes through no dialplan; its applications
are made up by mod_sofia. Of the header only the Call-ID counts. Listening in moves no media here.
"""

from __future__ import annotations

from switch.simulator.bridge import join
from switch.simulator.channel import Channel
from switch.simulator.core import SwitchCore
from switch.simulator.dialplan import Action
from switch.simulator.joining import note_source, partner_of, take
from switch.sip.message import Request

ATTENDED_TRANSFER, PICKED_OFF = "ATTENDED_TRANSFER", "PICKED_OFF"


def inline_actions(core: SwitchCore, request: Request, *, but: Channel) -> tuple[Action, ...] | None:
    """What the leg of an INVITE runs instead of a dialplan; None where it names no call of this node but its own."""
    call_id, *parameters = (part.strip() for part in (request.headers.get("Replaces") or "").split(";"))
    named = _named(core, call_id, but)
    if named is None:
        return None
    answer = Action("answer", "")
    if request.headers.get("Call-Info"):
        return answer, Action("sofia_sla", named.uuid)
    if "a-leg=true" in parameters:
        return answer, Action("intercept", call_id)
    partner = partner_of(named)
    if partner is not None:
        if "early-only=true" in parameters and named.peer is not None:
            return (Action("hangup", "CALL_REJECTED"),)
        return answer, Action("intercept", partner.uuid)
    running = named.applications[-1] if named.applications else None
    core.hang_up(named, ATTENDED_TRANSFER)
    return (answer, Action(running.name, running.data)) if running is not None else (answer,)


def _named(core: SwitchCore, call_id: str, but: Channel) -> Channel | None:
    """The leg with this Call-ID, or the one of this uuid."""
    if not call_id:
        return None
    legs = (channel for channel in core.channels.values() if channel.is_up and channel is not but)
    return next((leg for leg in legs if call_id in (leg.variables.get("sip_call_id"), leg.uuid)), None)


async def intercept(core: SwitchCore, taker: Channel, uuid: str) -> None:
    """The application: `taker`, which has answered, talks to this leg; whoever did before is cut off."""
    party = core.channels.get(uuid)
    if party is None or not party.is_up or party is taker or not taker.is_up:
        return
    left = partner_of(party)
    take(core, party)
    if not party.is_answered and party.answer is not None:
        party.answer()
    if left is not None and left is not taker:
        core.hang_up(left, PICKED_OFF)
    for leg, other in ((taker, party), (party, taker)):
        note_source(core, leg, f"uuid_br:{other.uuid}")
        leg.joined_with = other.uuid
    await join(core, taker, party)
