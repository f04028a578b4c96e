"""The gateway's program: two loops over one interface. One keeps it as the API wants it, one reports what it counts.

While the API is away everything stays as it is: phones that may call go on, and the switch asks for itself whether they
may. When the API refuses the credential every tunnel is closed and the program ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from infra.kit import logs
from provisioning.rules import tunnel_documents, tunnel_firewall
from provisioning.rules.tunnel_documents import Peer
from provisioning.rules.tunnel_firewall import EdgeServer
from provisioning.tunnels import edge
from provisioning.tunnels.edge import EdgeView
from provisioning.tunnels.gateway_api import Applicable
from provisioning.tunnels.host.desk import ApiAway, CredentialRefused, Desk
from provisioning.tunnels.host.device import Device, DeviceFailed
from provisioning.tunnels.host.state import Final, Life, State
from provisioning.tunnels.readings import READINGS_LIMIT, Reading

PAUSE_SECONDS = 1.0
"""After a failure, before the API or the host is tried again."""

log = logs.get(__name__)
Each = TypeVar("Each")


class Agent:
    """One gateway: its interface, its state and its desk at the API."""

    def __init__(
        self,
        *,
        device: Device,
        state: State,
        desk: Desk,
        interface: str,
        listen_port: int,
        report_every_seconds: float,
    ) -> None:
        self._device = device
        self._state = state
        self._desk = desk
        self._interface = interface
        self._listen_port = listen_port
        self._report_every_seconds = report_every_seconds
        self._one_at_a_time = asyncio.Lock()
        self._to_report = asyncio.Event()
        self._applied: str | None = None
        self._known_addresses: dict[str, list[str]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, leaving the tunnels as they are. Raises `CredentialRefused` with every tunnel closed."""
        await self.begin()
        loops: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._report()),
            asyncio.create_task(stop.wait()),
        ]
        try:
            await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in loops:
                task.cancel()
            ended = await asyncio.gather(*loops, return_exceptions=True)
        refused = [each for each in ended if isinstance(each, CredentialRefused)]
        if refused:
            await self.close_all()
            raise refused[0]
        failed = [each for each in ended if isinstance(each, Exception)]
        if failed:
            raise failed[0]
        with suppress(ApiAway, CredentialRefused):
            await self.report()

    async def begin(self) -> None:
        """Have the interface ready: a new one shut by the firewall until the API has said what the edge is.

        What an earlier run has left goes on, peers, firewall and counters, so that a restart cuts no call.
        """
        async with self._one_at_a_time:
            kept = self._state.kept
            if await self._device.prepare() != kept.interface_token:
                await self._device.protect(tunnel_firewall.ruleset(self._interface, []))
                self._state.begin_again()
                await self._apply([])
                await self._device.mark(kept.interface_token)
            self._state.read(await self._device.peers())

    async def follow_once(self, *, wait: bool) -> bool:
        """Ask what to let in and apply it where it is new; whether it was. Raises as `Desk`, `DeviceFailed`."""
        wanted = await self._desk.what_to_apply(self._state.public_key, self._applied, wait=wait)
        if not wanted.changed:
            return False
        began = time.monotonic()
        async with self._one_at_a_time:
            await self._take_over(wanted)
        self._applied = wanted.state
        log.info(
            "tunnel_host.applied",
            peers=len(wanted.peers),
            edge=len(wanted.edge),
            milliseconds=round((time.monotonic() - began) * 1000),
        )
        return True

    async def report(self) -> None:
        """Read every counter and hand in what the API does not have. Raises as `Desk`, `DeviceFailed`."""
        async with self._one_at_a_time:
            self._state.read(await self._device.peers())
            self._state.save()
            pending = list(self._state.kept.pending)
            lives = [(key, life) for key, life in self._state.kept.lives.items() if _is_news(life)]
        now = time.time()
        finals = [_final_reading(each, now) for each in pending]
        current = [(life, _reading(public_key, life, now)) for public_key, life in lives]
        for part in _parts(finals):
            await self._desk.report(part)
            del self._state.kept.pending[: len(part)]
        for part in _parts(current):
            await self._desk.report([reading for _, reading in part])
            for life, reading in part:
                life.told_received, life.told_sent = reading.received, reading.sent
        if pending or lives:
            self._state.save()

    async def close_all(self) -> None:
        """Let nobody in any more; what was counted last waits in the state directory."""
        async with self._one_at_a_time:
            await self._device.protect(tunnel_firewall.ruleset(self._interface, []))
            await self._change([])
        log.error("tunnel_host.closed", interface=self._interface)

    async def _take_over(self, wanted: Applicable) -> None:
        servers = await self._resolved(wanted.edge)
        await self._device.protect(tunnel_firewall.ruleset(self._interface, servers))
        await self._change([Peer(each.public_key, each.address) for each in wanted.peers])

    async def _resolved(self, views: Iterable[EdgeView]) -> list[EdgeServer]:
        """The edge by address; a name that cannot be resolved now keeps the addresses that it had."""
        found: list[EdgeServer] = []
        for view in views:
            addresses = await edge.resolved(view.host) or self._known_addresses.get(view.host, [])
            self._known_addresses[view.host] = addresses
            for address in addresses:
                found.append(EdgeServer(address, tuple(view.udp_ports), tuple(view.tcp_ports), view.media))
        return found

    async def _change(self, peers: Sequence[Peer]) -> None:
        """Closed first, then counted, then taken off: nothing passes after the last reading."""
        present = await self._agreed_peers()
        wanted = {peer.public_key for peer in peers}
        going = sorted(present - wanted)
        self._state.begin(wanted)
        await self._apply(peers, shut=going)
        if going:
            self._state.read(await self._device.peers())
            for public_key in going:
                self._state.end(public_key)
            self._state.save()
            await self._apply(peers)
            self._to_report.set()

    async def _agreed_peers(self) -> set[str]:
        """Who is on the interface, after interface and state agree about it: a run that died may have left more.

        A peer whose life has ended must not go on counting in a new one; a life whose peer is gone must not go on
        when the peer comes back with counters of zero.
        """
        present = await self._device.peers()
        self._state.read(present)
        strangers = sorted(present.keys() - self._state.kept.lives.keys())
        if strangers:
            await self._device.remove(strangers)
        for public_key in sorted(self._state.kept.lives.keys() - present.keys()):
            self._state.end(public_key)
        return present.keys() - set(strangers)

    async def _apply(self, peers: Iterable[Peer], *, shut: Iterable[str] = ()) -> None:
        await self._device.apply(
            tunnel_documents.gateway_configuration(self._state.kept.private_key, self._listen_port, peers, shut=shut)
        )

    async def _follow(self) -> None:
        while True:
            try:
                await self.follow_once(wait=True)
            except (ApiAway, DeviceFailed) as failure:
                log.warning("tunnel_host.not_applied", reason=str(failure))
                self._applied = None if isinstance(failure, DeviceFailed) else self._applied
                await asyncio.sleep(PAUSE_SECONDS)

    async def _report(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._report_every_seconds):
                    await self._to_report.wait()
            self._to_report.clear()
            try:
                await self.report()
            except (ApiAway, DeviceFailed) as failure:
                log.warning("tunnel_host.not_reported", reason=str(failure))
                await asyncio.sleep(PAUSE_SECONDS)


def _is_news(life: Life) -> bool:
    return (life.received, life.sent) != (life.told_received, life.told_sent)


def _reading(public_key: str, life: Life, now: float) -> Reading:
    return Reading(
        public_key=public_key,
        life=life.name,
        received=life.received,
        sent=life.sent,
        handshake_age_seconds=_age(life.handshake_at, now),
    )


def _final_reading(final: Final, now: float) -> Reading:
    return Reading(
        public_key=final.public_key,
        life=final.life,
        received=final.received,
        sent=final.sent,
        age_seconds=max(0.0, now - final.read_at),
        handshake_age_seconds=_age(final.handshake_at, final.read_at),
    )


def _age(handshake_at: int, read_at: float) -> float | None:
    return max(0.0, read_at - handshake_at) if handshake_at else None


def _parts(whole: Sequence[Each]) -> Iterable[Sequence[Each]]:
    for first in range(0, len(whole), READINGS_LIMIT):
        yield whole[first : first + READINGS_LIMIT]
