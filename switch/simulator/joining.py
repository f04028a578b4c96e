"""How a leg leaves what it is in, to be sent on or joined with another one.

Source: `switch_ivr.c` (`switch_ivr_session_transfer`), `switch_ivr_bridge.c` (`switch_ivr_uuid_bridge`).
"""

from __future__ import annotations

from switch.simulator.channel import Channel
from switch.simulator.core import SwitchCore
from switch.simulator.events import now_microseconds


def bridged_with(channel: Channel) -> Channel | None:
    """Whom a leg is bridged with now."""
    return channel.peer if channel.peer is not None and channel.peer.is_up and channel.is_up else None


def partner_of(channel: Channel) -> Channel | None:
    """Whom a leg is bridged with, or rings for, or is rung for (`switch_channel_get_partner_uuid`)."""
    ringing = [leg for leg in (channel.originator, *reversed(channel.originatees)) if leg is not None and leg.is_up]
    return bridged_with(channel) or (ringing[0] if ringing else None)


def take(core: SwitchCore, party: Channel) -> None:
    """Out of its bridge, and out of the hands of whoever ran it."""
    core.part(party)
    if party.routing is not None:
        party.routing.cancel()
        party.routing = None


def note_source(core: SwitchCore, channel: Channel, what: str) -> None:
    """Where the call came from, once more: `SECONDS:UUID:bl_xfer:...`."""
    source = f"{now_microseconds() // 1_000_000}:{core.new_uuid()}:{what}"
    channel.set("transfer_source", source)
    history = channel.variables.get("transfer_history", "")
    if history:
        source = f"{history if history.startswith('ARRAY::') else f'ARRAY::{history}'}|:{source}"
    channel.set("transfer_history", source)
