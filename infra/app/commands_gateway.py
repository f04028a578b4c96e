"""What `seatline gateway` does, on a VPN gateway's host: without database and settings of the installation."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from infra.kit import logs
from infra.kit.problems import InvalidInput, Unavailable
from provisioning.rules import tunnel_firewall
from provisioning.tunnels.host.agent import Agent
from provisioning.tunnels.host.desk import Credential, Desk
from provisioning.tunnels.host.device import DeviceFailed, LinuxDevice
from provisioning.tunnels.host.state import State


async def gateway(
    *,
    api_url: str,
    name: str,
    secret_file: Path,
    ca_file: Path | None,
    state_directory: Path,
    interface: str,
    listen_port: int,
    report_every_seconds: float,
) -> None:
    """Serve the seats' tunnels until SIGTERM or SIGINT, which leave them up.

    Raises `CredentialRefused` with every tunnel closed, `StateRefused`, `ToolsMissing`, `InvalidInput`, `Unavailable`.
    """
    try:
        tunnel_firewall.ruleset(interface, [])
    except ValueError as error:
        raise InvalidInput(str(error), field="interface") from error
    credential = Credential.read(api_url=api_url, name=name, secret_file=secret_file, ca_file=ca_file)
    state = await asyncio.to_thread(State.open, state_directory)
    logs.configure("info")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Desk(credential, state.kept.instance) as desk:
        agent = Agent(
            device=LinuxDevice(interface),
            state=state,
            desk=desk,
            interface=interface,
            listen_port=listen_port,
            report_every_seconds=report_every_seconds,
        )
        try:
            await agent.run(stop)
        except DeviceFailed as failure:
            raise Unavailable(f"The interface cannot be used: {failure}") from failure
