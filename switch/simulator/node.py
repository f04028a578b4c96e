"""A simulated FreeSWITCH node, started from the same configuration directory as a real one.

It speaks SIP over UDP, TCP and TLS and the event socket over TCP, asks mod_xml_curl's bindings for XML over HTTP and
posts call records as mod_json_cdr does. What it cannot do is carry media.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from pathlib import Path
from typing import Self
from xml.etree import ElementTree

from switch.simulator import settings
from switch.simulator.access import NetworkLists
from switch.simulator.api_commands import VERSION, ApiCommands
from switch.simulator.core import SwitchCore
from switch.simulator.directory import Directory
from switch.simulator.esl_server import EventSocketServer
from switch.simulator.events import EventBus, NodeIdentity
from switch.simulator.gateway_checks import GatewayChecks
from switch.simulator.gateway_registration import GatewayRegistrations
from switch.simulator.leg_host import LegHost
from switch.simulator.originate import Originator
from switch.simulator.record_delivery import RecordDelivery
from switch.simulator.sip_profile import SipProfile
from switch.simulator.transfer import Transfers
from switch.simulator.xml_document import ConfigurationUnreadable, SwitchDocument, load_document
from switch.simulator.xml_lookup import XmlLookup, configuration_named
from switch.sip.errors import SipError
from switch.sip.transactions import Timers

SWEEP_SECONDS = 1.0
SHUTDOWN_SECONDS = 30.0
ELEGANT_SECONDS = 86_400.0

_log = logging.getLogger(__name__)


class NodeNotStarted(RuntimeError):
    """The node does not run; call `start()` first, or it has been stopped or killed."""


class SimulatedNode:
    """One node. `start` it, `stop` it gracefully, or `kill` it like a process that dies."""

    def __init__(
        self,
        directory: Path,
        document: SwitchDocument,
        *,
        log_directory: Path,
        timers: Timers | None = None,
        heartbeat_seconds: float | None = None,
    ) -> None:
        self.directory = directory
        self._document = document
        self._log_directory = log_directory
        self._timers = timers
        self._heartbeat_seconds = heartbeat_seconds
        self._core: SwitchCore | None = None
        self._profiles: dict[str, SipProfile] = {}
        self._event_socket: EventSocketServer | None = None
        self._event_socket_address = ("", 0)
        self._api: ApiCommands | None = None
        self._tickers: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    def from_configuration(
        cls,
        directory: Path | str,
        *,
        log_directory: Path | str | None = None,
        timers: Timers | None = None,
        heartbeat_seconds: float | None = None,
    ) -> Self:
        """Read `freeswitch.xml` of a configuration directory; raises `ConfigurationUnreadable`.

        `log_directory` is what `freeswitch -log` names (relative call record folders lie below it);
        `timers` are SIP's; `heartbeat_seconds` overrides the pause between two HEARTBEAT events.
        """
        path = Path(directory).absolute()
        logs = Path(log_directory).absolute() if log_directory is not None else path / "log"
        document = load_document(path, log_directory=logs)
        return cls(path, document, log_directory=logs, timers=timers, heartbeat_seconds=heartbeat_seconds)

    @property
    def core(self) -> SwitchCore:
        """The node's state; raises `NodeNotStarted`."""
        if self._core is None:
            raise NodeNotStarted(f"the node of {self.directory} does not run; call start() first")
        return self._core

    @property
    def is_running(self) -> bool:
        """Whether the node was started and neither stopped nor killed."""
        return self._core is not None

    @property
    def event_socket_address(self) -> tuple[str, int]:
        """Where the event socket listens."""
        return self._event_socket_address

    def sip_address(self, profile: str = "internal") -> tuple[str, int]:
        """Where a profile's SIP socket listens; KeyError for an unknown profile."""
        return self.core.profiles[profile].address

    async def start(self) -> None:
        """Open every socket; raises `ConfigurationUnreadable`, SipTransportError or OSError."""
        if self._core is not None:
            return
        # A node that starts again reads its files again, as a real one does.
        self._document = load_document(self.directory, log_directory=self._log_directory)
        static = self._document.section("configuration")
        hostname = socket.gethostname()
        bindings = settings.xml_bindings(configuration_named(static, "xml_curl.conf"))
        modules = _modules(static)
        limits = settings.switch_limits(configuration_named(static, "switch.conf"))
        identity = NodeIdentity(str(uuid.uuid4()), hostname, limits.switch_name or hostname)
        lookup = XmlLookup(self._document, bindings if "mod_xml_curl" in modules else (), hostname=hostname)
        directory = Directory(lookup, identity)
        records = settings.call_records(
            await _configuration(lookup, "json_cdr.conf"), log_directory=self._log_directory
        )
        core = SwitchCore(
            identity=identity,
            bus=EventBus(identity),
            lookup=lookup,
            limits=limits,
            networks=NetworkLists(configuration_named(static, "acl.conf")),
            delivery=RecordDelivery(records) if records and "mod_json_cdr" in modules else None,
            global_variables={**self._document.global_variables, "core_uuid": identity.core_uuid},
            modules=modules,
            started_at_seconds=asyncio.get_running_loop().time(),
        )
        self._core = core
        try:
            await self._open_sockets(core, directory, lookup)
        except (SipError, OSError):
            await self._give_up()
            raise
        self._tickers = [
            asyncio.create_task(self._beat(core)),
            asyncio.create_task(self._sweep(core)),
            *(asyncio.create_task(GatewayChecks(core, profile).run()) for profile in self._profiles.values()),
            *(asyncio.create_task(GatewayRegistrations(core, profile).run()) for profile in self._profiles.values()),
        ]

    async def _open_sockets(self, core: SwitchCore, directory: Directory, lookup: XmlLookup) -> None:
        hosts: dict[str, LegHost] = {}
        originator = Originator(core, directory, hosts)
        transfers = Transfers(core, directory, originator, hosts)
        for profile_settings in settings.sofia_profiles(await _configuration(lookup, "sofia.conf")):
            profile = SipProfile(core, profile_settings, directory)
            profile.originator, profile.transfers = originator, transfers
            self._profiles[profile_settings.name] = profile
            hosts[profile_settings.name] = profile
            await profile.open(timers=self._timers)
            if profile_settings.reads_all_domains:
                pairs = directory.request_head("REQUEST_PARAMS", "sofia.c", "launch_sofia_worker_thread", 3064)
                pairs.extend([("purpose", "gateways"), ("profile", profile_settings.name)])
                await lookup.locate("directory", form=pairs)
        event_socket = settings.event_socket(await _configuration(lookup, "event_socket.conf"))
        self._api = ApiCommands(core, directory, self._rescan, self._reload_networks, self._reload, self._shut_down)
        self._event_socket = EventSocketServer(
            core.bus,
            password=event_socket.password,
            run_command=self._api.run,
            admits=lambda address: (
                not event_socket.inbound_acl or core.networks.allows(event_socket.inbound_acl, address)
            ),
        )
        self._event_socket_address = await self._event_socket.start(event_socket.listen_ip, event_socket.listen_port)

    async def api(self, line: str) -> str:
        """Run an API command as the event socket would; raises `NodeNotStarted`."""
        if self._api is None:
            raise NodeNotStarted(f"the node of {self.directory} does not run; call start() first")
        return await self._api.run(line)

    async def stop(self) -> None:
        """End gracefully: every call is ended, every call record delivered, then the sockets close."""
        core = self._core
        if core is None:
            return
        core.paused_inbound = True
        core.bus.fire("SHUTDOWN", [("Event-Info", "System Shutting Down")])
        core.hang_up_all("SYSTEM_SHUTDOWN")
        await core.wait_empty(SHUTDOWN_SECONDS)
        if self._event_socket is not None:
            await self._event_socket.close()
        await self._give_up()

    def kill(self) -> None:
        """Be gone at once: no goodbye, no call record, sockets closed."""
        core, self._core = self._core, None
        if core is None:
            return
        for profile in self._profiles.values():
            profile.close()
        self._profiles.clear()
        if self._event_socket is not None:
            self._event_socket.abort()
        self._stop_tickers()
        core.abandon()
        self._api = self._event_socket = None

    async def _give_up(self) -> None:
        core = self._core
        self.kill()
        if core is not None:
            await core.cancel_tasks()
            await core.lookup.close()
            if core.delivery is not None:
                await core.delivery.close()

    def _stop_tickers(self) -> None:
        for ticker in self._tickers:
            ticker.cancel()
        self._tickers.clear()

    def _shut_down(self, manner: str) -> None:
        core = self.core
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None
        if manner == "cancel":
            core.paused_inbound = False
            return
        if manner == "asap":
            core.paused_inbound = True
        # The command's own reply must still go out, so the node ends beside it.
        self._stopping = asyncio.create_task(self._stop_later(core, wait_for_calls=manner in {"asap", "elegant"}))

    async def _stop_later(self, core: SwitchCore, *, wait_for_calls: bool) -> None:
        if wait_for_calls:
            await core.wait_empty(ELEGANT_SECONDS)
        await self.stop()

    async def _rescan(self, name: str) -> bool:
        """Gateways that are new to the profile are added; those it has already stay as they are (`parse_gateways`)."""
        self._reload()
        core = self.core
        for profile in settings.sofia_profiles(await _configuration(core.lookup, "sofia.conf")):
            if profile.name == name and name in core.profiles:
                for gateway in profile.gateways:
                    core.profiles[name].gateways.setdefault(gateway.name, gateway)
                return True
        return False

    async def _reload_networks(self) -> None:
        core = self.core
        core.networks = NetworkLists(await _configuration(core.lookup, "acl.conf"))

    def _reload(self) -> str:
        try:
            self._document = load_document(self.directory, log_directory=self._log_directory)
        except ConfigurationUnreadable as error:
            return f"-ERR [{error}]\n"
        core = self.core
        core.lookup.document = self._document
        core.global_variables.update(self._document.global_variables)
        return "+OK [Success]\n"

    async def _beat(self, core: SwitchCore) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds or core.limits.heartbeat_seconds)
            self.beat()

    def beat(self) -> None:
        """Send a HEARTBEAT now."""
        core = self.core
        counters, limits = core.counters, core.limits
        values = {
            "Event-Info": "System Ready",
            "Up-Time": self._api.uptime_text() if self._api is not None else "",
            "FreeSWITCH-Version": VERSION,
            "Uptime-msec": str(core.uptime_microseconds // 1000),
            "Session-Count": str(len(core.channels)),
            "Max-Sessions": str(limits.max_sessions),
            "Session-Per-Sec": str(limits.sessions_per_second),
            "Session-Per-Sec-Last": str(core.sessions_this_second),
            "Session-Per-Sec-Max": str(counters.peak_per_second),
            "Session-Per-Sec-FiveMin": str(counters.peak_per_second),
            "Session-Since-Startup": str(counters.since_startup),
            "Session-Peak-Max": str(counters.peak),
            "Session-Peak-FiveMin": str(counters.peak),
            "Idle-CPU": "100.000000",
        }
        core.bus.fire("HEARTBEAT", values.items())

    async def _sweep(self, core: SwitchCore) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for profile in core.profiles.values():
                profile.registrar.sweep()


async def _configuration(lookup: XmlLookup, name: str) -> ElementTree.Element | None:
    """A module's configuration: asked for over HTTP first, then from the static tree."""
    section = await lookup.locate("configuration", tag_name="configuration", key_name="name", key_value=name)
    found = configuration_named(section, name)
    if found is not None:
        return found
    return configuration_named(lookup.document.section("configuration"), name)


def _modules(static: ElementTree.Element | None) -> frozenset[str]:
    configuration = configuration_named(static, "modules.conf")
    if configuration is None:
        return frozenset()
    return frozenset(element.get("module", "") for element in configuration.iter("load"))
