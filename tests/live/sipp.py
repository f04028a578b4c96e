"""sipp, phones and carriers that are not our own: each run plays a scenario of the folder `scenarios`, strictly.

A scenario names every message that it awaits, in order; whatever else comes ends its run with an error.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jinja2
import pytest

from tests.live.customers import Customer, LiveSeat
from tests.live.system import LOOPBACK, LiveNode, free_ports
from tests.live.waiting import until

needs_sipp = pytest.mark.skipif(shutil.which("sipp") is None, reason="needs sipp (Debian: sip-tester)")

RUN_LIMIT_SECONDS = 30
READY_LIMIT_SECONDS = 10.0
STEP_LIMIT_SECONDS = 10.0
SHOWN_CHARACTERS = 6_000
UNUSED_MEDIA_PORT = 6_000
"""Named where nobody listens to a call."""

ALL_SOCKETS = Path("/proc/net/udp")

_scenarios = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "scenarios"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 - what is written is SIP
)


@dataclass(frozen=True, slots=True)
class Side:
    """Who a run of sipp is in its calls: its arguments, and what its scenarios need to know."""

    arguments: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


CALLED = Side()
"""Somebody who waits for a call."""


async def as_seat(
    seat: LiveSeat, *, dials: str = "", password: str | None = None, transport: Literal["u1", "t1"] = "u1"
) -> Side:
    """A phone of this seat at the node that serves it, which calls a number or a colleague's extension.

    `transport`: UDP or TCP, as sipp names them.
    """
    host, port = await seat.server()
    arguments = (
        "-key", "user", seat.extension, "-key", "domain", seat.customer.domain, "-s", dials or seat.extension,
        "-au", seat.extension, "-ap", password or seat.password, "-t", transport, f"{host}:{port}",
    )  # fmt: skip
    return Side(arguments, {"is_challenged": True})


def as_carrier(node: LiveNode, *, dials: str, shows: str) -> Side:
    """A carrier that calls a number of the switch's for the caller `shows`."""
    host, port = node.external_sip
    arguments = ("-key", "user", shows, "-key", "domain", LOOPBACK, "-s", dials, f"{host}:{port}")
    return Side(arguments, {"is_challenged": False})


def is_taken(port: int) -> bool:
    """Whether somebody listens at a UDP port now."""
    return f":{port:04X} " in ALL_SOCKETS.read_text()


class Sipp:
    """One run of sipp: `calls` calls of one scenario, one after another ten a second."""

    def __init__(
        self, scenario: str, directory: Path, *, port: int, side: Side = CALLED, calls: int = 1, **values: Any
    ) -> None:
        self.scenario = scenario
        self.port = port
        self._directory = directory / f"{scenario}-{port}"
        given = {"media_port": UNUSED_MEDIA_PORT, **side.values, **values}
        self._text = _scenarios.get_template(f"{scenario}.xml").render(given)
        self._arguments = [
            "-sf", "scenario.xml", "-i", LOOPBACK, "-p", str(port), "-m", str(calls), "-r", "10", "-nostdin", "-aa",
            "-timeout", f"{RUN_LIMIT_SECONDS}s", "-timeout_error", "-trace_err", "-error_file", "errors.log",
            "-trace_msg", "-message_file", "messages.log", "-trace_logs", "-log_file", "said.log", *side.arguments,
        ]  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; who is to be called listens then."""
        self._directory.mkdir(parents=True)
        (self._directory / "scenario.xml").write_text(self._text)
        self._process = await asyncio.create_subprocess_exec(
            "sipp",
            *self._arguments,
            cwd=self._directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if self._is_called:
            await until(self._listens, f"sipp {self.scenario} listens", limit_seconds=READY_LIMIT_SECONDS)

    async def end(self) -> None:
        """Wait for its end; fails when its scenario did not come true."""
        assert self._process is not None
        async with asyncio.timeout(RUN_LIMIT_SECONDS + 5):
            status = await self._process.wait()
        assert status == 0, f"sipp {self.scenario} ended with {status}"

    async def kill(self) -> None:
        """End it in any case."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def said(self, event: str) -> Mapping[str, str]:
        """What its scenario says of its first event of this name, as soon as that has happened."""

        async def look() -> list[str]:
            lines = self._end_of("said.log").splitlines()
            return [line for line in lines if re.search(rf"\b{event}\b", line)]

        lines = await until(look, f"{event} of sipp {self.scenario}", limit_seconds=STEP_LIMIT_SECONDS)
        return dict(word.split("=", 1) for word in lines[0].split() if "=" in word)

    async def go_on(self) -> None:
        """Tell its call, which has been taken and waits for this, to go on."""
        call_id = (await self.said("called" if self._is_called else "answered"))["call_id"]
        told = (
            f"MESSAGE sip:{LOOPBACK}:{self.port} SIP/2.0\r\nVia: SIP/2.0/UDP {LOOPBACK}:9;branch=z9hG4bK-go-on\r\n"
            f"From: <sip:test@{LOOPBACK}>;tag=test\r\nTo: <sip:{LOOPBACK}:{self.port}>\r\nCall-ID: {call_id}\r\n"
            "CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(told.encode(), (LOOPBACK, self.port))

    @property
    def _is_called(self) -> bool:
        return '<recv request="INVITE"' in self._text

    async def _listens(self) -> bool:
        """A run that is over already has listened, too."""
        assert self._process is not None
        return self._process.returncode is not None or is_taken(self.port)

    def report(self) -> str:
        """What went wrong, and which messages there were."""
        return f"sipp {self.scenario}: {self._end_of('errors.log')}\n{self._end_of('messages.log')}"

    def _end_of(self, name: str) -> str:
        path = self._directory / name
        return path.read_text(errors="replace")[-SHOWN_CHARACTERS:] if path.exists() else ""


@asynccontextmanager
async def playing(scenario: str, directory: Path, *, port: int, **more: Any) -> AsyncGenerator[Sipp]:
    """A run of sipp that must come to its end when its part of the test is over. `more`: as `Sipp` takes it."""
    sipp = Sipp(scenario, directory, port=port, **more)
    try:
        await sipp.start()
        yield sipp
        await sipp.end()
    except Exception as error:
        error.add_note(sipp.report())
        raise
    finally:
        await sipp.kill()


async def run(scenario: str, directory: Path, *, port: int | None = None, **more: Any) -> None:
    """Run a scenario to its end; at any port where none is given."""
    async with playing(scenario, directory, port=port or free_ports(1)[0], **more):
        pass


async def registered(seat: LiveSeat, directory: Path) -> int:
    """The port of a phone of this seat, which is registered and waits for a run of sipp to answer there."""
    (port,) = free_ports(1)
    await run("register", directory, port=port, side=await as_seat(seat))
    return port


async def serving(customer: Customer) -> LiveNode:
    """The node that serves a customer."""
    return customer.office.system.nodes[await customer.serving_node()]
