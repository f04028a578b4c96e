"""Phones and a carrier that are not our own: sipp, by scenarios of this folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from switch.sip.dialog import Address
from tests.live.customers import LiveSeat, Office
from tests.live.system import LOOPBACK, free_ports

pytestmark = pytest.mark.skipif(shutil.which("sipp") is None, reason="needs sipp (Debian: sip-tester)")

SCENARIOS = Path(__file__).parent / "scenarios"
RUN_LIMIT_SECONDS = 20
DIALLED = "13800138000"


class Sipp:
    """One run of sipp: one call of one scenario."""

    def __init__(self, scenario: str, directory: Path, *, port: int, arguments: list[str]) -> None:
        self.scenario = scenario
        self._directory = directory
        self._arguments = [
            "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", LOOPBACK, "-p", str(port), "-m", "1", "-nostdin", "-aa",
            "-timeout", f"{RUN_LIMIT_SECONDS}s", "-timeout_error", "-trace_err", *arguments,
        ]  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            "sipp",
            *self._arguments,
            cwd=self._directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def end(self) -> None:
        """Wait for its end; fails when its scenario did not come true."""
        assert self._process is not None
        async with asyncio.timeout(RUN_LIMIT_SECONDS + 5):
            status = await self._process.wait()
        errors = "".join(path.read_text(errors="replace") for path in sorted(self._directory.glob("*_errors.log")))
        assert status == 0, f"sipp {self.scenario} ended with {status}: {errors[-3000:]}"

    async def kill(self) -> None:
        """End it in any case."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def run(scenario: str, directory: Path, *, port: int, arguments: list[str]) -> None:
    """Run a scenario to its end."""
    sipp = Sipp(scenario, directory, port=port, arguments=arguments)
    try:
        await sipp.start()
        await sipp.end()
    finally:
        await sipp.kill()


@asynccontextmanager
async def answering(directory: Path, *, port: int) -> AsyncGenerator[Sipp]:
    """Somebody who answers one call at this port."""
    sipp = Sipp("answering", directory, port=port, arguments=[])
    try:
        await sipp.start()
        yield sipp
        await sipp.end()
    finally:
        await sipp.kill()


def as_seat(seat: LiveSeat, server: Address, *, password: str | None = None) -> list[str]:
    """The arguments of a phone of this seat."""
    return [
        "-key", "user", seat.extension, "-key", "domain", seat.customer.domain,
        "-au", seat.extension, "-ap", password or seat.password, f"{server[0]}:{server[1]}",
    ]  # fmt: skip


async def test_a_phone_registers_and_is_refused_with_a_wrong_password(office: Office, tmp_path: Path) -> None:
    seat = (await office.customer(seats=1)).seats[0]
    server = await seat.server()
    port, other_port = free_ports(2)
    await run("register", tmp_path / "right", port=port, arguments=as_seat(seat, server))
    refused = as_seat(seat, server, password="a-guess")
    await run("register_refused", tmp_path / "wrong", port=other_port, arguments=refused)


async def test_a_call_between_two_seats(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=2)
    caller, called = customer.seats
    server = await caller.server()
    caller_port, called_port = free_ports(2)
    await run("register", tmp_path / "register", port=called_port, arguments=as_seat(called, server))
    async with answering(tmp_path / "called", port=called_port):
        arguments = ["-s", called.extension, *as_seat(caller, server)]
        await run("calling", tmp_path / "caller", port=caller_port, arguments=arguments)
    legs = await customer.legs(2)
    assert sorted(leg["leg"] for leg in legs) == ["caller", "seat"]
    assert all(leg["billable_milliseconds"] >= 1_000 for leg in legs)
    assert await customer.charges_now() == []


async def test_a_call_out_to_a_gateway_becomes_a_charge(office: Office, tmp_path: Path) -> None:
    customer = await office.customer(seats=1)
    seat = customer.seats[0]
    server = await seat.server()
    (port,) = free_ports(1)
    async with answering(tmp_path / "carrier", port=office.system.carrier_port):
        arguments = ["-s", DIALLED, *as_seat(seat, server)]
        await run("calling", tmp_path / "caller", port=port, arguments=arguments)
    legs = await customer.legs(2)
    gateway_leg = next(leg for leg in legs if leg["leg"] == "gateway")
    (charge,) = await customer.charges(1)
    assert charge["leg_id"] == gateway_leg["leg_id"]
    assert (charge["billed_seconds"], charge["amount"]) == (6, "0.1100")
