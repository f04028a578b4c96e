"""The installation of a demo: database, API, worker, switch supervisor and nodes, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import httpx

from infra.app import commands_switch, installation
from infra.app.demo.narrator import until
from infra.app.demo.processes import Register, Started
from infra.app.installation import Installation
from infra.kit import clock
from infra.kit.embedded_postgres import EmbeddedPostgres

Switch = Literal["simulator", "freeswitch"]
LOOPBACK = "127.0.0.1"
READY_TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 0.1
FREESWITCH_PREFIX_VARIABLE = "SEATLINE_FREESWITCH"


async def pause() -> None:
    """A moment between two looks from outside."""
    await asyncio.sleep(PAUSE_SECONDS)


def free_ports(count: int, *, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Ports of loopback that nobody uses now."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def freeswitch_program() -> Path:
    """The installed FreeSWITCH named by SEATLINE_FREESWITCH (its prefix); raises with the remedy."""
    prefix = os.environ.get(FREESWITCH_PREFIX_VARIABLE, "")
    program = Path(prefix) / "bin" / "freeswitch"
    if not prefix or not program.is_file():
        raise FileNotFoundError(
            f"{FREESWITCH_PREFIX_VARIABLE} does not name the prefix of an installed FreeSWITCH"
            f" ({program} is missing); set it, or run the demo with the simulator."
        )
    return program


@dataclass(slots=True)
class World:
    """Starts and ends the processes, and travels in time with all of them."""

    directory: Path
    switch: Switch
    register: Register = field(init=False)
    http_port: int = field(init=False)

    def __post_init__(self) -> None:
        self.register = Register(self.directory)
        self.http_port = free_ports(1)[0]

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of the demo."""
        return {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")} | {
            "SEATLINE_DATA_DIRECTORY": str(self.directory),
            "SEATLINE_CLOCK_FILE": str(self.directory / "clock"),
            "SEATLINE_HTTP_HOST": LOOPBACK,
            "SEATLINE_HTTP_PORT": str(self.http_port),
            "SEATLINE_PUBLIC_URL": self.url,
            "SEATLINE_NODE_HEARTBEAT_TIMEOUT_SECONDS": "3",
            "PYTHONUNBUFFERED": "1",
        }

    async def clean(self) -> None:
        """End what an earlier demo left in this directory and remove its data."""
        if self.directory.exists():
            await self.register.stop_all()
            EmbeddedPostgres(self.directory / "postgres").remove()
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)

    def open(self) -> Installation:
        """Start the database, bring it to the newest schema, and share the clock."""
        os.environ.update({name: value for name, value in self.environment.items() if name.startswith("SEATLINE_")})
        opened = installation.open_installation()
        installation.migrate(opened)
        return opened

    def _seatline(self, name: str, *arguments: str) -> Started:
        command = [sys.executable, "-m", "infra.app.cli", *arguments]
        return self.register.start(name, command, self.environment)

    async def start_services(self) -> None:
        """API, worker and switch supervisor; returns when the API answers."""
        api = self._seatline("api", "serve")
        self._seatline("worker", "worker")
        self._seatline("switchd", "switchd")
        async with httpx.AsyncClient(base_url=self.url) as http:

            async def answers() -> bool:
                self.register.check(api)
                try:
                    return (await http.get("/schema/openapi.json")).status_code == HTTPStatus.OK
                except httpx.TransportError:
                    return False

            await until(answers, what="the API answers", timeout_seconds=READY_TIMEOUT_SECONDS, pause=pause)

    async def start_node(self, name: str, database: Installation) -> Started:
        """Write the configuration directory of a registered node and start a switch from it."""
        directory = self.directory / "nodes" / name
        await commands_switch.node_config(database, name, directory / "conf")
        if self.switch == "simulator":
            return self._seatline(name, "simulate", str(directory / "conf"))
        for each in ("log", "db", "run", "storage", "recordings"):
            (directory / each).mkdir(parents=True, exist_ok=True)
        command = [
            str(freeswitch_program()), "-nonat", "-nf", "-nc",
            "-conf", str(directory / "conf"), "-log", str(directory / "log"), "-db", str(directory / "db"),
            "-run", str(directory / "run"), "-storage", str(directory / "storage"),
            "-recordings", str(directory / "recordings"),
        ]  # fmt: skip
        return self.register.start(name, command, self.environment)

    def start_carrier(self, port: int) -> Started:
        """A carrier at this UDP port that rings and answers every call, for as long as the system runs."""
        return self._seatline("carrier", "carrier-stand-in", "--port", str(port))

    @staticmethod
    def travel_to(moment: datetime) -> None:
        """Move every process of the demo in time."""
        clock.travel_to(moment)

    async def stop(self) -> None:
        """End every process and the database; what they made stays on disk."""
        await self.register.stop_all()
        EmbeddedPostgres(self.directory / "postgres").stop()
