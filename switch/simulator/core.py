"""What all parts of a simulated node share: its channels, its switches, and the end of every leg.

The order at a leg's end is FreeSWITCH's: CHANNEL_HANGUP, the call record (the leg stays listed until its
delivery has ended), CHANNEL_HANGUP_COMPLETE, CHANNEL_DESTROY.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from switch.simulator import causes, on_answer
from switch.simulator.access import NetworkLists
from switch.simulator.call_record import MEDIA_VARIABLES, render_call_record, time_variables
from switch.simulator.channel import CODEC_VARIABLES, CallerProfile, Channel, Times
from switch.simulator.events import EventBus, NodeIdentity, now_microseconds
from switch.simulator.record_delivery import RecordDelivery
from switch.simulator.registrar import Registrar
from switch.simulator.resource_counts import ResourceCounts
from switch.simulator.settings import GatewaySettings, ProfileSettings, SwitchLimits
from switch.simulator.xml_lookup import XmlLookup

MAX_ROUTING_END_SECONDS = 5.0
"""How long a call record waits for its leg's dialplan to notice the end."""

_log = logging.getLogger(__name__)


@dataclass
class ProfileState:
    """A running SIP profile as the rest of the node sees it."""

    settings: ProfileSettings
    address: tuple[str, int]
    registrar: Registrar
    gateways: dict[str, GatewaySettings]
    gateways_down: set[str] = field(default_factory=set[str])
    """Those that did not answer when they were last asked, or are not signed in where they have to be."""
    gateway_states: dict[str, str] = field(default_factory=dict[str, str])
    """How far those are that sign in at their carrier, in mod_sofia's words."""
    tls_address: tuple[str, int] | None = None
    """Where it takes SIP over TLS, if at all."""
    calls_in: int = 0
    calls_out: int = 0
    failed_calls_in: int = 0
    failed_calls_out: int = 0

    @property
    def url(self) -> str:
        """The profile's own address, such as `sip:mod_sofia@127.0.0.1:5060`."""
        return f"sip:mod_sofia@{self.address[0]}:{self.address[1]}"

    @property
    def tls_url(self) -> str | None:
        """The same over TLS."""
        return f"sip:mod_sofia@{self.tls_address[0]}:{self.tls_address[1]}" if self.tls_address else None

    def contact(self, transport: str) -> str:
        """What the profile calls itself in the Contact header of messages over UDP, TCP or TLS."""
        if transport == "UDP":
            return f"<{self.url}>"
        return f"<{(self.tls_url if transport == 'TLS' else None) or self.url};transport={transport.lower()}>"


@dataclass
class SessionCounters:
    """What `status` and HEARTBEAT tell about sessions."""

    since_startup: int = 0
    peak: int = 0
    second: int = 0
    this_second: int = 0
    peak_per_second: int = 0

    def count(self, running: int, second: int) -> None:
        """One more session, in this second of the node's life."""
        self.since_startup += 1
        self.peak = max(self.peak, running)
        if second != self.second:
            self.second, self.this_second = second, 0
        self.this_second += 1
        self.peak_per_second = max(self.peak_per_second, self.this_second)


@dataclass(eq=False)
class SwitchCore:
    """The state of one node while it runs."""

    identity: NodeIdentity
    bus: EventBus
    lookup: XmlLookup
    limits: SwitchLimits
    networks: NetworkLists
    delivery: RecordDelivery | None
    global_variables: dict[str, str]
    modules: frozenset[str]
    started_at_seconds: float
    channels: dict[str, Channel] = field(default_factory=dict[str, Channel])
    profiles: dict[str, ProfileState] = field(default_factory=dict[str, ProfileState])
    counters: SessionCounters = field(default_factory=SessionCounters)
    counts: ResourceCounts = field(default_factory=ResourceCounts)
    """What the application `limit` has counted."""
    paused_inbound: bool = False
    paused_outbound: bool = False
    _emptied: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])

    @property
    def uptime_microseconds(self) -> int:
        """How long the node has been running."""
        return int((asyncio.get_running_loop().time() - self.started_at_seconds) * 1_000_000)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside; a failure is logged, and `cancel_tasks` ends it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a task of the simulated node failed", exc_info=task.exception())

    async def cancel_tasks(self) -> None:
        """End whatever still runs beside."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def is_full(self) -> bool:
        """Whether another session would be one too many (`max-sessions`)."""
        return len(self.channels) >= self.limits.max_sessions

    @property
    def is_too_fast(self) -> bool:
        """Whether this second already has as many new sessions as allowed (`sessions-per-second`)."""
        return self.sessions_this_second >= self.limits.sessions_per_second

    @property
    def sessions_this_second(self) -> int:
        """How many sessions began within the running second."""
        second = self.uptime_microseconds // 1_000_000
        return self.counters.this_second if self.counters.second == second else 0

    @staticmethod
    def new_uuid() -> str:
        """A UUID as FreeSWITCH gives every leg and job."""
        return str(uuid.uuid4())

    async def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until no leg is listed any more; False when some are left after that time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.channels:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            return False
        return True

    def abandon(self) -> None:
        """Forget every leg without a word: what a killed process does."""
        self.channels.clear()
        for task in tuple(self._tasks):
            task.cancel()

    def open_channel(self, direction: str, profile: CallerProfile) -> Channel:
        """A new leg, listed from now on; its variables are still to be set, then `announce` it."""
        now = now_microseconds()
        self.counters.count(len(self.channels) + 1, self.uptime_microseconds // 1_000_000)
        channel = Channel(
            uuid=self.new_uuid(),
            direction=direction,
            session_number=self.counters.since_startup,
            profile=profile,
            times=Times(created=now),
        )
        self.channels[channel.uuid] = channel
        return channel

    def fire(self, name: str, channel: Channel, *extra: tuple[str, str]) -> None:
        """An event about a leg, with its variables."""
        if self.bus.is_heard:
            self.bus.fire(name, [*channel.headers(), *channel.variable_headers(), *extra])

    def hold(self, channel: Channel, *, is_held: bool) -> None:
        """The leg's far end puts us on hold, or goes on; the same again changes nothing."""
        if channel.is_held == is_held or not channel.is_up:
            return
        channel.is_held = is_held
        if is_held:
            channel.times.last_hold = now_microseconds()
        else:
            channel.times.hold_accumulated += now_microseconds() - channel.times.last_hold
        channel.call_state = "HELD" if is_held else "UNHELD"
        self.fire("CHANNEL_HOLD" if is_held else "CHANNEL_UNHOLD", channel)

    def answered(self, channel: Channel) -> None:
        """The leg was answered just now."""
        if channel.is_answered or not channel.is_up:
            return
        channel.times.answered = now_microseconds()
        channel.variables["endpoint_disposition"] = "ANSWER"
        channel.variables.update(CODEC_VARIABLES)
        self.fire("CHANNEL_ANSWER", channel)
        channel.call_state = "ACTIVE"
        on_answer.run(channel, self.hang_up)

    def bridged(self, caller: Channel, called: Channel) -> None:
        """Two answered legs hear each other from now on."""
        now = now_microseconds()
        for channel, other in ((caller, called), (called, caller)):
            channel.times.bridged = now
            channel.peer = other
            channel.state, channel.call_state = "CS_EXCHANGE_MEDIA", "ACTIVE"
            channel.variables["bridge_to"] = other.uuid
            channel.variables["last_bridge_to"] = other.uuid
            channel.variables["bridge_channel"] = other.profile.channel_name
            channel.variables["bridge_uuid"] = other.uuid
            channel.variables["signal_bond"] = other.uuid
        caller.is_leader, called.is_leader = True, False
        caller.state = "CS_EXECUTE"
        pair = (("Bridge-A-Unique-ID", caller.uuid), ("Bridge-B-Unique-ID", called.uuid))
        self.fire("CHANNEL_BRIDGE", caller, *pair)

    @staticmethod
    def part(channel: Channel) -> None:
        """Take a leg out of its bridge while both go on; nothing is bridged with either any more."""
        other = channel.peer
        for leg in (channel, *((other,) if other is not None else ())):
            leg.peer = None
            leg.set("bridge_to", None)
            leg.set("signal_bond", None)
            if leg.is_leader:
                leg.variables["bridge_hangup_cause"] = causes.NORMAL_CLEARING

    def hang_up(self, channel: Channel, cause: str) -> None:
        """End a leg once; its record is delivered beside, and only then is it gone from the list."""
        if not channel.mark_ended(cause, at=now_microseconds()):
            return
        if channel.peer is not None:
            self._note_end_of_bridge(channel, channel.peer)
        self.fire("CHANNEL_HANGUP", channel)
        self.counts.release(channel.uuid)
        channel.enter_hangup()
        if channel.end is not None:
            channel.end(cause)
        channel.ended.set()
        self.spawn(self._report(channel))

    @staticmethod
    def _note_end_of_bridge(channel: Channel, other: Channel) -> None:
        """What both records tell about who ended the bridge: when the caller did, the other leg ends normally."""
        for leg in (channel, other):
            leg.variables.pop("bridge_to", None)
        if other.hangup_cause:
            # A called leg that is ended for itself too, as by `hupall`, gives the bridge its own cause.
            if not channel.is_leader and "bridge_hangup_cause" in channel.variables:
                for leg in (channel, other):
                    leg.variables["bridge_hangup_cause"] = channel.hangup_cause
            return
        other.variables["last_bridge_hangup_cause"] = channel.hangup_cause
        if channel.is_leader:
            channel.variables["last_bridge_role"] = "originator"
            for leg in (channel, other):
                leg.variables["bridge_hangup_cause"] = causes.NORMAL_CLEARING
        else:
            channel.variables["last_bridge_role"] = "originatee"
            other.variables["bridge_hangup_cause"] = channel.hangup_cause

    def hang_up_all(self, cause: str, matching: dict[str, str] | None = None) -> int:
        """End every leg whose variables have all these values (every leg when there are none)."""
        chosen = [
            channel
            for channel in tuple(self.channels.values())
            if channel.is_up and all(channel.variables.get(name) == value for name, value in (matching or {}).items())
        ]
        for channel in chosen:
            self.hang_up(channel, cause)
        return len(chosen)

    async def _report(self, channel: Channel) -> None:
        if channel.routing is not None:
            await asyncio.wait({channel.routing}, timeout=MAX_ROUTING_END_SECONDS)
        channel.state = "CS_REPORTING"
        channel.variables.update(time_variables(channel))
        if channel.is_answered:
            channel.variables.update(MEDIA_VARIABLES)
        delivery = self.delivery
        if delivery is not None and delivery.wants(channel):
            record = render_call_record(channel, self.identity, encode_values=delivery.settings.encode_values)
            await delivery.deliver(channel, record)
        self.fire("CHANNEL_HANGUP_COMPLETE", channel)
        self.channels.pop(channel.uuid, None)
        self.fire("CHANNEL_DESTROY", channel)
        self._emptied.set()

    def gateway(self, name: str) -> tuple[ProfileState, GatewaySettings] | None:
        """The gateway of this name (`profile::name` also works) with its profile."""
        profile_name, separator, short = name.rpartition("::")
        for profile in self.profiles.values():
            if separator and profile.settings.name != profile_name:
                continue
            if short in profile.gateways:
                return profile, profile.gateways[short]
        return None


def cause_of(text: str, default: str = causes.NORMAL_CLEARING) -> str:
    """The cause an argument names; the default when nothing is said."""
    return causes.named(text) if text.strip() else default
