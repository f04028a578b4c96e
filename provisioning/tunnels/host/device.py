"""The WireGuard interface of a gateway and its firewall, by the tools `wg`, `ip` and `nft`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from infra.kit import logs
from infra.kit.problems import InvalidInput
from provisioning.rules.tunnel_addresses import SUPERNET

COMMAND_TIMEOUT_SECONDS = 20.0
APPEAR_ATTEMPTS = 50
APPEAR_PAUSE_SECONDS = 0.1
INTERFACE_MTU_BYTES = 1420
DUMP_FIELDS = 8
REMOVED_AT_ONCE = 500
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
log = logs.get(__name__)


class DeviceFailed(Exception):
    """A command on the gateway's host failed; the text says which and what it answered."""


class ToolsMissing(InvalidInput):
    """The host lacks a program that the gateway needs."""

    code = "tunnel_tools_missing"


@dataclass(frozen=True, slots=True)
class PeerCounters:
    """A peer on the interface: bytes from and to it since it was put there, and when it last shook hands."""

    public_key: str
    received: int
    sent: int
    handshake_at: int
    """Seconds since 1970; 0: never."""


class Device(Protocol):
    """What the gateway's program needs of the host."""

    async def prepare(self) -> str | None:
        """Have the interface there and up; returns the mark that it carries (None: it is new)."""
        ...

    async def mark(self, token: str) -> None:
        """Mark the interface; the mark goes with it, as its counters do."""
        ...

    async def peers(self) -> dict[str, PeerCounters]:
        """Who is on the interface, by public key."""
        ...

    async def apply(self, configuration: str) -> None:
        """Make interface and peers agree with a configuration; whoever is on already keeps its session."""
        ...

    async def remove(self, public_keys: Sequence[str]) -> None:
        """Take single peers off at once."""
        ...

    async def protect(self, ruleset: str) -> None:
        """Load the firewall."""
        ...


class LinuxDevice:
    """The interface of this host: of the kernel where it has WireGuard, else of `wireguard-go`."""

    def __init__(self, interface: str) -> None:
        self._interface = interface

    async def prepare(self) -> str | None:
        """The mark is the interface's alias. Raises `ToolsMissing`, `DeviceFailed`."""
        missing = [tool for tool in ("wg", "ip", "nft") if shutil.which(tool) is None]
        if missing:
            needed = "a gateway needs wireguard-tools, iproute2 and nftables"
            raise ToolsMissing(f"`{missing[0]}` is not installed; {needed}.")
        link = await self._link()
        if link is None:
            await self._create()
        await _run("ip", "link", "set", "dev", self._interface, "mtu", str(INTERFACE_MTU_BYTES), "up")
        await _run("ip", "route", "replace", str(SUPERNET), "dev", self._interface)
        if (await asyncio.to_thread(FORWARDING.read_text)).strip() != "1":
            log.error("tunnel_host.not_forwarding", interface=self._interface)
        return None if link is None else link.get("ifalias")

    async def mark(self, token: str) -> None:
        """By its alias, which a new interface does not have."""
        await _run("ip", "link", "set", "dev", self._interface, "alias", token)

    async def peers(self) -> dict[str, PeerCounters]:
        """From `wg show … dump`: key, preshared key, endpoint, addresses, handshake, received, sent, keepalive."""
        lines = (await _run("wg", "show", self._interface, "dump")).splitlines()[1:]
        found: dict[str, PeerCounters] = {}
        for line in lines:
            fields = line.split("\t")
            if len(fields) != DUMP_FIELDS:
                raise DeviceFailed(f"`wg show {self._interface} dump` answered a line of {len(fields)} fields.")
            found[fields[0]] = PeerCounters(fields[0], int(fields[5]), int(fields[6]), int(fields[4]))
        return found

    async def apply(self, configuration: str) -> None:
        """Through standard input: the private key is in no file and on no command line."""
        await _run("wg", "syncconf", self._interface, "/dev/stdin", text=configuration)

    async def remove(self, public_keys: Sequence[str]) -> None:
        """By `wg set`, one command for some hundred."""
        for first in range(0, len(public_keys), REMOVED_AT_ONCE):
            part = public_keys[first : first + REMOVED_AT_ONCE]
            await _run("wg", "set", self._interface, *(word for key in part for word in ("peer", key, "remove")))

    async def protect(self, ruleset: str) -> None:
        """All or nothing, in one transaction of the kernel."""
        await _run("nft", "-f", "-", text=ruleset)

    async def _link(self) -> dict[str, Any] | None:
        try:
            answer = await _run("ip", "-json", "link", "show", "dev", self._interface)
        except DeviceFailed:
            return None
        links = msgspec.json.decode(answer, type=list[dict[str, Any]])
        return links[0] if links else None

    async def _create(self) -> None:
        try:
            await _run("ip", "link", "add", "dev", self._interface, "type", "wireguard")
        except DeviceFailed as failure:
            if shutil.which("wireguard-go") is None:
                raise ToolsMissing(
                    f"This kernel makes no WireGuard interface ({failure}) and `wireguard-go` is not installed."
                ) from failure
            await _run("wireguard-go", self._interface)  # goes into the background and outlives us
        for _ in range(APPEAR_ATTEMPTS):
            try:
                await _run("wg", "show", self._interface, "dump")
            except DeviceFailed:
                await asyncio.sleep(APPEAR_PAUSE_SECONDS)
            else:
                return
        raise DeviceFailed(f"The interface {self._interface} was made but does not answer.")


async def _run(program: str, *arguments: str, text: str = "") -> str:
    """What a command prints. Raises `DeviceFailed`."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
            out, problem = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise DeviceFailed(f"`{program} {arguments[0]}` did not end in {COMMAND_TIMEOUT_SECONDS:g} s.") from None
    if process.returncode != 0:
        said = problem.decode(errors="replace").strip().splitlines()
        raise DeviceFailed(f"`{program} {' '.join(arguments)}` failed: {said[0] if said else process.returncode}")
    return out.decode()
